package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/crypto/bcrypt"

	"github.com/ebbgate/ebbgate/localbroker"
)

func keepAlive(seconds uint16) change {
	return func(pk *packets.Packet) { pk.Connect.Keepalive = seconds }
}

// leaving gives a CONNECT a will.
func leaving(topic, payload string, changes ...change) change {
	return func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, topic, []byte(payload)
		*pk = varied(*pk, changes)
	}
}

// with turns a switch of the listener.
func with(turn func(*localbroker.SwitchOptions)) func(*setup) {
	return func(s *setup) { turn(&s.lan().Switches) }
}

// closesRefused is the switch for 3.1.1 devices whose CONNECT is refused.
func closesRefused(s *localbroker.SwitchOptions) { s.RefusedConnectV3 = "close" }

// wantRefused expects a CONNACK with the code of the device's version, 0 being
// the end without one, and the end.
func (d *device) wantRefused(v5, v3 byte, id string, changes ...change) {
	d.tb.Helper()
	d.send(hello(id, changes...))
	code := v3
	if d.version == 5 {
		code = v5
	}
	if code != 0 {
		if ack := d.expect(packets.Connack); ack.ReasonCode != code || ack.SessionPresent {
			d.tb.Fatalf("CONNACK %#x, session present %v, want %#x", ack.ReasonCode, ack.SessionPresent, code)
		}
	}
	d.expectEnd()
}

func TestB14_Connack3(t *testing.T) {
	t.Parallel()
	g := open(t)
	ack := g.dial(4).connect("d")
	if ack.ReasonCode != 0 || ack.SessionPresent {
		t.Errorf("CONNACK %#x, session present %v", ack.ReasonCode, ack.SessionPresent)
	}
}

func TestB15_Connack5(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.dial(5)
	ack := d.connect("d", keepAlive(600))
	p := ack.Properties
	if ack.ReasonCode != 0 || ack.SessionPresent || p.ReceiveMaximum != 100 || !p.MaximumQosFlag || p.MaximumQos != 1 ||
		p.MaximumPacketSize != 149504 || p.TopicAliasMaximum != 8 || p.ServerKeepAlive != 600 {
		t.Errorf("CONNACK %+v", p)
	}
	for name, pair := range map[string][2]any{
		"retain available":           {p.RetainAvailableFlag, p.RetainAvailable == 1},
		"wildcard subscriptions":     {p.WildcardSubAvailableFlag, p.WildcardSubAvailable == 1},
		"shared subscriptions":       {p.SharedSubAvailableFlag, p.SharedSubAvailable == 1},
		"no subscription identifier": {p.SubIDAvailableFlag, p.SubIDAvailable == 0},
		"no session expiry":          {!p.SessionExpiryIntervalFlag, true},
		"no assigned client id":      {p.AssignedClientID == "", true},
	} {
		if pair != [2]any{true, true} {
			t.Errorf("%s: %v in %+v", name, pair, p)
		}
	}
}

func TestB16_MQTT31Refused(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.dial(4)
	d.wantRefused(1, 1, "d", func(pk *packets.Packet) {
		pk.Connect.ProtocolName, pk.ProtocolVersion = []byte("MQIsdp"), 3
	})
}

func TestB17_PacketBeforeConnack(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.dial(version)
		d.send(hello("d"), subscribing(0, "t"))
		d.expect(packets.Connack)
		d.expectGoodbye(0x82)
		g.wantEnd("early-packet")
	})
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.dial(version)
		d.send(hello("d"), subscribing(0, "t"))
		d.expect(packets.Connack)
		d.expect(packets.Suback)
	}, with(func(s *localbroker.SwitchOptions) { s.EarlyPackets = "accept" }))
}

func TestB18_SecondConnect(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.join(5, "watcher")
		watcher.listen(0, "last")
		d := g.join(version, "d", leaving("last", "word"))
		d.send(hello("d"))
		d.expectGoodbye(0x82)
		watcher.expectMessage("last", "word")
		g.wantEnd("protocol-error")
	})
}

func TestB19_TakeOver(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.join(5, "watcher")
		watcher.listen(0, "last")
		old := g.join(version, "d", leaving("last", "word"))
		d := g.join(version, "d")
		old.expectGoodbye(0x8E)
		watcher.expectMessage("last", "word")
		d.say("t", "alive")
		g.wantEnd("taken-over")
	})
}

func TestB20_LongClientID(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.join(version, strings.Repeat("ü", 64))
		g.dial(version).wantRefused(0x85, 2, strings.Repeat("ü", 64)+"x")
		g.wantRefusal("client-id")
	})
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x85, 0, strings.Repeat("x", 129))
	}, with(closesRefused))
}

func TestB21_AssignedClientID(t *testing.T) {
	t.Parallel()
	g := open(t)
	first, second := g.dial(5).connect(""), g.dial(5).connect("")
	a, b := first.Properties.AssignedClientID, second.Properties.AssignedClientID
	if first.ReasonCode != 0 || a == "" || b == "" || a == b {
		t.Errorf("assigned %q and %q", a, b)
	}
}

func TestB22_EmptyClientID3(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.dial(4).wantRefused(0, 2, "", persistent(0))
	g.join(4, "")
	closing := open(t, with(closesRefused))
	closing.dial(4).wantRefused(0, 0, "", persistent(0))
	closing.join(4, "")
}

func TestB23_DollarClientID(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) { g.join(version, "$me") })
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x85, 2, "$me")
	}, with(func(s *localbroker.SwitchOptions) { s.DollarClientID = "refuse" }))
}

func TestB25_ConnectDenied(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x87, 5, "stranger")
		g.wantRefusal("not-authorized")
	})
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x87, 0, "stranger")
	}, with(closesRefused))
}

// logins makes the listener ask for a password.
func logins(t *testing.T) func(*setup) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(users, []byte("anna: "+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(s *setup) { s.lan().Auth, s.lan().Users = "password", users }
}

func login(user, password string) change {
	return func(pk *packets.Packet) {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte(user)
		pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte(password)
	}
}

func TestB26_BadPassword(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.join(version, "d", login("anna", "secret"))
		g.dial(version).wantRefused(0x86, 4, "e", login("anna", "wrong"))
		g.dial(version).wantRefused(0x86, 4, "e", login("bert", "secret"))
		g.dial(version).wantRefused(0x86, 4, "e")
		g.wantRefusal("bad-login")
	}, logins(t))
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x86, 0, "e", login("anna", "wrong"))
	}, logins(t), with(closesRefused))
}

func TestB27_WillTopicDenied(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x87, 5, "d", leaving("forbidden/last", "word"))
		g.wantRefusal("will-not-authorized")
		g.dial(version).wantRefused(0x87, 5, "d", leaving("unretained/last", "word", func(pk *packets.Packet) { pk.Connect.WillRetain = true }))
		g.join(version, "d", leaving("unretained/last", "word"))
	})
}

// unpublishable are topics that nobody may publish to (B28, B79-B82, B172).
func unpublishable() map[string]string {
	return map[string]string{
		"a reserved topic": "$mine/t", "another broker's": "$SYS/broker", "a plus": "a/+/b", "a hash": "a/#", "a hash inside": "a/b#c",
		"257 bytes": strings.Repeat("x", 257), "8 slashes": "a/b/c/d/e/f/g/h/i",
	}
}

func TestB28_WillTopicRefused(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		for name, topic := range unpublishable() {
			t.Run(name, func(*testing.T) {
				g.dial(version).wantRefused(0x90, 0, "d", leaving(topic, "word"))
				g.wantRefusal("will-topic")
			})
		}
		g.join(version, "d", leaving(strings.Repeat("x", 256), "word"))
		g.join(version, "e", leaving("a/b/c/d/e/f/g/h", "word"))
	})
}

func willQoS2(pk *packets.Packet) { pk.Connect.WillQos = 2 }

func TestB29_WillQoS2(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.dial(5).wantRefused(0x9B, 0, "d", leaving("t", "word", willQoS2))
}

func TestB30_WillQoS2Of3(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.dial(4).wantRefused(0, 0, "d", leaving("t", "word", willQoS2))
	g.wantRefusal("will-qos")
}

func oneConnection(s *setup) { s.lan().Limits.Connections = 1 }

func TestB31_TooManyConnections(t *testing.T) {
	t.Parallel()
	g := open(t, oneConnection)
	g.join(5, "first")
	g.dial(5).wantRefused(0x97, 0, "second")
	g.wantRefusal("connection-count")
	for reason, quota := range connectQuotas() {
		g := open(t, quota)
		g.clock.stop()
		g.join(5, "d")
		g.dial(5).wantRefused(0x97, 0, "d")
		g.wantRefusal(reason)
	}
}

// connectQuotas are the account's quotas of CONNECTs, each such that the second
// within a second, with the same client id, is above it.
func connectQuotas() map[string]func(*setup) {
	return map[string]func(*setup){
		"connect-rate":             account(func(q *localbroker.AccountQuotas) { q.ConnectsPerSecond = 1 }),
		"client-connect-rate":      account(func(q *localbroker.AccountQuotas) { q.ConnectsPerClientID = 1 }),
		"account-connection-count": account(func(q *localbroker.AccountQuotas) { q.Connections = 1 }),
	}
}

func TestB32_TooManyConnections3(t *testing.T) {
	t.Parallel()
	g := open(t, oneConnection)
	g.join(4, "first")
	g.dial(4).wantRefused(0, 0, "second")
	g.wantRefusal("connection-count")
	for reason, quota := range connectQuotas() {
		g := open(t, quota)
		g.clock.stop()
		g.join(4, "d")
		g.dial(4).wantRefused(0, 0, "d")
		g.wantRefusal(reason)
	}
}
