package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sandboxFiles are the files of --tls: an authority of the sandbox's own, its
// server's certificate, and one for a device.
type sandboxFiles struct{ ca, server, serverKey, device, deviceKey string }

func (f sandboxFiles) all() []string {
	return []string{f.ca, f.server, f.serverKey, f.device, f.deviceKey}
}

// The authority's key is thrown away once it has signed. A year is enough for a
// stand-in, and ends what somebody has forgotten.
const sandboxValidity = 365 * 24 * time.Hour

// throwAwayCertificates makes the files of --tls in dir, or finds them there.
func throwAwayCertificates(dir, listen string) (sandboxFiles, error) {
	at := func(name string) string { return filepath.Join(dir, name) }
	f := sandboxFiles{at("ca.pem"), at("server.pem"), at("server.key"), at("device.pem"), at("device.key")}
	var there, missing []string
	for _, path := range f.all() {
		if _, err := os.Stat(path); err == nil {
			there = append(there, path)
		} else if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, filepath.Base(path))
		} else {
			return f, fmt.Errorf("--tls: %w", err)
		}
	}
	switch {
	case len(missing) == 0:
		return f, stillValid(f.server)
	case len(there) > 0:
		return f, &exitError{exitInvalid, fmt.Errorf("--tls %s: %s is there, and %s is not: name an empty folder, or bring all of it", dir, there[0], strings.Join(missing, ", "))}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return f, fmt.Errorf("--tls: %w", err)
	}
	return f, f.make(serverNames(listen))
}

// stillValid refuses a certificate that clients would not take any more.
func stillValid(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--tls: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return &exitError{exitInvalid, fmt.Errorf("--tls: %s is not PEM: name an empty folder", path)}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return &exitError{exitInvalid, fmt.Errorf("--tls: %s: %w: name an empty folder", path, err)}
	}
	if time.Now().After(cert.NotAfter) {
		return &exitError{exitInvalid, fmt.Errorf("--tls: %s ended at %s: remove the folder, and new certificates are made", path, cert.NotAfter.Format(time.DateOnly))}
	}
	return nil
}

// serverNames are what clients may call the sandbox: loopback, this host, and
// the address that it listens on.
func serverNames(listen string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" {
		names = append(names, host)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (f sandboxFiles) make(names []string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("--tls: %w", err)
	}
	ca := certificate("Ebbgate sandbox authority") // another name than the server: OpenSSL takes equal ones for self-signed
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero = true, true, true
	ca.KeyUsage = x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return fmt.Errorf("--tls: %w", err)
	}
	server, device := certificate("Ebbgate sandbox"), certificate("device")
	server.ExtKeyUsage, device.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, name)
		}
	}
	if err := f.sign(server, ca, caKey, f.server, f.serverKey); err != nil {
		return err
	}
	if err := f.sign(device, ca, caKey, f.device, f.deviceKey); err != nil {
		return err
	}
	return writePEM(f.ca, "CERTIFICATE", caDER, 0o644)
}

// sign makes a certificate with a key of its own.
func (f sandboxFiles) sign(c, ca *x509.Certificate, caKey *ecdsa.PrivateKey, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("--tls: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	if err != nil {
		return fmt.Errorf("--tls: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("--tls: %w", err)
	}
	if err := writePEM(keyFile, "PRIVATE KEY", keyDER, 0o600); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", der, 0o644)
}

// certificate is what all three have.
func certificate(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic("no randomness: " + err.Error()) // crypto/rand does not fail
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(sandboxValidity),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, mode); err != nil {
		return fmt.Errorf("--tls: %w", err)
	}
	return nil
}
