package bridge_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

func hangsUpWarning(h *bridge.Health) string {
	for _, w := range h.Warnings() {
		if w.Code == "hangs-up-cloud" {
			return w.Text
		}
	}
	return ""
}

// isPoison is a message that the cloud of these tests hangs up on.
func isPoison(d *bridge.Delivery) bool { return strings.HasPrefix(string(d.Payload), "poison") }

// Several messages of one device, one after the other, that make the receiver hang up
// become dead letters each in turn: that it takes another device's shows that it is
// they. What follows of the device goes on, in order.
func TestPoisonsInARowBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	for _, poisons := range []int{2, 3} {
		t.Run(fmt.Sprint(poisons), inNoTime(func(t *testing.T) {
			s, h := openSpool(t), new(bridge.Health)
			put(t, s, normal, "buggy", "before")
			for i := range poisons {
				put(t, s, normal, "buggy", fmt.Sprint("poison", i))
			}
			put(t, s, normal, "buggy", "after")
			put(t, s, alarms, "other", "alarm")
			c := &cloud{window: 10, hangUp: isPoison}
			dead := func() uint64 { return uint64(s.Depth(bridge.DeadQueue(normal)).Records) }
			forward(t, s, c, new(noMeter), h, func() bool {
				if empty(s, normal)() && dead() == uint64(poisons) {
					return empty(s, alarms)()
				}
				if empty(s, alarms)() { // the other device goes on publishing
					put(t, s, alarms, "other", "alarm")
				}
				return false
			})
			var buggy []string
			for _, p := range c.payloads() {
				if p != "alarm" {
					buggy = append(buggy, p)
				}
			}
			if want := []string{"before", "after"}; !slices.Equal(buggy, want) {
				t.Errorf("of the device came %q", buggy)
			}
			if w := hangsUpWarning(h); w != "" {
				t.Errorf("warned still: %s", w)
			}
		}))
	}
}

// With several connections the other devices' go on, on their own; that is a sign as
// well that the receiver takes.
func TestPoisonsInARowOnAPool(t *testing.T) { inNoTime(testPoisonsInARowOnAPool)(t) }

func testPoisonsInARowOnAPool(t *testing.T) {
	s := openSpool(t)
	for i := range 3 {
		put(t, s, normal, "buggy", fmt.Sprint("poison", i))
	}
	put(t, s, normal, "buggy", "after")
	c := &cloud{window: 10, hangUp: isPoison}
	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c, c, c})
	p := &supply{t: t, s: s, c: c} // other devices, on any of the connections
	await(t, func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Depth(normal)) }, func() bool {
		if arrived := c.payloads(); slices.Contains(arrived, "after") {
			return empty(s, normal)()
		}
		p.next(normal)
		return false
	})
	end()
	if dead := s.Depth(bridge.DeadQueue(normal)).Records; dead != 3 {
		t.Errorf("%d dead letters", dead)
	}
	if got := len(c.payloads()); got != p.n+1 {
		t.Errorf("%d arrived of %d", got, p.n+1)
	}
}

// A receiver that hangs up on everything makes no dead letters, when there are several
// devices to try; when it is mended all arrives.
func TestHangingUpOnEverythingGivesUpNothing(t *testing.T) {
	inNoTime(testHangingUpOnEverythingGivesUpNothing)(t)
}

func testHangingUpOnEverythingGivesUpNothing(t *testing.T) {
	s, h := openSpool(t), new(bridge.Health)
	const devices, each = 5, 4
	for i := range devices * each {
		put(t, s, normal, fmt.Sprint("d", i%devices), fmt.Sprint(i))
	}
	var hangs atomic.Int64
	var mended atomic.Bool
	c := &cloud{window: 10, hangUp: func(*bridge.Delivery) bool { hangs.Add(1); return !mended.Load() }}
	dead := func() int { return int(s.Depth(bridge.DeadQueue(normal)).Records) }
	forward(t, s, c, new(noMeter), h, func() bool {
		if mended.Load() {
			return empty(s, normal)()
		}
		if hangs.Load() > 60 { // others were tried, and some again
			if n := dead(); n != 0 || hangsUpWarning(h) == "" {
				t.Errorf("%d dead letters, warned of %q", n, hangsUpWarning(h))
			}
			mended.Store(true)
		}
		return false
	})
	if got := len(c.payloads()); got != devices*each || dead() != 0 {
		t.Errorf("%d arrived, %d dead letters", got, dead())
	}
	if w := hangsUpWarning(h); w != "" {
		t.Errorf("warned still: %s", w)
	}
}

// With no other device to try, a second poison waits. The warning says which message
// it is and how to drop it; dropped, it stops nothing, and is told no more.
func TestAPoisonAloneIsNamedAndCanBeDropped(t *testing.T) {
	t.Parallel()
	for _, after := range [][]string{nil, {"after"}} {
		t.Run(fmt.Sprint(after), inNoTime(func(t *testing.T) { aPoisonAloneIsNamedAndCanBeDropped(t, after) }))
	}
}

func aPoisonAloneIsNamedAndCanBeDropped(t *testing.T, after []string) {
	s, h := openSpool(t), new(bridge.Health)
	for _, p := range append([]string{"poison0", "poison1"}, after...) {
		put(t, s, normal, "de\nvice", p)
	}
	second := stored(t, s, normal, 2)[1]
	dropped := false
	c := &cloud{window: 10, hangUp: isPoison}
	forward(t, s, c, new(noMeter), h, func() bool {
		drop := fmt.Sprintf("ebbgate spool drop %s --from %d --limit 1 --yes", normal, second.Place)
		if w := hangsUpWarning(h); !dropped && strings.Contains(w, drop) {
			dropped = true
			for _, want := range []string{`"de\nvice"`, `"dt/de\nvice"`, second.ID.String()} {
				if !strings.Contains(w, want) {
					t.Errorf("%q is not in %q", want, w)
				}
			}
			var b bridge.Batch
			b.ReleaseAs(second, bridge.Dropped)
			commit(t, s, &b)
		}
		return empty(s, normal)() && hangsUpWarning(h) == ""
	})
	if got := c.payloads(); !slices.Equal(got, after) {
		t.Errorf("%q arrived", got)
	}
	if n := s.Depth(bridge.DeadQueue(normal)).Records; n != 1 {
		t.Errorf("%d dead letters", n)
	}
}
