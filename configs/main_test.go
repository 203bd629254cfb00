package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the expected texts of testdata, configs/ebbgate.yaml, the table of keys in docs/configuration.md and that of docs/profiles.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site makes a folder with the files that configurations name: certificates,
// keys, secrets, users, a registry and a policy.
func site(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := pair(t)
	for name, data := range map[string]string{
		"things.yaml": "things: {}\n", "policies/local.json": "{}\n",
		"users.yaml": "ada: $2a$04$x\n", "secrets/emqx": "s3cret\n", "secrets/empty": "\n", "binary": "\x00\x01",
		"certs/ca.crt": cert, "certs/AmazonRootCA1.pem": cert, "certs/server.crt": cert, "certs/server.key": key,
		"certs/gateway.crt": cert, "certs/gateway.key": key,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// pair is a self-signed certificate and its key, as PEM.
func pair(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// put writes a configuration into a site and returns its path.
func put(t testing.TB, dir, name, yaml string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loaded is Load on a host that has a name, which not every machine has.
func loaded(path string, env, sets []string) (*Config, error) {
	return load(source{path: path, env: env, sets: sets, hostname: func() (string, error) { return "plant7", nil }})
}
