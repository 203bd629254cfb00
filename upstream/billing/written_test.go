package billing

import (
	"maps"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// proofs is a connection on which things are proved when a test says so.
type proofs struct {
	known, arrived bool
	then           []func(bool)
}

func (p *proofs) Then(f func(bool)) {
	if p.known {
		f(p.arrived)
		return
	}
	p.then = append(p.then, f)
}

func (p *proofs) settle(arrived bool) {
	p.known, p.arrived = true, arrived
	for _, f := range p.then {
		f(arrived)
	}
}

// What was only written is uncertain until its proof, and then it is to the last counter
// what an acknowledged message is. Without one it stays uncertain, whether the connection
// has ended or the gateway.
func TestWhatWasWrittenIsUncertainUntilItsProof(t *testing.T) {
	all := func(m *Meter, b *bridge.Batch, proof bridge.Proof) {
		retained, other := to("dt/a", 10<<10), to("dt/b", 5120-hopsSize-4)
		retained.Receiver.Retain = true
		for _, s := range []*bridge.Stored{
			to("dt/a", 100), to("dt/a", 6000), retained, other, to("$aws/rules/store/a", 100), to("$aws/things/pump/shadow/update", 1229),
		} {
			m.Delivered(b, "aws", s, bridge.Outcome{Wire: 7, Proof: proof})
		}
	}
	meter := func() (*memory, *Meter) {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:00")
		return spool, newMeter(t, spool, frankfurt(), clock)
	}
	acked, m := meter()
	var b bridge.Batch
	all(m, &b, nil)
	acked.Commit(&b, nil)
	nonzero := func(m *memory) map[string]int64 {
		out := maps.Clone(m.counters)
		maps.DeleteFunc(out, func(_ string, n int64) bool { return n == 0 })
		return out
	}
	sum := func(m *memory) (c Counts) {
		for key, n := range m.counters {
			var one Counts
			one.set(key[len(key)-1], n)
			c.add(one)
		}
		return c
	}
	want := sum(acked)
	for _, c := range []struct {
		name            string
		known, arrived  bool // while the batch is made
		settle, settled bool // afterwards
		certain         bool
	}{
		{"the proof comes", false, false, true, true, true},
		{"it came before the release", true, true, false, false, true},
		{"the connection ends", false, false, true, false, false},
		{"it had ended before the release", true, false, false, false, false},
		{"the gateway ends", false, false, false, false, false},
	} {
		spool, m := meter()
		p := &proofs{known: c.known, arrived: c.arrived}
		var b bridge.Batch
		all(m, &b, p)
		spool.Commit(&b, nil)
		if got := sum(spool); got.Units != 0 || got.Uncertain != want.Units || got.Messages != want.Messages || got.Wire != want.Wire {
			t.Errorf("%s: %+v before, want all uncertain", c.name, got)
		}
		if c.settle {
			p.settle(c.settled)
		}
		m.countMinutes()
		if c.certain {
			if got := nonzero(spool); !maps.Equal(got, nonzero(acked)) {
				t.Errorf("%s: %v\nwant %v", c.name, got, nonzero(acked))
			}
		} else if got := sum(spool); got.Units != 0 || got.Uncertain != want.Units || got.Basic != 0 {
			t.Errorf("%s: %+v, want all uncertain", c.name, got)
		}
		if p.known && len(m.unproved) != 0 {
			t.Errorf("%s: %d proofs are awaited still", c.name, len(m.unproved))
		}
	}
}
