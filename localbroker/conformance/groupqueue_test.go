package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker"
)

const groupFilter = "$share/group/t"

// member is an absent persistent member of a share group.
func (g *gate) member(version byte, id string) {
	g.tb.Helper()
	d, _ := g.resume(version, id, 3600)
	d.listen(1, groupFilter)
	g.cut(d, id)
}

func unqueued(s *setup) { s.broker.Broker.SharedQueue = "off" }

func TestB176_CleanMemberFails(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		first, second := g.join(version, "first"), g.join(version, "second")
		first.listen(1, groupFilter)
		second.listen(1, groupFilter)
		pub := g.join(version, "pub")
		const n = 10
		for i := range n {
			pub.say("t", fmt.Sprint(i))
		}
		_ = first.Close() // with what it has not acknowledged
		g.absent("first")
		got := map[string]bool{}
		for len(got) < n {
			got[string(second.take().Payload)] = true
		}
		second.goodbye()
		g.absent("second")
		pub.say("t", "to nobody")
		second = g.join(version, "second")
		second.listen(1, groupFilter)
		second.expectNothing()
	})
}

func TestB177_AbsentMemberWithoutQueue(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		g.member(version, "away")
		there := g.join(version, "there")
		there.listen(1, groupFilter)
		pub := g.join(version, "pub")
		for i := range 5 {
			pub.say("t", fmt.Sprint(i))
			there.expectMessage("t", fmt.Sprint(i))
		}
		there.goodbye()
		g.absent("there")
		pub.say("t", "to nobody")
		again, present := g.resume(version, "away", 3600)
		if !present {
			t.Error("the session is gone")
		}
		again.expectNothing()
	}, unqueued)
}

// drawn takes a message of the group's queue, and lets the time of the next one
// come (Q26: 20 a second).
func (g *gate) drawn(d *device, payload string) {
	g.tb.Helper()
	pk := d.expect(packets.Publish)
	if string(pk.Payload) != payload {
		g.tb.Fatalf("got %q, want %q", pk.Payload, payload)
	}
	g.clock.advance(51 * time.Millisecond)
	d.puback(pk.PacketID)
}

func TestB178_GroupQueue(t *testing.T) {
	t.Parallel()
	bothStill(t, func(t *testing.T, g *gate, version byte) {
		g.member(version, "away")
		pub := g.join(version, "pub")
		const n = 30
		for i := range n {
			pub.say("t", fmt.Sprint(i))
		}
		d := g.join(version, "new") // one that joins has it as well as one that resumes
		d.listen(1, groupFilter)
		for i := range n {
			g.drawn(d, fmt.Sprint(i))
		}
		d.expectNothing()
		if g.enforced("Q26") == 0 {
			t.Error("the pace has not bitten")
		}
	})
	bothStill(t, func(_ *testing.T, g *gate, version byte) { // Q24: new ones are dropped
		g.member(version, "away")
		pub := g.join(version, "pub")
		for i := range 3 {
			pub.say("t", fmt.Sprint(i))
		}
		d, _ := g.resume(version, "away", 3600)
		for i := range 2 {
			g.drawn(d, fmt.Sprint(i))
		}
		d.expectNothing()
	}, account(func(q *localbroker.AccountQuotas) { q.GroupQueueMessages = 2 }))
	bothStill(t, func(_ *testing.T, g *gate, version byte) { // kept for the session expiry, or the message's
		g.member(version, "away")
		pub := g.join(5, "pub", keepAlive(1200))
		pub.say("t", "brief", messageExpiry(10))
		pub.say("t", "lasting")
		g.clock.advance(20 * time.Second)
		d, _ := g.resume(version, "away", 3600)
		d.expectMessage("t", "lasting")
		d.expectNothing()
	})
}

func TestB179_MembersAtTheirLimit(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.member(version, "away") // so that the group has a queue
		d := g.join(version, "d")
		d.listen(1, groupFilter)
		pub := g.join(version, "pub")
		const n = 10
		for i := range n {
			pub.say("t", fmt.Sprint(i))
		}
		for i := range n {
			d.expectMessage("t", fmt.Sprint(i))
		}
	}, func(s *setup) {
		s.lan().Quotas.OutboundInFlight = 3 // it is at its limit with three
	})
}

func TestB182_AbsentMember(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		g.member(version, "away")
		pub := g.join(version, "pub")
		pub.say("t", "stored")
		d, _ := g.resume(version, "away", 3600)
		d.expectMessage("t", "stored") // it is a member still
		d.unsubscribe(groupFilter)
		g.cut(d, "away")
		pub.say("t", "to nobody")
		d, _ = g.resume(version, "away", 3600)
		d.expectNothing()
		d.listen(1, groupFilter)
		g.cut(d, "away")
		pub.say("t", "stored")
		g.clock.advance(time.Hour + time.Second) // and pub is cut off
		if pk := g.dial(version).connect("away", persistent(3600)); pk.SessionPresent {
			t.Error("the session is still there")
		}
		late := g.join(version, "late")
		late.listen(1, groupFilter)
		late.expectNothing() // the queue went with its last member
	})
}
