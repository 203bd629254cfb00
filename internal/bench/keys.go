package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keys are a server's certificate and an authority's, as files, how a device
// connects, and how a server serves.
type keys struct {
	cert, key, ca string
	device        *tls.Config
	server        *tls.Config
}

// writeKeys makes them for an hour.
func writeKeys(dir string) (*keys, error) {
	authority, authorityKey, err := certificate(nil, nil, "bench authority")
	if err != nil {
		return nil, err
	}
	server, serverKey, err := certificate(authority, authorityKey, "localhost")
	if err != nil {
		return nil, err
	}
	device, deviceKey, err := certificate(authority, authorityKey, "device")
	if err != nil {
		return nil, err
	}
	k := &keys{cert: filepath.Join(dir, "server.pem"), key: filepath.Join(dir, "server.key"), ca: filepath.Join(dir, "ca.pem")}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	k.device = &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: []tls.Certificate{{Certificate: [][]byte{device.Raw}, PrivateKey: deviceKey}}}
	k.server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{server.Raw}, PrivateKey: serverKey}}}
	return k, errors.Join(
		writePEM(k.ca, "CERTIFICATE", authority.Raw),
		writePEM(k.cert, "CERTIFICATE", server.Raw),
		writePEM(k.key, "PRIVATE KEY", der),
	)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// certificate makes one that the issuer has signed; without an issuer it is an
// authority.
func certificate(issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, name string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if issuer == nil {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
		issuer, issuerKey = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		return nil, nil, err
	}
	made, err := x509.ParseCertificate(der)
	return made, key, err
}
