package localbroker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/crypto/bcrypt"

	"github.com/ebbgate/ebbgate/bridge"
)

// expectPolicyEnd expects how a change of policy ends a connection: v5 is told
// DISCONNECT 0x87 with the reason, 3.1.1 is closed (policy §4).
func (d *device) expectPolicyEnd(reason string) {
	d.tb.Helper()
	if d.version < 5 {
		d.expectEnd()
		return
	}
	pk := d.expect(packets.Disconnect)
	if pk.ReasonCode != 0x87 || !strings.Contains(pk.Properties.ReasonString, reason) {
		d.tb.Fatalf("DISCONNECT %#x %q, want 0x87 with %q", pk.ReasonCode, pk.Properties.ReasonString, reason)
	}
	d.expectEnd()
}

// TestEnforceConnect: a connection ends whose CONNECT, asked again as it came,
// would be refused, its will included; its will fires if it still may.
func TestEnforceConnect(t *testing.T) {
	for name, tt := range map[string]struct {
		deny  string
		check string
		wills int
	}{
		"Connect":                          {"iot:Connect d", willBoth, 1},
		"the will's topic":                 {"iot:Publish w", willBoth, 0},
		"the will's topic, at CONNECT":     {"iot:Publish w", willAtConnect, 0},
		"Connect, the will at CONNECT":     {"iot:Connect d", willAtConnect, 1},
		"Connect, the will when it fires":  {"iot:Connect d", willAtFire, 1},
		"Connect and the will's RETAIN":    {"iot:RetainPublish w", willBoth, 0},
		"what it has nothing to do with":   {"iot:Publish elsewhere", willBoth, -1},
		"the will's topic, when it fires":  {"iot:Publish w", willAtFire, -1},
		"Connect of somebody else is kept": {"iot:Connect e", willBoth, -1},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				h := openWith(t, people{}, func(d *Deps) { d.WillCheck = tt.check }, plain(profileAWS))
				d := h.join(version, "d", withWill, func(pk *packets.Packet) { pk.Connect.WillRetain = strings.Contains(tt.deny, "Retain") })
				h.join(version, "other")
				h.rules.deny(tt.deny)
				got := h.Enforce()
				if tt.wills < 0 {
					if got.Ended != 0 || got.Sessions != 2 {
						t.Fatalf("%+v", got)
					}
					d.expectNothing()
					return
				}
				if got.Ended != 1 || got.Sessions != 2 {
					t.Fatalf("%+v", got)
				}
				d.expectPolicyEnd("policy changed: ")
				if why := receive(t, "the end", h.ended); why != "policy-changed" {
					t.Errorf("reason %q", why)
				}
				if wills := h.walk.topics(); len(wills) != tt.wills {
					t.Errorf("the walk took %q, want %d wills", wills, tt.wills)
				}
				if st := h.Status(); st.PolicyEnded != 1 || st.Connections != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestGoodbyeFollowsConnack: whoever has its CONNACK is told why it must go, even
// before its session has begun to send.
func TestGoodbyeFollowsConnack(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "d")
	c := h.sessions.find("d").current()
	eventually(t, "the session has begun", c.open.Load)
	c.open.Store(false) // as it is between the two
	c.close(cause{reason: "kicked", code: 0x98})
	d.expectGoodbye(0x98)
}

// TestEnforceSubscription: a subscription that is no longer allowed is gone, and
// since MQTT cannot say so in a live session, the connection ends with the
// reason; the others are there when it comes back.
func TestEnforceSubscription(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(version, "d", persistent(600))
		d.subscribe(1, "keep/#", "secret/#", "$share/g/secret")
		absent := h.join(version, "absent", persistent(600))
		absent.subscribe(1, "secret/#")
		h.leave(absent, "absent")
		<-h.ended
		h.rules.deny("iot:Subscribe secret/#")
		if got := h.Enforce(); got.Ended != 1 || got.Subscriptions != 2 || got.Sessions != 2 {
			t.Fatalf("%+v", got)
		}
		d.expectPolicyEnd("subscription to secret/#")
		receive(t, "the end", h.ended)
		for _, s := range h.Sessions() {
			want := "[$share/g/secret keep/#]"
			if s.ClientID == "absent" {
				want = "[]"
			}
			if got := fmt.Sprint(s.Filters); got != want {
				t.Errorf("%s subscribes to %s, want %s", s.ClientID, got, want)
			}
		}
		pub := h.join(4, "pub")
		pub.send(publish(1, "secret/1", "x"))
		pub.send(publish(2, "keep/1", "x"))
		back := h.join(version, "d", persistent(600))
		if got := back.take(); got.TopicName != "keep/1" {
			t.Errorf("got %q", got.TopicName)
		}
		if got := h.Enforce(); got.Ended != 0 || got.Subscriptions != 0 {
			t.Errorf("a second time: %+v", got)
		}
	})
}

// TestQueuedIsAskedAgain: what waits for a device is withheld when iot:Receive
// has gone meanwhile, with and without a sweep (policy §12).
func TestQueuedIsAskedAgain(t *testing.T) {
	for name, change := range map[string]func(*house){
		"immediate": func(h *house) { h.Enforce() },
		"aws":       func(h *house) { h.PolicyChanged() },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, people{}, plain(profileAWS))
			d := h.join(5, "d", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
			d.subscribe(1, "t/#")
			pub := h.join(4, "pub")
			for i, topic := range []string{"t/1", "t/secret", "t/2"} {
				pub.send(publish(uint16(i+1), topic, "x"))
				pub.expect(packets.Puback)
			}
			first := d.expect(packets.Publish) // the window is 1: the others wait
			eventually(t, "the others wait", func() bool { return h.sessions.find("d").info().Waiting == 3 })
			h.rules.deny("iot:Receive t/secret")
			change(h)
			d.puback(first.PacketID)
			if got := d.take(); got.TopicName != "t/2" {
				t.Errorf("got %q", got.TopicName)
			}
			if h.dropped("receive-denied") != 1 || h.Status().AuthErrors["PublishOut.AuthError"] != 1 {
				t.Errorf("counted %d", h.dropped("receive-denied"))
			}
		})
	}
}

// late is an Authorizer that lets the policy change between an answer and what
// is done with it.
type late struct {
	*rules
	mu     sync.Mutex
	after  bridge.Action
	change func()
}

func (l *late) Grants(p *bridge.Principal) (bridge.Grants, error) {
	g, err := l.rules.Grants(p)
	return lateGrants{g, l}, err
}

type lateGrants struct {
	bridge.Grants
	late *late
}

func (g lateGrants) Decide(r bridge.Request) bridge.Decision {
	d := g.Grants.Decide(r)
	g.late.mu.Lock()
	change := g.late.change
	if r.Action == g.late.after {
		g.late.change = nil
	} else {
		change = nil
	}
	g.late.mu.Unlock()
	if change != nil {
		change()
	}
	return d
}

// TestEnforceMeetsDecision: what is decided while the policy changes is decided
// by the new one.
func TestEnforceMeetsDecision(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		var l *late
		h := openWith(t, people{}, func(d *Deps) { l = &late{rules: d.Authorizer.(*rules)}; d.Authorizer = l }, plain(profileAWS))
		set := func(after bridge.Action, deny string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.after, l.change = after, func() { h.rules.deny(deny); h.Enforce() }
		}
		d := h.join(version, "d")
		set(bridge.ActionSubscribe, "iot:Subscribe secret")
		want := map[byte]byte{5: 0x87, 4: 0x80}[version]
		if got := d.subscribe(1, "secret"); !bytes.Equal(got, []byte{want}) {
			t.Errorf("SUBACK %#x", got)
		}
		set(bridge.ActionConnect, "iot:Connect e")
		want = map[byte]byte{5: 0x87, 4: 5}[version]
		if got := dial(t, h.addr(), version).connect("e").ReasonCode; got != want {
			t.Errorf("CONNACK %#x", got)
		}
	})
}

// TestEnforceUsers: a user that is taken out of the file is let go, and one whose
// listener gets other policies is asked by these.
func TestEnforceUsers(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := func(users ...string) string {
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
	each(t, func(t *testing.T, version byte) {
		o := plain(profileAWS)
		o.Auth, o.Users, o.Policies = authPassword, file("ann", "bob"), []string{"p"}
		h := open(t, people{}, o)
		ann, bob := h.join(version, "a", login("ann", "pw")), h.join(version, "b", login("bob", "pw"))
		o.Users = file("bob")
		opts := DefaultOptions()
		opts.Listeners = []ListenerOptions{o}
		if err := h.Reload(opts); err != nil {
			t.Fatal(err)
		}
		if got := h.Enforce(); got.Ended != 1 {
			t.Fatalf("%+v", got)
		}
		ann.expectPolicyEnd("user ann")
		bob.expectNothing()
		opts.Listeners[0].Policies = []string{"missing"}
		if err := h.Reload(opts); err != nil {
			t.Fatal(err)
		}
		if got := h.Enforce(); got.Ended != 1 {
			t.Fatalf("%+v", got)
		}
		bob.expectPolicyEnd("denied")
	})
}

// TestStanding lists what the sessions were let in for.
func TestStanding(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "d", withWill, persistent(60))
	d.subscribe(0, "b", "a")
	gone := h.join(5, "gone", persistent(60))
	gone.subscribe(0, "c")
	h.leave(gone, "gone")
	var got []string
	h.Standing(func(p *bridge.Principal, r bridge.Request) bool {
		got = append(got, fmt.Sprintf("%s %s %s %v %s", p.ClientID, r.Action, r.Name, r.Persistent, r.WillTopic))
		return true
	})
	for _, want := range []string{"d iot:Connect d true w", "d iot:Subscribe a false", "d iot:Subscribe b false", "gone iot:Subscribe c false"} {
		found := false
		for _, g := range got {
			found = found || strings.TrimSpace(g) == want
		}
		if !found {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if len(got) != 4 {
		t.Errorf("got %q", got)
	}
	n := 0
	h.Standing(func(*bridge.Principal, bridge.Request) bool { n++; return false })
	if n != 1 {
		t.Errorf("asked %d times after the end", n)
	}
}
