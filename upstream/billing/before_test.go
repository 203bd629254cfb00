package billing

import (
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// What a kill left on the way is counted as it would have been in the run that sent it,
// however it is reached since. Where that run has not said how, it is not too few.
func TestWhatAKillLeftIsCountedAsItWasSent(t *testing.T) {
	plain := DefaultOptions()
	with := func(change func(*Options)) Options {
		o := plain
		change(&o)
		return o
	}
	old := with(func(o *Options) { o.MQTT3 = true })
	https := with(func(o *Options) { o.HTTP = true })
	decimal := with(func(o *Options) { o.Unit = decimalUnit })
	small := with(func(o *Options) { o.HTTP, o.Unit = true, 1024 })
	free := with(func(o *Options) { o.Defender = DefenderFree })
	// With its property it takes two units, without it one: of 5,120 bytes it has 5,118.
	properties := func(topic string, retain bool) *bridge.Stored {
		s := stored("pump", topic, 5_118-len(topic))
		s.Record.ContentType, s.Receiver.Retain = "application/json", retain
		return s
	}
	edge, kept, report := properties("dt/a", false), properties("dt/a", true), properties("$aws/things/pump/defender/metrics/json", false)
	for _, c := range []struct {
		name     string
		was, now Options
		said     bool
		of       *bridge.Stored
		want     int64
	}{
		{"nothing has changed", plain, plain, true, edge, 2},
		{"nothing has changed, over 3.1.1", old, old, true, edge, 1},
		{"nothing has changed, over HTTPS", https, https, true, edge, 3},
		{"then with properties", plain, old, true, edge, 2},
		{"then with properties, retained", plain, old, true, kept, 4},
		{"then without", old, plain, true, edge, 1},
		{"then with an answer", https, plain, true, edge, 3},
		{"then without an answer", old, https, true, edge, 1},
		{"then by smaller units", small, plain, true, edge, 7},
		{"then by the other reading", with(func(o *Options) { o.MQTT3, o.Unit = true, decimalUnit }), old, true, edge, 2},
		{"then it was metered", plain, free, true, report, 2},
		{"then it was free", free, plain, true, report, 0},
		{"not said, as now", plain, plain, false, edge, 2},
		{"not said, 3.1.1 now", plain, old, false, edge, 2},
		{"not said, HTTPS now", https, https, false, edge, 3},
		{"not said, 5,000 bytes now", decimal, decimal, false, edge, 2},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:10")
		before := started(t, spool, clock, map[string]Options{"aws": c.was}).Place("aws")
		if !c.said {
			before.How = ""
		}
		var b bridge.Batch
		m := started(t, spool, clock, map[string]Options{"aws": c.now})
		m.Uncertain(&b, "aws", c.of, bridge.Outcome{Before: &before})
		got := int64(0)
		for _, a := range b.Adds {
			got += a.Delta
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	for _, how := range []string{"unit=0", "unit=x", "unit=", "5.1", "https,5.1"} { // another version's
		if _, ok := howWas(how); ok {
			t.Errorf("%q is understood", how)
		}
	}
}
