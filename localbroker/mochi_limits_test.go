package localbroker

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestM11_SessionExpiry: an hour for MQTT 3.1.1 (B51), kept across restarts, and
// the subscriptions go with the session. mochi keeps 3.1.1 sessions for ever,
// restarts their clocks and leaves their subscriptions in its index.
func TestM11_SessionExpiry(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWS))
	d := h.join(4, "d", persistent(0))
	d.subscribe(1, "t/+")
	h.leave(d, "d")
	eventually(t, "its end is on the shelf", func() bool {
		v, _ := disk.Get(shelfSession, "d")
		r, err := decodeSession("d", v)
		return err == nil && r.expires > 0
	})
	c.advance(40 * time.Minute)
	h, _ = disk.crashed(t, h, c, plain(profileAWS))
	h.sessions.sweep(h.age())
	if len(h.Sessions()) != 1 || h.index.root.empty() {
		t.Fatal("the session has not outlived the restart")
	}
	c.advance(21 * time.Minute)
	h.sessions.sweep(h.age())
	if len(h.Sessions()) != 0 || !h.index.root.empty() {
		t.Errorf("after 61 minutes: %d sessions, index empty: %v", len(h.Sessions()), h.index.root.empty())
	}
}

// TestM12_WillArrivesWhole: with all its properties, asked about and through the
// walk, also when the gateway dies before its delay is over (B170).
func TestM12_WillArrivesWhole(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileMQTT))
	whole := func(pk *packets.Packet) {
		withWill(pk)
		p := &pk.Connect.WillProperties
		p.PayloadFormat, p.PayloadFormatFlag, p.WillDelayInterval = 1, true, 30
	}
	d := h.join(5, "d", whole, persistent(600))
	h.leave(d, "d")
	eventually(t, "its will waits", func() bool {
		v, _ := disk.Get(shelfSession, "d")
		r, err := decodeSession("d", v)
		return err == nil && r.expires > 0
	})
	h, _ = disk.crashed(t, h, c, plain(profileMQTT))
	watcher := h.join(5, "watcher")
	watcher.subscribe(1, "w")
	h.sessions.sweep(h.age())
	watcher.expectNothing()
	c.advance(31 * time.Second)
	h.sessions.sweep(h.age())
	pk := watcher.take()
	p := pk.Properties
	if string(pk.Payload) != "gone" || p.ContentType != "text/plain" || p.ResponseTopic != "r" || !bytes.Equal(p.CorrelationData, []byte{1}) ||
		p.PayloadFormat != 1 || p.MessageExpiryInterval == 0 || len(p.User) != 1 || p.User[0].Val != "v" {
		t.Errorf("will %q %+v", pk.Payload, p)
	}
	if got := h.walk.topics(); !slices.Equal(got, []string{"w"}) {
		t.Errorf("the walk took %q", got)
	}
	if !slices.Contains(h.rules.asked, bridge.Request{Action: bridge.ActionPublish, Name: "w"}) {
		t.Error("the policy was not asked about the will")
	}
}

// TestM13_SharedSubscriptions: every group has its share, an absent member gets
// nothing while another is there, and $SHARE is no $share.
func TestM13_SharedSubscriptions(t *testing.T) {
	h := open(t, people{}, plain(profileMQTT))
	away := h.join(5, "away", persistent(600))
	away.subscribe(1, "$share/g/t")
	h.leave(away, "away")
	here, other, loud, pub := h.join(5, "here"), h.join(4, "other"), h.join(5, "loud"), h.join(4, "pub")
	here.subscribe(1, "$share/g/t")
	other.subscribe(1, "$share/h/t")
	loud.subscribe(1, "$SHARE/g/t")
	for i := range 30 {
		pub.send(publish(uint16(i+1), "t", "x"))
		pub.expect(packets.Puback)
		here.take()
		other.take()
	}
	loud.expectNothing()
	h.join(5, "away", persistent(600)).expectNothing()
}

// TestM14_StorageDecides: what cannot be stored is not acknowledged, and a
// subscription that was denied is not there after a restart. mochi logs the one
// and stores the other.
func TestM14_StorageDecides(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	o := plain(profileAWSEdge)
	o.HoldTimeout = time.Millisecond
	h := disk.house(t, c, o)
	h.rules.deny("iot:Subscribe no")
	d := h.join(5, "d", persistent(600))
	if got := d.subscribe(1, "yes", "no"); !bytes.Equal(got, []byte{1, 0x87}) {
		t.Errorf("SUBACK %#x", got)
	}
	disk.failing(bridge.Errorf("append", bridge.Unavailable, "no disk"))
	d.send(publish(1, "state", "x", retain))
	d.answered(0x97)
	disk.failing(nil)
	d.send(publish(2, "state", "y", retain))
	d.answered(0)
	h, _ = disk.crashed(t, h, c, o)
	if got := h.Sessions()[0].Filters; !slices.Equal(got, []string{"yes"}) {
		t.Errorf("after the restart: %q", got)
	}
}

// TestM15_QoS2IsRefused: not answered with a PUBACK as if it were QoS 1 (B75,
// B76).
func TestM15_QoS2IsRefused(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	v5, v3 := h.join(5, "five"), h.join(4, "three")
	v5.send(publish(1, "t", "x", exactlyOnce))
	v5.expectGoodbye(0x9B)
	v3.send(publish(1, "t", "x", exactlyOnce))
	v3.expectEnd()
	if got := h.walk.topics(); len(got) > 0 {
		t.Errorf("the walk took %q", got)
	}
}

// TestM16_PUBACKOnTheWire: success is reason 0x00, which MQTT 5 leaves out, and
// nobody's user properties come back.
func TestM16_PUBACKOnTheWire(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		d := open(t, people{}, plain(profileAWSEdge)).join(version, "d")
		d.send(publish(0x1234, "t", "x", func(pk *packets.Packet) {
			pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "v"}}
		}))
		_, _ = d.Write([]byte{packets.Pingreq << 4, 0})
		got := make([]byte, 6)
		_ = d.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(d.in, got); err != nil || !bytes.Equal(got, []byte{0x40, 2, 0x12, 0x34, 0xD0, 0}) {
			t.Errorf("% x, %v", got, err)
		}
	})
}

// TestM17_AnnouncedAndEnforced: CONNACK says what the broker does not take, and
// who sends it all the same is refused.
func TestM17_AnnouncedAndEnforced(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	says := dial(t, h.addr(), 5).connect("d").Properties
	if says.MaximumPacketSize != 149_504 || says.TopicAliasMaximum != 8 || !says.SubIDAvailableFlag || says.SubIDAvailable != 0 || says.ReceiveMaximum != 100 {
		t.Errorf("CONNACK %+v", says)
	}
	subscribe := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "t"}}}
	identified := subscribe
	identified.Properties.SubscriptionIdentifier = []int{1}
	many := subscribe
	many.Filters = slices.Repeat(many.Filters, 9)
	alias := publish(1, "t", "x", aliased)
	alias.Properties.TopicAlias = 9
	for name, tt := range map[string]struct {
		pk   packets.Packet
		code byte
	}{
		"subscription identifier": {identified, 0xA1},
		"nine filters":            {many, 0x97},
		"alias 9":                 {alias, 0x94},
		"a packet too large":      {publish(1, "t", strings.Repeat("x", 149_504)), 0x97},
	} {
		d := h.join(5, name)
		_, _ = d.Write(encode(t, tt.pk, 5)) // the broker may close before it has read all
		if pk := d.expect(packets.Disconnect); pk.ReasonCode != tt.code {
			t.Errorf("%s: DISCONNECT %#x, want %#x", name, pk.ReasonCode, tt.code)
		}
	}
	if got := h.join(5, "deep").subscribe(0, "1/2/3/4/5/6/7/8/9"); got[0] < 0x80 {
		t.Errorf("eight slashes: SUBACK %#x", got)
	}
}

// TestM18_SilenceEnds: a keep alive of 65,535 s is one and a half times as long,
// not half; AWS's least and most are announced (B34, B35); and a CONNECT that
// never comes is not waited for.
func TestM18_SilenceEnds(t *testing.T) {
	long := func(pk *packets.Packet) { pk.Connect.Keepalive = 65_535 }
	h := open(t, people{}, plain(profileMQTT))
	h.join(4, "d", long)
	if got := time.Duration(h.sessions.find("d").current().wire.silence.limit.Load()); got != 98_302_500*time.Millisecond {
		t.Errorf("closed after %v of silence", got)
	}
	edge := open(t, people{}, plain(profileAWSEdge))
	if got := dial(t, edge.addr(), 5).connect("d", long).Properties.ServerKeepAlive; got != 1200 {
		t.Errorf("Server Keep Alive %d", got)
	}
	o := plain(profileMQTT)
	o.Limits.ConnectTimeout = 50 * time.Millisecond
	h = open(t, people{}, o)
	for _, said := range []string{"", "\x10", "\x10\x20\x00\x04MQ"} {
		d := dial(t, h.addr(), 4)
		if _, err := d.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		d.expectEnd()
	}
	eventually(t, "no socket is left", func() bool { return h.Status().Sockets == 0 })
}

// TestM19_RefusedConnect: the code says why: not authorised is not a wrong
// password (B25).
func TestM19_RefusedConnect(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	h.rules.deny("iot:Connect d")
	for version, want := range map[byte]byte{5: 0x87, 4: 5} {
		if got := dial(t, h.addr(), version).connect("d").ReasonCode; got != want {
			t.Errorf("version %d: CONNACK %#x, want %#x", version, got, want)
		}
	}
}

// TestM20_NoMemoryForStrangers: a header that announces 256 MB, before CONNECT or
// as one, costs nothing; mochi makes room for the packet first.
func TestM20_NoMemoryForStrangers(t *testing.T) {
	h := open(t, people{}, plain(profileMQTT))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, first := range []byte{0x10, 0x30, 0x82} {
		for range 10 {
			d := dial(t, h.addr(), 5)
			if _, err := d.Write([]byte{first, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'M', 'Q', 'T', 'T'}); err != nil {
				t.Fatal(err)
			}
			d.expectEnd()
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("30 headers cost %d bytes", n)
	}
	if n := h.greetings.Load(); n != 0 {
		t.Errorf("%d bytes are still set aside for CONNECTs", n)
	}
}
