package localbroker

import (
	"bytes"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestClampsAreKeys: what a client is told, and held to, is what the listener's
// quotas say (B34-B36, B39, B40, B43, B96-B98, Q05, Q08, Q12, Q13, Q22, Q37,
// Q38).
func TestClampsAreKeys(t *testing.T) {
	o := plain(profileAWS)
	q := &o.Quotas
	q.KeepAliveMin, q.KeepAliveMax = 60*time.Second, 300*time.Second
	q.SessionExpiry = 2 * time.Hour
	q.InboundInFlight, q.TopicAliases, q.PacketSize, q.PayloadSize, q.SmallestPacketSize = 7, 3, 4096, 2048, 1024
	q.MessageExpiryMin, q.MessageExpiryMax = 5*time.Second, 50*time.Second
	h := open(t, people{}, o)
	for asked, want := range map[uint16]uint16{0: 300, 1: 60, 59: 60, 60: 60, 120: 120, 301: 300} {
		d := dial(t, h.addr(), 5)
		ack := d.connect("d", func(pk *packets.Packet) { pk.Connect.Keepalive = asked })
		if got := ack.Properties.ServerKeepAlive; got != want {
			t.Errorf("keep alive %d becomes %d, want %d", asked, got, want)
		}
	}
	d := dial(t, h.addr(), 5)
	p := d.connect("long", persistent(1_000_000)).Properties
	if p.SessionExpiryInterval != 7200 || p.ReceiveMaximum != 7 || p.TopicAliasMaximum != 3 || p.MaximumPacketSize != 4096 {
		t.Errorf("CONNACK %+v", p)
	}
	small := dial(t, h.addr(), 5)
	if code := small.connect("small", func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 1023 }).ReasonCode; code != 0x80 {
		t.Errorf("Maximum Packet Size 1023: CONNACK %#x", code)
	}

	for asked, want := range map[uint32]uint32{1: 5, 20: 20, 1000: 50} {
		d.send(publish(1, "t", "x", func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = asked }))
		d.acks(1)
		h.walk.mu.Lock()
		got := h.walk.took[len(h.walk.took)-1].Expiry
		h.walk.mu.Unlock()
		if got != want {
			t.Errorf("Message Expiry %d becomes %d, want %d", asked, got, want)
		}
	}
	d.send(publish(1, "t", string(bytes.Repeat([]byte("x"), 2049))))
	d.expectGoodbye(0x97)
	d = h.join(5, "alias")
	d.send(publish(1, "t", "x", func(pk *packets.Packet) {
		pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 4, true
	}))
	d.expectGoodbye(0x94)
}

// TestSharedFiltersAreKeys: the sizes of a shared subscription (B174, Q35, Q36).
func TestSharedFiltersAreKeys(t *testing.T) {
	o := plain(profileAWS)
	o.Quotas.ShareNameSize, o.Quotas.ShareFilterSize = 3, 5
	h := open(t, people{}, o)
	d := h.join(5, "d")
	codes := d.subscribe(1, "$share/abc/a/b/c", "$share/abcd/a", "$share/abc/a/b/cd", "a/b/cd")
	if string(codes) != "\x01\x8f\x8f\x01" {
		t.Errorf("SUBACK %x", codes)
	}
}
