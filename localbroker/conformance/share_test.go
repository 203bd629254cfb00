package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// counted takes n messages from some devices together, and says how many each
// had.
func counted(n int, devices ...*device) []int {
	out := make([]int, len(devices))
	for i, d := range devices {
		d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		for {
			pk, err := d.read()
			if err != nil {
				d.tb.Fatal(err)
			}
			if pk.FixedHeader.Type == packets.Pingresp {
				break
			}
			out[i]++
			if pk.FixedHeader.Qos > 0 {
				d.puback(pk.PacketID)
			}
		}
	}
	sum := 0
	for _, k := range out {
		sum += k
	}
	if sum != n {
		devices[0].tb.Errorf("%v messages arrived, want %d in all", out, n)
	}
	return out
}

func TestB173_OneMember(t *testing.T) {
	t.Parallel()
	g := open(t, unpaced)
	members := []*device{g.join(4, "a"), g.join(5, "b"), g.join(5, "c")}
	for _, d := range members {
		d.listen(1, "$share/group/t/#")
	}
	pub := g.join(5, "pub")
	for i := range 90 {
		pub.say(fmt.Sprint("t/", i), "x")
	}
	got := counted(90, members...)
	for i, n := range got {
		if n == 0 {
			t.Errorf("member %d of %v had none: the choice is not at random", i, got)
		}
	}
}

func TestB174_ShareName(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d := g.join(version, "d")
		d.listen(1, "$share/"+strings.Repeat("x", 128)+"/t")
	})
	refusesFilter(t, "$share//t", "$share/a+b/t", "$share/a#/t", "$share/g", "$share/g/", "$share/"+strings.Repeat("x", 129)+"/t")
}

func TestB175_QoS0Dropped(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		d, _ := g.resume(version, "d", 600)
		d.listen(1, "$share/group/t")
		g.cut(d, "d")
		pub := g.join(version, "pub")
		pub.send(publish(0, "t", "x"))
		pub.settle()
		again, _ := g.resume(version, "d", 600)
		again.expectNothing()
	})
}

func TestB180_SeveralGroups(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		a, b, c := g.join(version, "a"), g.join(version, "b"), g.join(version, "c")
		a.listen(1, "$share/first/t")
		b.listen(1, "$share/first/t")
		c.listen(1, "$share/second/t")
		pub := g.join(version, "pub")
		for range 20 {
			pub.say("t", "x")
		}
		counted(20, a, b)
		counted(20, c)
	})
}

func TestB181_CleanMemberLeaves(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		a, b, c := g.join(version, "a"), g.join(version, "b"), g.join(version, "c")
		for _, d := range []*device{a, b, c} {
			d.listen(1, "$share/group/t")
		}
		g.cut(b, "b")
		c.unsubscribe("$share/group/t")
		pub := g.join(version, "pub")
		for range 20 {
			pub.say("t", "x")
		}
		counted(20, a)
		counted(0, c)
	})
}

func TestB184_SharedNoLocal(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	pk := subscribing(1, "$share/group/t")
	pk.Filters[0].NoLocal = true
	d.send(pk)
	d.wantCodes(d.expect(packets.Suback).ReasonCodes, 1)
	d.send(publish(1, "t", "x"))
	d.expectEither(1)
}
