package account

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`
	denySome = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:Publish","Resource":"arn:aws:iot:eu-central-1:123456789012:topic/secret/*"}]}`
	byThing  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:eu-central-1:123456789012:client/${iot:Connection.Thing.ThingName}"},{"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":"arn:aws:iot:eu-central-1:123456789012:topic/dt/${iot:Connection.Thing.ThingName}/*"},{"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:eu-central-1:123456789012:topicfilter/cmd/${iot:ClientId}/#"}]}`
)

// issue makes a certificate of a common name, as PEM and with its id.
func issue(t testing.TB, name string) (id, text string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: someday(), NotAfter: someday().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// made is an id that looks like a certificate's.
func made(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "certificate %d", n))
	return hex.EncodeToString(sum[:])
}

// plant is an account with something of everything.
func plant(t testing.TB) *cloud {
	c := newCloud(t)
	id, text := issue(t, "press-1")
	other := made(2)
	c.certificates[id] = &cloudCertificate{status: "ACTIVE", mode: "DEFAULT", pem: text}
	c.certificates[other] = &cloudCertificate{status: "INACTIVE", mode: "SNI_ONLY", pem: text}
	c.policies["device"] = &cloudPolicy{versions: []string{allowAll, byThing}, targets: []string{arnRoot + "cert/" + id, arnRoot + "cert/" + other}}
	c.policies["no-secrets"] = &cloudPolicy{versions: []string{denySome}, targets: []string{arnRoot + "thinggroup/plant", "eu-central-1:11111111-2222-3333-4444-555555555555"}}
	c.things["press-1"] = &cloudThing{kind: "press", attributes: map[string]string{"line": "a", "fw": "007", "on": "true"}, principals: map[string]string{arnRoot + "cert/" + id: "EXCLUSIVE_THING"}}
	c.things["press-2"] = &cloudThing{principals: map[string]string{arnRoot + "cert/" + other: "NON_EXCLUSIVE_THING", "eu-central-1:99999999-2222-3333-4444-555555555555": "NON_EXCLUSIVE_THING"}}
	c.groups["plant"] = &cloudGroup{attributes: map[string]string{"town": "ulm"}}
	c.groups["line-a"] = &cloudGroup{parent: "plant", things: []string{"press-1", "press-2"}}
	c.groups["old"] = &cloudGroup{query: "attributes.fw:007", things: []string{"press-1"}}
	c.types = []map[string]any{
		{"thingTypeName": "press", "thingTypeProperties": map[string]any{"thingTypeDescription": "a press", "searchableAttributes": []string{"line"}}},
		{"thingTypeName": "lathe", "thingTypeMetadata": map[string]any{"deprecated": true}},
	}
	return c
}

// tree is every file of a folder but the pull's own, with its text.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == workFolder {
				return fs.SkipDir
			}
			return err
		}
		raw, err := os.ReadFile(path)
		relative, _ := filepath.Rel(root, path)
		out[filepath.ToSlash(relative)] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func mustPull(t testing.TB, a *Account, o PullOptions) *Report {
	t.Helper()
	r, err := a.Pull(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustContain(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("lacks %q:\n%s", p, text)
		}
	}
}
