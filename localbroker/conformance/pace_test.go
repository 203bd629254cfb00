package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker"
)

// account changes the account's quotas.
func account(turn func(*localbroker.AccountQuotas)) func(*setup) {
	return func(s *setup) { turn(&s.broker.Broker.Quotas) }
}

// bothStill is both with clocks that are stopped: no bucket fills up because the
// machine is slow.
func bothStill(t *testing.T, test func(t *testing.T, g *gate, version byte), changes ...func(*setup)) {
	t.Helper()
	both(t, func(t *testing.T, g *gate, version byte) {
		g.clock.stop()
		test(t, g, version)
	}, changes...)
}

// enforced is how often a quota of pace has bitten.
func (g *gate) enforced(quota string) (n int64) {
	for _, q := range g.Status().Quotas {
		if q.Quota == quota {
			n += q.Enforced
		}
	}
	return n
}

// tooFast publishes n times at once and counts what becomes of it: PUBACKs with
// 0x00 and with 0x97, until there are so many answers.
func (d *device) tooFast(n, answers int) (accepted, throttled int) {
	d.tb.Helper()
	d.send(flood(n)...)
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	for {
		pk, err := d.read()
		switch {
		case err != nil:
			d.tb.Fatal(err)
		case pk.FixedHeader.Type == packets.Pingresp && accepted+throttled >= answers:
			return accepted, throttled
		case pk.FixedHeader.Type == packets.Pingresp: // overtook the acknowledgements
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		case pk.ReasonCode == 0x97:
			throttled++
		default:
			accepted++
		}
	}
}

func TestB90_PublishRate(t *testing.T) {
	t.Parallel()
	bothStill(t, func(t *testing.T, g *gate, version byte) {
		answers := 100
		if version == 5 {
			answers = 300 // B91
		}
		accepted, _ := g.join(version, "d").tooFast(300, answers)
		eventually(t, "200 are dropped", func() bool { return g.dropped("publish-rate") == 200 })
		if accepted != 100 || g.enforced("Q06") != 200 {
			t.Errorf("%d are accepted, the quota has bitten %d times", accepted, g.enforced("Q06"))
		}
	})
}

func TestB91_ThrottledPuback(t *testing.T) {
	t.Parallel()
	g := open(t)
	g.clock.stop()
	if accepted, throttled := g.join(5, "d").tooFast(300, 300); accepted != 100 || throttled != 200 {
		t.Errorf("%d are accepted, %d answered with 0x97", accepted, throttled)
	}
}

func TestB92_ByteRate(t *testing.T) {
	t.Parallel()
	bothStill(t, func(t *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		part := strings.Repeat("x", 110<<10)
		for range 5 { // 550 KB
			d.say("t", part)
		}
		if g.enforced("Q07") == 0 {
			t.Error("nothing was delayed")
		}
	})
}

func TestB139_SubscribeRate(t *testing.T) {
	t.Parallel()
	g := open(t, account(func(q *localbroker.AccountQuotas) { q.SubscribesPerSecond = 5 }))
	g.clock.stop()
	d := g.join(5, "d")
	d.wantCodes(d.subscribe(1, filters(8)...), 1, 1, 1, 1, 1, 0x97, 0x97, 0x97)
}

func TestB145_UnsubscribeFails(t *testing.T) {
	t.Parallel()
	g := open(t, account(func(q *localbroker.AccountQuotas) { q.ShareGroupChanges = 2 }))
	g.clock.stop()
	d := g.join(5, "d")
	d.listen(1, "$share/g/t")
	d.wantCodes(d.unsubscribe("$share/g/t", "$share/g/t", "other"), 0, 0x80, 0)
}

func TestB155_RetainedRate(t *testing.T) {
	t.Parallel()
	bothStill(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.say("t", "first", retain)
		if version == 5 {
			d.send(publish(2, "t", "second", retain))
			d.expectAck(2, 0x97)
		} else {
			d.send(publish(2, "t", "second", retain))
			d.expectNothing()
		}
		d.say("t", "live") // without RETAIN it does not count
		g.wantRetained(version, "t", "first")
		g.keep(d, "t", "third")
		g.wantRetained(version, "t", "third")
	})
	bothStill(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.say("a", "x", retain)
		d.say("b", "x", retain)
		d.send(publish(2, "c", "x", retain))
		if version == 5 {
			d.expectAck(2, 0x97)
		}
		d.expectNothing()
		g.wantRetained(version, "c")
	}, account(func(q *localbroker.AccountQuotas) { q.RetainedPerSecond = 2 }))
}

func TestB183_GroupQuotas(t *testing.T) {
	t.Parallel()
	over := func(version byte) byte {
		if version < 5 {
			return 0x80
		}
		return 0x97
	}
	bothStill(t, func(_ *testing.T, g *gate, version byte) { // Q33
		for i := range 100 {
			g.join(version, fmt.Sprint("d", i)).listen(1, "$share/g/t")
			if i%50 == 49 {
				g.clock.advance(2e9) // for Q34
			}
		}
		late := g.join(version, "late")
		late.wantCodes(late.subscribe(1, "$share/g/t", "$share/h/t"), over(version), 1)
	})
	bothStill(t, func(_ *testing.T, g *gate, version byte) { // Q32
		d := g.join(version, "d")
		var codes []byte
		for i := range 101 {
			if i%50 == 0 {
				d = g.join(version, fmt.Sprint("d", i))
			}
			codes = d.subscribe(1, fmt.Sprintf("$share/g%d/t", i))
		}
		d.wantCodes(codes, over(version))
		d.listen(1, "$share/g0/t", "t")
	})
	bothStill(t, func(_ *testing.T, g *gate, version byte) { // Q34
		d := g.join(version, "d")
		d.wantCodes(d.subscribe(1, slices.Repeat([]string{"$share/g/t"}, 4)...), 1, 1, 1, over(version))
	}, account(func(q *localbroker.AccountQuotas) { q.ShareGroupChanges = 3 }))
}
