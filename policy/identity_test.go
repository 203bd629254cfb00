package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// press1 is the principal of the example's press-1 under a client id.
func (s *site) press1(t testing.TB, clientID string) bridge.Principal {
	t.Helper()
	p, err := s.Certificate(exampleCertificate(t), clientID, fixed)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exampleCertificate(t testing.TB) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile("testdata/site/certs/press-1.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue makes a self-signed certificate.
func issue(t testing.TB, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// registered is an engine that knows one certificate, at thing t1.
func registered(t testing.TB, cert *x509.Certificate, more string) *Engine {
	t.Helper()
	e, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	id := certificateID(cert.Raw)
	r, faults := parseRegistry("things.yaml", []byte(strings.ReplaceAll("things: {t1: {type: press, certificates: [ID]}, t2: {}}\n"+more, "ID", id)), nil, noFiles)
	if r == nil {
		t.Fatal(faults)
	}
	s := *e.current.Load()
	s.registry = r
	e.current.Store(&s)
	return e
}

func TestCertificate(t *testing.T) {
	day := func(year int) time.Time { return time.Date(year, time.January, 1, 0, 0, 0, 0, time.UTC) }
	cert := issue(t, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: day(2025), NotAfter: day(2027)})
	old := issue(t, &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: day(2020), NotAfter: day(2022)})
	for name, c := range map[string]struct {
		cert *x509.Certificate
		more string
		now  time.Time
		want string // of the error; empty: accepted
	}{
		"good":                    {cert, "", day(2026), ""},
		"not registered":          {issue(t, &x509.Certificate{SerialNumber: big.NewInt(3)}), "", day(2026), "is not registered: list it at its thing"},
		"inactive":                {cert, "certificates: {ID: {status: INACTIVE}}", day(2026), "is INACTIVE: set it to ACTIVE"},
		"ended":                   {cert, "", day(2028), "ended on 2027-01-01"},
		"not yet":                 {cert, "", day(2024), "starts on 2025-01-01, the clock says 2024-01-01"},
		"clock not set":           {cert, "", day(1970), ""},
		"clock not set but ended": {old, "", day(1970), "ended on 2022-01-01"},
	} {
		t.Run(name, func(t *testing.T) {
			known := c.cert
			if name == "not registered" {
				known = cert
			}
			e := registered(t, known, c.more)
			p, err := e.Certificate(c.cert, "t1", c.now)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if p.Thing.Name != "t1" || !p.ThingAttached || p.CertificateID != certificateID(c.cert.Raw) || p.Certificate != c.cert {
					t.Errorf("%+v", p)
				}
			} else if err == nil || bridge.KindOf(err) != bridge.NotAuthorized || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if got, want := e.DatesUnchecked() == 1, strings.HasPrefix(name, "clock"); got != want {
				t.Errorf("dates unchecked %d times", e.DatesUnchecked())
			}
		})
	}
}

func TestThingOfCertificate(t *testing.T) {
	cert := issue(t, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: fixed.AddDate(1, 0, 0)})
	for name, c := range map[string]struct{ more, clientID, thing string }{
		"named like the client id": {"", "t1", "t1"},
		"other client id":          {"", "x", ""},
		"thing not attached":       {"", "t2", ""},
		"exclusive":                {"certificates: {ID: {exclusive: true}}", "x", "t1"},
	} {
		p, err := registered(t, cert, c.more).Certificate(cert, c.clientID, fixed)
		if err != nil {
			t.Fatal(err)
		}
		if p.Thing.Name != c.thing || p.ThingAttached != (c.thing != "") {
			t.Errorf("%s: %+v", name, p.Thing)
		}
	}
}

func TestNamed(t *testing.T) {
	s := newSite(t)
	p, err := s.Named("panel", "press-1", []string{"line", "operator"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"line", "operator", "no-secrets"}; !slices.Equal(p.Policies, want) || !p.ThingAttached || p.Thing.Name != "press-1" {
		t.Errorf("%+v", p)
	}
	if p, _ := s.Named("panel", "other", nil); p.ThingAttached || !slices.Equal(p.Policies, []string{"operator"}) {
		t.Errorf("%+v", p)
	}
	// An anonymous client is no thing, whatever name it takes.
	p, err = s.Named("anonymous", "press-1", []string{"device", "operator"})
	if err != nil || p.Thing.Name != "" || p.ThingAttached {
		t.Errorf("%+v, %v", p, err)
	}
	p.Remote = netip.MustParseAddrPort("[::ffff:127.0.0.1]:1")
	if d := s.grants(t, p).Decide(publish("a")); !d.Allowed || d.Policy != "operator" {
		t.Errorf("%+v", d)
	}
	p.Remote = netip.MustParseAddrPort("10.0.0.1:1")
	if d := s.grants(t, p).Decide(publish("a")); d.Allowed {
		t.Errorf("%+v", d)
	}
}

// A certificate that only a CA vouches for comes with the listener's policies,
// but never when the registry has taken it out of service.
func TestChainCertificate(t *testing.T) {
	cert := issue(t, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: fixed})
	for more, refused := range map[string]bool{"": false, "certificates: {ID: {status: REVOKED}}": true} {
		e := registered(t, cert, more)
		p, err := e.Named("cn", "c", []string{})
		if err != nil {
			t.Fatal(err)
		}
		p.Certificate, p.CertificateID = cert, certificateID(cert.Raw)
		if _, err := e.Grants(&p); (err != nil) != refused {
			t.Errorf("%q: %v", more, err)
		}
	}
}

func TestFactsOfCertificate(t *testing.T) {
	directory, err := asn1.Marshal(pkix.Name{CommonName: "dir"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	issuerNames, err := asn1.Marshal([]asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("ca.example")},
		{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: directory},
	})
	if err != nil {
		t.Fatal(err)
	}
	cert := issue(t, &x509.Certificate{
		SerialNumber:    big.NewInt(0x0A1B),
		Subject:         pkix.Name{CommonName: "press-1", Country: []string{"DE", "FR"}, Organization: []string{"Example Corp"}, SerialNumber: "7"},
		EmailAddresses:  []string{"a@example.com"},
		IPAddresses:     []net.IP{net.IPv4(10, 0, 0, 1)},
		URIs:            []*url.URL{{Scheme: "urn", Opaque: "x"}},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 18}, Value: issuerNames}},
	})
	c := factsOf(cert, "id")
	want := map[string][]string{
		"CommonName": {"press-1"}, "Country": {"DE", "FR"}, "Organization": {"Example Corp"}, "SerialNumber": {"7"},
		"AlternativeName.RFC822Name": {"a@example.com"}, "AlternativeName.IPAddress": {"10.0.0.1"}, "AlternativeName.UniformResourceIdentifier": {"urn:x"},
	}
	if !reflect.DeepEqual(c.subject, want) || c.serial != "0A1B" {
		t.Errorf("subject %v, serial %s", c.subject, c.serial)
	}
	if got := c.issuer["AlternativeName.DNSName"]; !slices.Equal(got, []string{"ca.example"}) {
		t.Errorf("issuer %v", c.issuer)
	}
	if got := c.issuer["AlternativeName.DirectoryName"]; !slices.Equal(got, []string{"CN=dir"}) {
		t.Errorf("issuer %v", c.issuer)
	}
}
