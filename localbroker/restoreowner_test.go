package localbroker

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestRestoredOwner: after a restart the session of an absent device has the
// grants of who its owner is today. Whose certificate is no longer registered,
// or whose listener asks for another proof, gets nothing into its queue.
func TestRestoredOwner(t *testing.T) {
	ca := peers.CA(t)
	cert := ca.Client("dev", peers.Validity{})
	byFingerprint, byChain := secure(ca, profileAWSEdge, clientFingerprint), secure(ca, profileAWSEdge, clientChain)
	for name, tt := range map[string]struct {
		first, then ListenerOptions
		known       bool
		stored      bool
	}{
		"registered":             {byFingerprint, byFingerprint, true, true},
		"no longer registered":   {byFingerprint, byFingerprint, false, false},
		"by its chain":           {byChain, byChain, false, true},
		"another proof":          {byFingerprint, byChain, true, false},
		"anonymous is no proof":  {byFingerprint, plain(profileAWSEdge), true, false},
		"a certificate is asked": {plain(profileAWSEdge), byFingerprint, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{}
			disk := newDisk(c)
			start := func(on Shelf, known bool, l ListenerOptions) *house {
				return openWith(t, people{known: map[string]bool{"dev": known}}, func(d *Deps) { d.Shelf, d.Now = on, c.now }, l)
			}
			h := start(disk, true, tt.first)
			d := dial(t, h.addr(), 5)
			if tt.first.Type == typeTLS {
				d = h.tlsDial(ca, cert, 5)
			}
			d.connect("d", persistent(600))
			d.subscribe(1, "t")
			h.leave(d, "d")
			disk.crash()
			h.stop()
			disk = disk.back()
			h = start(disk, tt.known, tt.then)
			l := h.downlink()
			l.send("t", 1)
			got := <-l.outcomes
			if stored := h.sessions.find("d").info().Waiting == 1; stored != tt.stored {
				t.Errorf("stored %v, result %v", stored, got)
			}
			if h.Enforce(); (h.sessions.find("d").info().Filters == nil) == tt.stored {
				t.Errorf("subscriptions %v", h.sessions.find("d").info().Filters)
			}
		})
	}
}

// TestExpiryOutlivesTheGateway: Message Expiry counts down while the gateway is
// down, in queues and for retained messages (B97, B117, B118, B156).
func TestExpiryOutlivesTheGateway(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	d := h.join(5, "d", persistent(600))
	d.subscribe(1, "t/+")
	h.leave(d, "d")
	pub := h.join(5, "pub")
	for topic, seconds := range map[string]uint32{"t/short": 60, "t/long": 600} {
		pub.send(publish(1, topic, topic, retain, func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = seconds }))
		pub.answered(0)
	}
	disk.crash()
	h.stop()
	c.advance(100 * time.Second)
	h = disk.back().house(t, c, plain(profileAWSEdge))
	if n := h.Status().Retained; n != 1 {
		t.Errorf("%d retained", n)
	}
	d = h.join(5, "d", persistent(600))
	left := func(pk packets.Packet) {
		t.Helper()
		if e := pk.Properties.MessageExpiryInterval; pk.TopicName != "t/long" || e < 490 || e > 500 {
			t.Errorf("%s with %d s left", pk.TopicName, e)
		}
	}
	left(d.take())
	d.expectNothing()
	d.subscribe(1, "t/long")
	left(d.take())
	if h.dropped("expired") != 1 {
		t.Error("not counted")
	}
}

// TestRestoredFilters: a filter that its listener does not take any more is gone,
// which is counted; the others stay.
func TestRestoredFilters(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileMQTT))
	d := h.join(5, "d", persistent(600))
	d.subscribe(1, "a/b", "1/2/3/4/5/6/7/8/9/10")
	h.leave(d, "d")
	next, _ := disk.crashed(t, h, c, plain(profileAWSEdge))
	if got := next.sessions.find("d").info().Filters; len(got) != 1 || got[0] != "a/b" {
		t.Errorf("filters %q", got)
	}
	if n := next.dropped("subscription-not-restored"); n != 1 {
		t.Errorf("%d are counted", n)
	}
}
