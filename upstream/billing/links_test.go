package billing

import (
	"context"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// M04: a CONNECT that was cut before its CONNACK may have been counted by the
// cloud; one that is answered was, and once.
func TestConnectsWithoutAnAnswerAreUncertain(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:59")
	m := newMeter(t, spool, frankfurt(), clock)
	check := func(what string, units, uncertain int64) {
		t.Helper()
		total := spool.bill(t, frankfurt(), clock.Wall).Totals[0]
		if total.Units != units || total.Uncertain != uncertain {
			t.Errorf("%s: %d units and %d uncertain, want %d and %d", what, total.Units, total.Uncertain, units, uncertain)
		}
	}
	m.Connecting("aws", "plant7", Connection{})
	check("on its way", 0, 1)
	m.Connecting("aws", "plant7", Connection{}) // the first was cut
	m.Connecting("aws", "plant7-down", Connection{})
	check("three of two", 0, 3)
	clock.set("2026-11-20 14:00")
	m.Opened("aws", "plant7", Connection{}).Closed()
	check("one answered", 1, 2)
	m.Opened("aws", "plant7-down", Connection{})
	check("both answered", 2, 1)
	m = newMeter(t, spool, frankfurt(), clock) // as after a kill
	m.Connecting("aws", "plant7", Connection{})
	m.Opened("aws", "plant7", Connection{})
	check("after a restart", 3, 1)
	bill, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Detail(clock.Wall.Add(-time.Hour), clock.Wall.Add(time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range bill.Lines {
		if n.Uncertain < 0 {
			t.Errorf("%v: %d uncertain: an answer after the full hour was taken off another hour", n.Start, n.Uncertain)
		}
	}
}

// M05: a SUBSCRIBE is uncertain until its SUBACK.
func TestSubscribesWithoutAnAnswerAreUncertain(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:59")
	m := newMeter(t, spool, frankfurt(), clock)
	c := m.Opened("aws", "plant7-down", Connection{})
	c.Subscribing([]string{"cmd/#"}, nil) // cut
	answered := c.Subscribing([]string{"cmd/#", string(make([]byte, 6000))}, nil)
	total := func() Counts { return spool.bill(t, frankfurt(), clock.Wall).Totals[0].Counts }
	if got := total(); got.Units != 1 || got.Uncertain != 3 || got.Messages != 1 {
		t.Errorf("before the SUBACK: %+v", got)
	}
	clock.set("2026-11-20 14:00")
	answered()
	if got := total(); got.Units != 3 || got.Uncertain != 1 || got.Messages != 2 {
		t.Errorf("after it: %+v", got)
	}
}

// What the disk does not take is in the bill later, in the hour in which it was.
func TestConnectsThatCannotBeWrittenComeLater(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	spool.fails = bridge.Errorf("commit", bridge.Full, "full")
	m.Connecting("aws", "plant7", Connection{})
	c := m.Opened("aws", "plant7", Connection{})
	c.Subscribing([]string{"cmd/#"}, nil)()
	clock.set("2026-11-20 14:30")
	m.countMinutes()
	spool.fails = nil
	m.countMinutes()
	m.countMinutes() // and only once
	bill, err := newLedger(t, spool, map[string]Options{"aws": frankfurt()}).Bill(Hour(clock.Wall.Add(-90 * time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	if total := bill.Totals[0]; total.Units != 2 || total.Uncertain != 0 || total.Minutes != 1 {
		t.Errorf("%+v, want CONNECT, SUBSCRIBE and a minute in the hour in which they were", total.Counts)
	}
}

// A plan by volume is charged for what the sockets carry.
func TestTheLinkIsPaidByTheBytesAtTheSocket(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	o := frankfurt()
	o.LinkPrice = "0.5"
	m := newMeter(t, spool, o, clock)
	carried := m.Carrier("aws")
	deliver := func() {
		var b bridge.Batch
		m.Delivered(&b, "aws", to("dt/a", 100), bridge.Outcome{Wire: 120})
		spool.Commit(&b, nil)
	}
	socket := func() int64 { return spool.bill(t, o, clock.Wall).Totals[0].Socket }
	carried(littleCarried - 1)
	deliver()
	if socket() != 0 {
		t.Error("a few bytes were worth a change")
	}
	carried(1)
	deliver()
	if got := socket(); got != littleCarried {
		t.Errorf("%d bytes with a release, want %d", got, littleCarried)
	}
	carried(100)
	m.countMinutes()
	if socket() != littleCarried {
		t.Error("a few bytes were worth a commit")
	}
	m.Opened("aws", "plant7", Connection{})
	clock.Mono += time.Minute
	m.countMinutes()
	if got := socket(); got != littleCarried+100 {
		t.Errorf("%d bytes with a minute, want %d", got, littleCarried+100)
	}
	carried(999_900 - littleCarried)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := m.Run(stopped); err != nil {
		t.Fatal(err)
	}
	total := spool.bill(t, o, clock.Wall).Totals[0]
	if total.Socket != 1_000_000 || total.Wire != 240 || total.LinkUSD != "0.500000" {
		t.Errorf("%d bytes at the socket, %d in packets, $%s; want 1,000,000, 240 and $0.50", total.Socket, total.Wire, total.LinkUSD)
	}
	if old := (Counts{Wire: 240}); old.LinkBytes() != 240 {
		t.Error("a ledger without bytes at the socket costs nothing")
	}
}

// What is uncertain is metered in the way in which it was sent.
func TestUncertainByTheWayItWasSent(t *testing.T) {
	long := to("dt/a", 5120-4)
	long.Receiver.Origin = bridge.OriginUserProperties
	overHTTP := frankfurt()
	overHTTP.HTTP = true
	retained := to("dt/a", 5000)
	retained.Receiver.Retain = true
	for _, c := range []struct {
		name string
		o    Options
		s    *bridge.Stored
		how  bridge.Outcome
		want int64
	}{
		{"M06 MQTT 5 with properties", frankfurt(), long, bridge.Outcome{Wire: 5300}, 2},
		{"M06 MQTT 3.1.1, which has none", frankfurt(), long, bridge.Outcome{Wire: 5130, MQTT3: true}, 1},
		{"M18 a request, and perhaps an answer", frankfurt(), to("dt/a", 5000), bridge.Outcome{Wire: 5300, HTTP: true}, 2},
		{"M18 retained", frankfurt(), retained, bridge.Outcome{Wire: 5300, HTTP: true}, 3},
		{"a request that was not sent", frankfurt(), to("dt/a", 5000), bridge.Outcome{HTTP: true}, 0},
		{"after a crash, over HTTPS", overHTTP, to("dt/a", 5000), bridge.Outcome{}, 2},
		{"after a crash", frankfurt(), long, bridge.Outcome{}, 2},
		{"M16 Basic Ingest", frankfurt(), to("$aws/rules/r/a", 9000), bridge.Outcome{}, 0},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:00")
		m := newMeter(t, spool, c.o, clock)
		var b bridge.Batch
		m.Uncertain(&b, "aws", c.s, c.how)
		spool.Commit(&b, nil)
		if got := spool.bill(t, c.o, clock.Wall).Totals[0].Uncertain; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
