package localbroker

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/crypto/bcrypt"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// secure is a TLS listener for certificates of ca.
func secure(ca *peers.Authority, profile, clientAuth string) ListenerOptions {
	server := ca.Server("gateway")
	o := plain(profile)
	o.Type, o.Auth = typeTLS, authCertificate
	o.TLS = TLSOptions{Cert: server.CertFile, Key: server.KeyFile, ClientAuth: clientAuth}
	if clientAuth != clientFingerprint {
		o.TLS.ClientCA = ca.File
	}
	return o
}

// tlsDial connects over TLS; no certificate when cert is nil.
func (h *house) tlsDial(ca *peers.Authority, cert *peers.Cert, version byte) *device {
	h.tb.Helper()
	cfg := &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{cert.TLS}
	}
	conn, err := tls.Dial("tcp", h.addr(), cfg)
	if err != nil {
		h.tb.Fatal(err)
	}
	return over(h.tb, conn, version)
}

// expectHangUp: the connection ends before any CONNACK, be it in the handshake.
func (d *device) expectHangUp() {
	d.tb.Helper()
	_, _ = d.Write(encode(d.tb, hello(d.version, "d"), d.version))
	if pk, err := d.read(); err == nil {
		d.tb.Errorf("got %s %#x", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
	}
}

// TestCertificates: who gets in, by client_auth.
func TestCertificates(t *testing.T) {
	ours, foreign := peers.CA(t), peers.CA(t)
	known := people{known: map[string]bool{"dev": true}}
	good, other := ours.Client("dev", peers.Validity{}), ours.Client("stranger", peers.Validity{})
	byAWS := foreign.Client("dev", peers.Validity{}) // chains to no CA of the site
	expired := foreign.Client("dev", peers.Validity{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	for name, tt := range map[string]struct {
		auth string
		cert *peers.Cert
		in   bool
	}{
		"fingerprint, registered":               {clientFingerprint, good, true},
		"fingerprint, registered, foreign CA":   {clientFingerprint, byAWS, true},
		"fingerprint, not registered":           {clientFingerprint, other, false},
		"fingerprint, registered, expired":      {clientFingerprint, expired, false},
		"fingerprint, no certificate":           {clientFingerprint, nil, false},
		"chain, registered or not":              {clientChain, other, true},
		"chain, foreign CA":                     {clientChain, byAWS, false},
		"both, registered":                      {clientBoth, good, true},
		"both, not registered":                  {clientBoth, other, false},
		"both, registered, but of a foreign CA": {clientBoth, byAWS, false},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				h := open(t, known, secure(ours, profileAWS, tt.auth))
				d := h.tlsDial(ours, tt.cert, version)
				if !tt.in {
					d.expectHangUp() // B12
					receive(t, "the callback", h.no)
					return
				}
				if ack := d.connect("d"); ack.ReasonCode != 0 {
					t.Fatalf("CONNACK %#x", ack.ReasonCode)
				}
				d.send(publish(1, "t", "x"))
				d.answered(0)
				p := h.sessions.find("d").who
				if p.CertificateID != tt.cert.Fingerprint || p.Certificate == nil || p.ClientID != "d" || p.ServerName != "localhost" || p.Protocol != version || !p.Remote.IsValid() {
					t.Errorf("principal %+v", p)
				}
			})
		})
	}
}

// TestUnregisteredIsTold: profile aws-edge answers where AWS hangs up.
func TestUnregisteredIsTold(t *testing.T) {
	ca := peers.CA(t)
	h := open(t, people{}, secure(ca, profileAWSEdge, clientFingerprint))
	for version, want := range map[byte]byte{5: 0x87, 4: 5} {
		d := h.tlsDial(ca, ca.Client("stranger", peers.Validity{}), version)
		if got := d.connect("d").ReasonCode; got != want {
			t.Errorf("version %d: CONNACK %#x, want %#x", version, got, want)
		}
	}
}

// TestUserNameWithCertificate: AWS's SDKs send one; it is nobody's login.
func TestUserNameWithCertificate(t *testing.T) {
	ca := peers.CA(t)
	h := open(t, people{known: map[string]bool{"dev": true}}, secure(ca, profileAWS, clientFingerprint))
	d := h.tlsDial(ca, ca.Client("dev", peers.Validity{}), 5)
	ack := d.connect("d", func(pk *packets.Packet) {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte("?SDK=JavaV2&Version=1.0")
	})
	if ack.ReasonCode != 0 {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
	if p := h.sessions.find("d").who; p.User != "" {
		t.Errorf("user %q", p.User)
	}
}

// TestTLSVersion: below 1.2 there is no handshake (B02).
func TestTLSVersion(t *testing.T) {
	ca := peers.CA(t)
	h := open(t, people{}, secure(ca, profileAWS, clientFingerprint))
	_, err := tls.Dial("tcp", h.addr(), &tls.Config{RootCAs: ca.Pool, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if why := receive(t, "the callback", h.no); why != "handshake" {
		t.Errorf("reason %q", why)
	}
}

// TestTLSFiles: each mistake is one line with a remedy.
func TestTLSFiles(t *testing.T) {
	ca := peers.CA(t)
	good, other := ca.Server("a"), ca.Server("b")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		tls  TLSOptions
		want string
	}{
		"no certificate":  {TLSOptions{Cert: "/nowhere/cert.pem", Key: good.KeyFile}, "/nowhere/cert.pem does not exist: create it"},
		"no key":          {TLSOptions{Cert: good.CertFile, Key: "/nowhere/key.pem"}, "/nowhere/key.pem does not exist"},
		"another key":     {TLSOptions{Cert: good.CertFile, Key: other.KeyFile}, "belong together"},
		"not PEM":         {TLSOptions{Cert: empty, Key: good.KeyFile}, "belong together"},
		"a folder":        {TLSOptions{Cert: os.TempDir(), Key: good.KeyFile}, "is not a file"},
		"no client CA":    {TLSOptions{Cert: good.CertFile, Key: good.KeyFile, ClientAuth: clientBoth, ClientCA: "/nowhere/ca.pem"}, "/nowhere/ca.pem does not exist"},
		"empty client CA": {TLSOptions{Cert: good.CertFile, Key: good.KeyFile, ClientAuth: clientChain, ClientCA: empty}, "has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := secure(ca, profileAWS, clientFingerprint)
			o.TLS = tt.tls
			_, err := New(Options{Listeners: []ListenerOptions{o}}, Deps{Log: nolog()})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("err %v, want %q", err, tt.want)
			}
			if bridge.KindOf(err) == bridge.Internal {
				t.Error("no kind")
			}
		})
	}
}

// usersFile writes a users file with one user.
func usersFile(t *testing.T, name, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(path, []byte(name+": "+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func login(user, password string) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte(user)
		pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte(password)
	}
}

// TestPasswords (B26), and a reload that changes them.
func TestPasswords(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		o := plain(profileAWS)
		o.Auth, o.Users, o.Policies = authPassword, usersFile(t, "ann", "right"), []string{"local"}
		h := open(t, people{}, o)
		refused := byte(0x86)
		if version == 4 {
			refused = 4
		}
		try := func(want byte, change ...func(*packets.Packet)) {
			t.Helper()
			if got := dial(t, h.addr(), version).connect("d", change...).ReasonCode; got != want {
				t.Errorf("CONNACK %#x, want %#x", got, want)
			}
		}
		try(0, login("ann", "right"))
		if p := h.sessions.find("d").who; p.User != "ann" || len(p.Policies) != 1 {
			t.Errorf("principal %+v", p)
		}
		try(refused, login("ann", "wrong"))
		try(refused, login("bob", "right"))
		try(refused)
		o.Users = usersFile(t, "bob", "new")
		if err := h.Reload(Options{Listeners: []ListenerOptions{o}}); err != nil {
			t.Fatal(err)
		}
		try(0, login("bob", "new"))
		try(refused, login("ann", "right"))
		o.Users = "/nowhere"
		if err := h.Reload(Options{Listeners: []ListenerOptions{o}}); err == nil {
			t.Error("a bad file is taken")
		}
		try(0, login("bob", "new")) // the last good one holds
		open := o
		open.Auth, open.Users, open.Address = authAnonymous, "", "0.0.0.0:0"
		if err := h.Reload(Options{Listeners: []ListenerOptions{open}}); err == nil {
			t.Error("anonymous on the network is taken")
		}
		o.Profile = profileMQTT
		if err := h.Reload(Options{Listeners: []ListenerOptions{o}}); err == nil || !strings.Contains(err.Error(), "restart") {
			t.Errorf("err %v", err)
		}
	})
}

func TestUsersFile(t *testing.T) {
	for text, want := range map[string]string{
		"ann: plain-text\n": `user "ann": not a bcrypt hash: make one`,
		"- a\n- b\n":        "write one",
		"ann: [\n":          "write one",
	} {
		path := filepath.Join(t.TempDir(), "users.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadUsers(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: err %v", text, err)
		}
	}
}
