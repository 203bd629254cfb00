package localbroker

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/crypto/bcrypt"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// usersOf is a file of these users, all with the password "pw".
func usersOf(t *testing.T, users ...string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, u := range users {
		text += u + ": " + string(hash) + "\n"
	}
	path := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// reload gives the one listener other options.
func (h *house) reload(o ListenerOptions) {
	h.tb.Helper()
	opts := DefaultOptions()
	opts.Listeners = []ListenerOptions{o}
	if err := h.Reload(opts); err != nil {
		h.tb.Fatal(err)
	}
}

// accepted waits until the listener has so many sockets, their handshakes done.
func (h *house) accepted(n int) {
	h.tb.Helper()
	eventually(h.tb, "the sockets are accepted", func() bool {
		l := h.listeners[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		have := 0
		for _, c := range l.raws {
			if c != nil {
				have++
			}
		}
		return have == n
	})
}

// TestEnforceAuth: who came in by a proof that the listener does not take any more
// is let go, and the session of who is absent is served nothing.
func TestEnforceAuth(t *testing.T) {
	anonymous := plain(profileAWS)
	password := plain(profileAWS)
	password.Auth, password.Users = authPassword, usersOf(t, "ann")
	for name, c := range map[string]struct {
		before, after ListenerOptions
		user          string
	}{
		"anonymous, then password": {anonymous, password, ""},
		"password, then anonymous": {password, anonymous, "ann"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				h := open(t, people{}, c.before)
				options := []func(*packets.Packet){persistent(60)}
				if c.user != "" {
					options = append(options, login(c.user, "pw"))
				}
				present, absent := h.join(version, "present", options...), h.join(version, "absent", options...)
				absent.subscribe(1, "t")
				h.leave(absent, "absent")
				h.reload(c.after)
				if got := h.Enforce(); got.Ended != 1 || got.Subscriptions != 1 {
					t.Fatalf("%+v", got)
				}
				present.expectPolicyEnd("the listener asks for auth " + c.after.Auth + " now")
				h.reload(c.before)
				h.Enforce()
				h.join(version, "present", options...)
			})
		})
	}
}

// TestEnforceClientAuth: the same for certificates. A certificate that the new
// setting takes as well stays.
func TestEnforceClientAuth(t *testing.T) {
	ours, others := peers.CA(t), peers.CA(t)
	cert := ours.Client("dev", peers.Validity{})
	moved := func(to string) ListenerOptions {
		o := secure(ours, profileAWS, to)
		if to != clientFingerprint {
			o.TLS.ClientCA = others.File
		}
		return o
	}
	for name, c := range map[string]struct {
		before, after ListenerOptions
		says          string // empty: it stays
	}{
		"fingerprint, then chain":          {secure(ours, profileAWS, clientFingerprint), secure(ours, profileAWS, clientChain), "asks for client_auth chain now"},
		"chain, then fingerprint":          {secure(ours, profileAWS, clientChain), secure(ours, profileAWS, clientFingerprint), "asks for client_auth fingerprint now"},
		"fingerprint, then both":           {secure(ours, profileAWS, clientFingerprint), secure(ours, profileAWS, clientBoth), ""},
		"fingerprint, then both of others": {secure(ours, profileAWS, clientFingerprint), moved(clientBoth), "client_ca has not issued"},
		"both, then fingerprint":           {secure(ours, profileAWS, clientBoth), secure(ours, profileAWS, clientFingerprint), ""},
		"chain, then of other CAs":         {secure(ours, profileAWS, clientChain), moved(clientChain), "client_ca has not issued"},
		"chain, then chain":                {secure(ours, profileAWS, clientChain), secure(ours, profileAWS, clientChain), ""},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				h := open(t, people{known: map[string]bool{"dev": true}}, c.before)
				d := h.tlsDial(ours, cert, version)
				if ack := d.connect("d"); ack.ReasonCode != 0 {
					t.Fatalf("CONNACK %#x", ack.ReasonCode)
				}
				h.ready("d")
				h.reload(c.after)
				if got := h.Enforce(); got.Ended != map[bool]int{true: 0, false: 1}[c.says == ""] {
					t.Fatalf("%+v", got)
				}
				if c.says == "" {
					d.expectNothing()
					return
				}
				d.expectPolicyEnd(c.says)
			})
		})
	}
}

// TestConnectAfterReload: a socket that was opened before a reload is no way
// around it. What was verified in a handshake counts for the settings of then.
func TestConnectAfterReload(t *testing.T) {
	ours, others := peers.CA(t), peers.CA(t)
	password := func(users ...string) ListenerOptions {
		o := plain(profileAWSEdge)
		o.Auth, o.Users = authPassword, usersOf(t, users...)
		return o
	}
	t.Run("user", func(t *testing.T) {
		each(t, func(t *testing.T, version byte) {
			h := open(t, people{}, password("ann", "bob"))
			ann, bob := dial(t, h.addr(), version), dial(t, h.addr(), version)
			h.accepted(2)
			h.reload(password("bob"))
			if got := ann.connect("a", login("ann", "pw")).ReasonCode; got == 0 {
				t.Error("a user that is gone is let in")
			}
			if got := bob.connect("b", login("bob", "pw")).ReasonCode; got != 0 {
				t.Errorf("CONNACK %#x", got)
			}
		})
	})
	t.Run("auth", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWSEdge))
		d := dial(t, h.addr(), 5)
		h.accepted(1)
		h.reload(password("ann"))
		if got := d.connect("d").ReasonCode; got != 0x86 {
			t.Errorf("CONNACK %#x", got)
		}
	})
	t.Run("chain", func(t *testing.T) {
		h := open(t, people{}, secure(ours, profileAWSEdge, clientFingerprint))
		// Anybody can make a CA, and the common name is the user.
		own, forged := h.tlsDial(ours, ours.Client("ann", peers.Validity{}), 5), h.tlsDial(ours, others.Client("ann", peers.Validity{}), 5)
		h.accepted(2)
		h.reload(secure(ours, profileAWSEdge, clientChain))
		if got := forged.connect("forged").ReasonCode; got != 0x87 {
			t.Errorf("CONNACK %#x to a certificate that nobody has verified", got)
		}
		if got := own.connect("own").ReasonCode; got != 0 {
			t.Errorf("CONNACK %#x", got)
		}
	})
}
