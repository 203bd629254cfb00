package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority that lives as long as the test.
type Authority struct {
	File string // its certificate, PEM
	Pool *x509.CertPool

	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Cert is a certificate with its key, as files and in memory. Server
// certificates are for localhost and the loopback addresses.
type Cert struct {
	CertFile, KeyFile string
	TLS               tls.Certificate
	Fingerprint       string // lower-case hex SHA-256 of the DER: AWS's certificateId
}

// Validity changes the life of a certificate; the zero Validity is an hour
// around now.
type Validity struct{ NotBefore, NotAfter time.Time }

// CA makes a certificate authority.
func CA(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{tb: tb, dir: tb.TempDir(), key: newKey(tb)}
	tmpl := template("Ebbgate test CA", Validity{})
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		tb.Fatalf("make CA: %v", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatalf("parse CA: %v", err)
	}
	a.File = writePEM(tb, filepath.Join(a.dir, "ca.pem"), "CERTIFICATE", der)
	a.Pool = x509.NewCertPool()
	a.Pool.AddCert(a.cert)
	return a
}

// Server issues a server certificate for localhost, 127.0.0.1 and ::1.
func (a *Authority) Server(name string) *Cert {
	a.tb.Helper()
	tmpl := template(name, Validity{})
	tmpl.DNSNames = []string{"localhost"}
	tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return a.issue(name, tmpl)
}

// Client issues a client certificate whose common name is name.
func (a *Authority) Client(name string, v Validity) *Cert {
	a.tb.Helper()
	tmpl := template(name, v)
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(name, tmpl)
}

func (a *Authority) issue(name string, tmpl *x509.Certificate) *Cert {
	a.tb.Helper()
	key := newKey(a.tb)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.tb.Fatalf("issue %s: %v", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatalf("encode key of %s: %v", name, err)
	}
	dir := a.tb.TempDir()
	sum := sha256.Sum256(der)
	c := &Cert{
		CertFile:    writePEM(a.tb, filepath.Join(dir, "cert.pem"), "CERTIFICATE", der),
		KeyFile:     writePEM(a.tb, filepath.Join(dir, "key.pem"), "PRIVATE KEY", keyDER),
		Fingerprint: hex.EncodeToString(sum[:]),
	}
	if c.TLS, err = tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
		a.tb.Fatalf("load certificate of %s: %v", name, err)
	}
	return c
}

func template(name string, v Validity) *x509.Certificate {
	now := time.Now()
	if v.NotBefore.IsZero() {
		v.NotBefore = now.Add(-time.Hour)
	}
	if v.NotAfter.IsZero() {
		v.NotAfter = now.Add(24 * time.Hour)
	}
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // never fails since Go 1.24
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    v.NotBefore,
		NotAfter:     v.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("make key: %v", err)
	}
	return key
}

func writePEM(tb testing.TB, path, kind string, der []byte) string {
	tb.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatalf("write %s: %v", path, err)
	}
	return path
}
