package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker"
)

// resume connects with Clean Start or cleanSession 0 and says whether there was
// a session.
func (g *gate) resume(version byte, id string, seconds uint32) (*device, bool) {
	g.tb.Helper()
	d := g.dial(version)
	ack := d.connect(id, persistent(seconds))
	if ack.ReasonCode != 0 {
		g.tb.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return d, ack.SessionPresent
}

// begun is an absent device's persistent session with a subscription to t.
func (g *gate) begun(version byte, id string, seconds uint32) {
	g.tb.Helper()
	d, present := g.resume(version, id, seconds)
	if present {
		g.tb.Fatal("there is a session already")
	}
	d.listen(1, "t")
	g.cut(d, id)
}

// wantResumed expects that a session is there, with its subscription.
func (g *gate) wantResumed(version byte, id string, seconds uint32) *device {
	g.tb.Helper()
	d, present := g.resume(version, id, seconds)
	if !present {
		g.tb.Fatal("the session is gone")
	}
	g.join(5, "teller").say("t", "are you there")
	d.expectMessage("t", "are you there")
	return d
}

// wantFresh expects that no session is there, and no subscription.
func (g *gate) wantFresh(version byte, id string, seconds uint32) {
	g.tb.Helper()
	d, present := g.resume(version, id, seconds)
	if present {
		g.tb.Fatal("there is a session")
	}
	g.join(5, "teller").say("t", "are you there")
	d.expectNothing()
}

func TestB50_NewPersistentSession(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.begun(4, "d", 0)
	g.wantResumed(4, "d", 0)
}

func TestB51_ResumedSession(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.begun(4, "d", 0)
	pub := g.join(4, "pub")
	for i := range 3 {
		pub.say("t", fmt.Sprint(i))
	}
	d, present := g.resume(4, "d", 0)
	if !present {
		t.Error("Session Present is 0")
	}
	for i := range 3 {
		d.expectMessage("t", fmt.Sprint(i))
	}
	pub.say("t", "live")
	d.expectMessage("t", "live")
}

func TestB52_CleanSession(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.begun(4, "d", 0)
	g.join(4, "pub").say("t", "stored")
	d := g.dial(4)
	if ack := d.connect("d"); ack.SessionPresent {
		t.Error("Session Present is 1")
	}
	d.expectNothing()
	d.listen(1, "t")
	g.cut(d, "d")
	g.wantFresh(4, "d", 0)
}

func TestB53_CleanStart(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.begun(5, "d", 600)
	g.join(5, "pub").say("t", "stored")
	d := g.dial(5)
	if ack := d.connect("d", expiry(600)); ack.SessionPresent {
		t.Error("Session Present is 1")
	}
	g.join(5, "teller").say("t", "live")
	d.expectNothing()
	d.listen(1, "t")
	g.cut(d, "d")
	g.wantResumed(5, "d", 600) // the new one outlives its connection
}

func TestB54_Resumed5(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.begun(5, "d", 600)
	g.join(5, "pub").say("t", "stored")
	d, present := g.resume(5, "d", 600)
	if !present {
		t.Error("Session Present is 0")
	}
	d.expectMessage("t", "stored")
}

func TestB55_NothingToResume(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.wantFresh(5, "d", 600)
}

func TestB56_CleanStartWithoutExpiry(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.begun(5, "d", 600)
	d := g.dial(5)
	if ack := d.connect("d"); ack.SessionPresent {
		t.Error("Session Present is 1")
	}
	d.listen(1, "t")
	g.cut(d, "d")
	g.wantFresh(5, "d", 600)
}

func TestB57_PersistentInBothVersions(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.begun(version, "d", 600)
		pub := g.join(version, "pub")
		pub.say("t", "stored")
		d, _ := g.resume(version, "d", 600)
		d.expectMessage("t", "stored")
		pub.say("t", "live")
		d.expectMessage("t", "live")
	})
}

func TestB58_OtherVersion(t *testing.T) {
	t.Parallel()
	for from, to := range map[byte]byte{4: 5, 5: 4} {
		g := open(t)
		g.begun(from, "d", 600)
		g.join(4, "pub").say("t", "stored")
		g.wantFresh(to, "d", 600)
		g.absentAfterCut("d")
		g.wantFresh(from, "d", 600)
	}
}

// absentAfterCut ends a client id's connection.
func (g *gate) absentAfterCut(id string) {
	g.tb.Helper()
	g.Kick(id)
	g.absent(id)
}

func TestB59_SessionLasts(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.begun(4, "early", 0)
	g.begun(4, "late", 0)
	g.clock.advance(time.Hour - time.Minute)
	early := g.wantResumed(4, "early", 0)
	early.goodbye()
	g.absent("early")
	g.clock.advance(2 * time.Minute)
	g.wantFresh(4, "late", 0)
	g.wantResumed(4, "early", 0) // its time began anew
}

func TestB60_ExpiryOfNone(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	d.goodbye(expiry(60))
	d.expectGoodbye(0x82)
}

func TestB61_ExpiryToZero(t *testing.T) {
	t.Parallel()
	g := open(t)
	d, _ := g.resume(5, "d", 600)
	d.listen(1, "t")
	d.goodbye(expiry(0))
	d.expectEnd()
	g.absent("d")
	g.wantFresh(5, "d", 600)
}

func TestB62_ExpiryChanged(t *testing.T) {
	t.Parallel()
	for asked, want := range map[uint32]time.Duration{60: time.Minute, 1800: 30 * time.Minute, 700_000: time.Hour} {
		g := open(t)
		for _, id := range []string{"within", "beyond"} {
			d, _ := g.resume(5, id, 600)
			d.listen(1, "t")
			d.goodbye(expiry(asked))
			d.expectEnd()
			g.absent(id)
		}
		g.clock.advance(want - 30*time.Second)
		g.wantResumed(5, "within", 600)
		g.clock.advance(40 * time.Second)
		g.wantFresh(5, "beyond", 600)
	}
}

func TestB63_StoredForAbsent(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.begun(version, "d", 600)
		pub := g.join(version, "pub")
		for i := range 5 {
			pub.say("t", fmt.Sprint(i))
		}
		d, _ := g.resume(version, "d", 600)
		for i := range 5 {
			if pk := d.expectMessage("t", fmt.Sprint(i)); pk.FixedHeader.Qos != 1 {
				d.tb.Errorf("QoS %d", pk.FixedHeader.Qos)
			}
		}
	})
	bothStill(t, func(t *testing.T, g *gate, version byte) { // Q23
		g.begun(version, "d", 600)
		pub := g.join(version, "pub")
		for i := range 3 {
			pub.say("t", fmt.Sprint(i))
		}
		d, _ := g.resume(version, "d", 600)
		d.expectMessage("t", "0")
		g.clock.advance(time.Second) // B65
		d.expectMessage("t", "1")
		d.expectNothing()
		if g.enforced("Q23") != 1 {
			t.Errorf("the quota has bitten %d times", g.enforced("Q23"))
		}
	}, account(func(q *localbroker.AccountQuotas) { q.QueuedPerSecond = 2 }))
}

func TestB64_NotStored(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d, _ := g.resume(version, "d", 600)
		d.listen(1, "t")
		d.listen(0, "zero")
		g.cut(d, "d")
		pub := g.join(version, "pub")
		pub.send(publish(0, "t", "x"))
		pub.say("zero", "x")
		again, present := g.resume(version, "d", 600)
		again.expectNothing()
		if !present {
			d.tb.Error("the session is gone")
		}
	})
}

func TestB65_ReplayRate(t *testing.T) {
	t.Parallel()
	bothStill(t, func(t *testing.T, g *gate, version byte) {
		const stored = 15
		g.begun(version, "d", 600)
		pub := g.join(version, "pub")
		for i := range stored {
			pub.say("t", fmt.Sprint(i))
		}
		d, _ := g.resume(version, "d", 600)
		d.expectMessage("t", "0")
		pub.say("t", "live")
		live := 0
		for next := 1; next < stored; {
			switch pk := d.take(); string(pk.Payload) {
			case fmt.Sprint(next):
				next++
			case "live":
				live = next
			default:
				t.Fatalf("got %q, want %d or the live message", pk.Payload, next)
			}
			if live > 0 {
				g.clock.advance(time.Second) // the next stored one waits for that
			}
		}
		if live == 0 || g.enforced("Q25") == 0 {
			t.Errorf("the live message came after %d of %d stored ones; the pace has bitten %d times", live, stored, g.enforced("Q25"))
		}
	})
}

func TestB66_UnacknowledgedKept(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d, _ := g.resume(version, "d", 600)
		d.listen(1, "t")
		pub := g.join(version, "pub")
		for i := range 3 {
			pub.say("t", fmt.Sprint(i))
		}
		d.expect(packets.Publish)
		second := d.expect(packets.Publish)
		d.expect(packets.Publish)
		d.puback(second.PacketID)
		d.expectNothing() // the acknowledgement has been read
		g.cut(d, "d")
		again, _ := g.resume(version, "d", 600)
		again.expectMessage("t", "0")
		again.expectMessage("t", "2")
		again.expectNothing()
	})
}

func TestB67_ExpiredWithMessages(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.begun(version, "d", 3600)
		g.join(version, "pub").say("t", "stored")
		g.clock.advance(time.Hour + time.Second)
		d, present := g.resume(version, "d", 3600)
		d.expectNothing()
		if present || g.Status().QueuedBytes != 0 {
			d.tb.Errorf("session present %v, %d bytes are queued", present, g.Status().QueuedBytes)
		}
	})
}

func TestB68_AfterExpiry(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.begun(version, "d", 3600)
		g.clock.advance(time.Hour + time.Second)
		g.wantFresh(version, "d", 3600)
	})
}

// ungranted is the switch by which an Allow grants no connect attributes.
func ungranted(s *setup) { s.policy.ConnectAttributesDefault = "none" }

func TestB69_PersistentDenied(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x87, 5, "transient", persistent(600))
		g.join(version, "transient")
		g.join(version, "d", persistent(600))
	})
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x87, 5, "d", persistent(600))
		g.join(version, "d")
	}, ungranted)
}

func TestB70_WillDenied(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x87, 5, "willless", leaving("last", "word"))
		g.join(version, "willless")
		g.join(version, "d", leaving("last", "word"))
	})
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.dial(version).wantRefused(0x87, 5, "d", leaving("last", "word"))
		g.join(version, "d")
	}, ungranted)
}
