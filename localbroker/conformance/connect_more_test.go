package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// persistent asks for a session that outlives the connection, in MQTT 5 for
// this many seconds.
func persistent(seconds uint32) change {
	return func(pk *packets.Packet) {
		pk.Connect.Clean = false
		expiry(seconds)(pk)
	}
}

// expiry is the Session Expiry Interval of CONNECT or DISCONNECT.
func expiry(seconds uint32) change {
	return func(pk *packets.Packet) {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = seconds, true
	}
}

func user(key, value string) change {
	return func(pk *packets.Packet) {
		pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: key, Val: value})
	}
}

func packetSize(n uint32) change {
	return func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = n }
}

func TestB33_UnspecifiedRefusal(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.dial(5).wantRefused(0x80, 0, "d", packetSize(511)) // has no code of its own (B40)
}

// silence moves the clock until the broker has ended d for being quiet so long,
// the others saying something each time. It moves it again when the broker had
// not begun to wait for d's next packet.
func (g *gate) silence(d *device, long time.Duration, others ...*device) {
	g.tb.Helper()
	for range 4 {
		for _, o := range others {
			o.expectNothing()
		}
		g.clock.advance(long)
		if d.hears(3 * time.Second) {
			break
		}
	}
	d.expectGoodbye(0x8D)
}

// wantKeepAlive connects two devices, one with a keep alive that ends sooner,
// and moves the clock to where only that one has been quiet for too long, then
// to where the other has.
func wantKeepAlive(t *testing.T, asked uint16, want time.Duration, before uint16, sooner time.Duration) {
	both(t, func(t *testing.T, g *gate, version byte) {
		first := g.join(version, "first", keepAlive(before))
		d := g.dial(version)
		ack := d.connect("d", keepAlive(asked))
		if p := ack.Properties; version == 5 && (!p.ServerKeepAliveFlag || time.Duration(p.ServerKeepAlive)*time.Second != want) {
			t.Errorf("Server Keep Alive %d, want %v", p.ServerKeepAlive, want)
		}
		g.silence(first, sooner*3/2+time.Second, d)
		d.expectNothing()
		g.silence(d, want*3/2+time.Second)
		g.wantEnd("keep-alive-timeout")
	})
}

func TestB34_NoKeepAlive(t *testing.T) {
	t.Parallel()
	for _, asked := range []uint16{0, 1201, 65535} {
		wantKeepAlive(t, asked, 1200*time.Second, 1190, 1190*time.Second)
	}
}

func TestB35_ShortKeepAlive(t *testing.T) {
	t.Parallel()
	for _, asked := range []uint16{1, 29} {
		both(t, func(t *testing.T, g *gate, version byte) {
			d := g.dial(version)
			ack := d.connect("d", keepAlive(asked))
			if p := ack.Properties; version == 5 && p.ServerKeepAlive != 30 {
				t.Errorf("Server Keep Alive %d, want 30", p.ServerKeepAlive)
			}
			g.clock.advance(43 * time.Second)
			d.expectNothing()
			g.silence(d, 46*time.Second)
		})
	}
}

func TestB36_KeepAliveAsAsked(t *testing.T) {
	t.Parallel()
	wantKeepAlive(t, 40, 40*time.Second, 30, 30*time.Second)
	wantKeepAlive(t, 1200, 1200*time.Second, 32, 32*time.Second)
}

func TestB37_KeepAliveTimeout(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.join(5, "watcher", keepAlive(1200))
		watcher.listen(0, "last")
		d := g.join(version, "d", keepAlive(60), leaving("last", "word"))
		for range 3 { // each packet begins the time anew
			g.clock.advance(80 * time.Second)
			d.expectNothing()
		}
		g.silence(d, 91*time.Second, watcher)
		g.wantEnd("keep-alive-timeout")
		watcher.expectMessage("last", "word")
	})
}

func TestB38_Ping(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.write(0xC0, 0)
		if d.expect(packets.Pingresp); len(d.body) != 0 {
			t.Errorf("PINGRESP with %x", d.body)
		}
	})
}

func receiveMaximum(n uint16) change {
	return func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = n }
}

func TestB39_ReceiveMaximum(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d", receiveMaximum(2))
	d.listen(1, "t")
	pub := g.join(5, "pub")
	for i := range 3 {
		pub.say("t", fmt.Sprint(i))
	}
	first := d.expect(packets.Publish)
	d.expect(packets.Publish)
	d.expectNothing()
	d.puback(first.PacketID)
	if third := d.expect(packets.Publish); string(third.Payload) != "2" {
		t.Errorf("got %s, want the third message", third.Payload)
	}
}

func TestB40_TinyPackets(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.dial(5).wantRefused(0x80, 0, "d", packetSize(511))
	g.wantRefusal("maximum-packet-size")
	g.join(5, "d", packetSize(512))
}

func TestB41_LargePacketDropped(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d", packetSize(512))
	d.listen(1, "t")
	pub := g.join(5, "pub")
	pub.say("t", strings.Repeat("x", 600))
	pub.say("t", "small")
	d.expectMessage("t", "small")
	if n := g.dropped("client-packet-size"); n != 1 {
		t.Errorf("%d drops, want 1", n)
	}
}

func TestB42_NoAliasesOut(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d", func(pk *packets.Packet) { pk.Properties.TopicAliasMaximum = 10 })
	d.listen(1, "t")
	pub := g.join(5, "pub")
	for range 3 {
		pub.say("t", "x")
		if pk := d.expectMessage("t", "x"); pk.Properties.TopicAliasFlag {
			t.Errorf("alias %d", pk.Properties.TopicAlias)
		}
	}
}

func TestB43_LongSessionExpiry(t *testing.T) {
	t.Parallel()
	for longest, want := range map[time.Duration]uint32{time.Hour: 3600, 168 * time.Hour: 604800} {
		g := open(t, func(s *setup) { s.lan().Quotas.SessionExpiry = longest })
		p := g.dial(5).connect("d", persistent(700_000)).Properties
		if !p.SessionExpiryIntervalFlag || p.SessionExpiryInterval != want {
			t.Errorf("longest %v: CONNACK says %d, want %d", longest, p.SessionExpiryInterval, want)
		}
		if p := g.dial(5).connect("e", persistent(600)).Properties; p.SessionExpiryIntervalFlag {
			t.Errorf("CONNACK says %d to who has what it asked for", p.SessionExpiryInterval)
		}
	}
}

func TestB44_NoSessionExpiry(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d", func(pk *packets.Packet) { pk.Connect.Clean = false })
	g.cut(d, "d")
	if ack := g.dial(5).connect("d", persistent(60)); ack.SessionPresent {
		t.Error("the session is still there")
	}
}

func terse(pk *packets.Packet) {
	pk.Properties.RequestProblemInfo, pk.Properties.RequestProblemInfoFlag = 0, true
}

func TestB45_NoProblemInformation(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, quiet := range []bool{false, true} {
		var changes []change
		if quiet {
			changes = append(changes, terse)
		}
		refused := g.dial(5)
		if text := refused.connect("stranger", changes...).Properties.ReasonString; (text == "") != quiet {
			t.Errorf("asked for none: %v, CONNACK says %q", quiet, text)
		}
		d := g.join(5, "d", changes...)
		d.send(publish(0, "forbidden/t", "x"))
		if text := d.expect(packets.Disconnect).Properties.ReasonString; (text == "") != quiet {
			t.Errorf("asked for none: %v, DISCONNECT says %q", quiet, text)
		}
	}
}

func TestB46_NoResponseInformation(t *testing.T) {
	t.Parallel()
	g := open(t)
	ack := g.dial(5).connect("d", func(pk *packets.Packet) { pk.Properties.RequestResponseInfo = 1 })
	if ack.ReasonCode != 0 || ack.Properties.ResponseInfo != "" {
		t.Errorf("CONNACK %#x, response information %q", ack.ReasonCode, ack.Properties.ResponseInfo)
	}
}

func authentication(pk *packets.Packet) { pk.Properties.AuthenticationMethod = "SCRAM-SHA-256" }

func TestB47_NoEnhancedAuthentication(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.dial(5).wantRefused(0x8C, 0, "d", authentication)
	g.dial(5).wantRefused(0x8C, 0, "d", func(pk *packets.Packet) { pk.Properties.AuthenticationData = []byte("x") })
	d := g.join(5, "d")
	d.send(varied(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Auth}, ReasonCode: 0x18}, []change{authentication}))
	d.expectGoodbye(0x82)
}

func TestB48_UserPropertiesOfConnect(t *testing.T) {
	t.Parallel()
	g := open(t)
	half := strings.Repeat("x", 4096)
	ofWill := func(key, value string) change {
		return func(pk *packets.Packet) {
			pk.Connect.WillProperties.User = append(pk.Connect.WillProperties.User, packets.UserProperty{Key: key, Val: value})
		}
	}
	g.join(5, "d", user(half, half))
	g.dial(5).wantRefused(0x97, 0, "d", user(half, half+"x"))
	g.join(5, "d", leaving("t", "word", ofWill(half, half)))
	g.dial(5).wantRefused(0x97, 0, "d", leaving("t", "word", ofWill(half, half+"x")))
}

func TestB49_NoServerReference(t *testing.T) {
	t.Parallel()
	g := open(t, oneConnection)
	if ack := g.dial(5).connect("d"); ack.Properties.ServerReference != "" {
		t.Errorf("CONNACK refers to %s", ack.Properties.ServerReference)
	}
	if ack := g.dial(5).connect("e"); ack.ReasonCode != 0x97 || ack.Properties.ServerReference != "" {
		t.Errorf("CONNACK %#x, refers to %q", ack.ReasonCode, ack.Properties.ServerReference)
	}
}
