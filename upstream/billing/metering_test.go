package billing

import (
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// deliver meters one message up and returns what the ledger has of it.
func deliver(t *testing.T, o Options, s *bridge.Stored, out bridge.Outcome) Counts {
	t.Helper()
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, o, clock)
	var b bridge.Batch
	m.Delivered(&b, "aws", s, out)
	spool.Commit(&b, nil)
	return spool.bill(t, o, clock.Wall).Totals[0].Counts
}

// to makes a record as it goes out: without the properties of its origin, whose
// hops are 9 bytes.
func to(topic string, payload int) *bridge.Stored {
	s := stored("pump", topic, payload)
	s.Receiver.Queue = "up/aws/telemetry"
	return s
}

const hopsSize = len(bridge.PropHops) + 1

// Each rule of the specification that a gateway can see, by its id.
func TestRulesOfWhatGoesUp(t *testing.T) {
	retained := to("dt/a", 10<<10)
	retained.Receiver.Retain = true
	tipped := to("dt/a", 5120-hopsSize)
	tipped.Receiver.Retain = true
	deleted := to("dt/a", 0)
	deleted.Receiver.Retain = true
	resolved := to("dt/a", 5120-4-hopsSize)
	big := to("dt/a", 5121-4-hopsSize)
	typed := to("dt/a", 5120-4-hopsSize)
	typed.ContentType = "x"
	answering := to("dt/a", 5120-4-hopsSize)
	answering.ResponseTopic = "x"
	correlated := to("dt/a", 5120-4-hopsSize)
	correlated.CorrelationData = []byte{1}
	http := func(change func(*bridge.Stored)) *bridge.Stored { // a unit full over HTTPS, where the topic is not counted
		s := to("dt/a", 5120-hopsSize)
		change(s)
		return s
	}
	defender := to("$aws/things/pump/defender/metrics/json", 300)
	old := frankfurt()
	old.MQTT3 = true
	free := frankfurt()
	free.Defender = DefenderFree
	kept := to("$aws/rules/store/a", 100)
	kept.Receiver.Retain = true
	for _, c := range []struct {
		rule string
		o    Options
		s    *bridge.Stored
		out  bridge.Outcome
		want Counts // of these only what is named below is looked at
	}{
		{"M06 payload and topic fill a unit", frankfurt(), resolved, bridge.Outcome{}, Counts{Units: 1, Other: 1}},
		{"M03 a byte more is another", frankfurt(), big, bridge.Outcome{}, Counts{Units: 2}},
		{"M06 content type", frankfurt(), typed, bridge.Outcome{}, Counts{Units: 2}},
		{"M06 response topic", frankfurt(), answering, bridge.Outcome{}, Counts{Units: 2}},
		{"M06 correlation data", frankfurt(), correlated, bridge.Outcome{}, Counts{Units: 2}},
		{"M10 retained is metered twice", frankfurt(), retained, bridge.Outcome{}, Counts{Units: 6, Retained: 3}},
		{"M11 so is the deletion of what is retained", frankfurt(), deleted, bridge.Outcome{}, Counts{Units: 2, Retained: 1}},
		{"M06 over MQTT 3.1.1 topic and payload are all", old, typed, bridge.Outcome{}, Counts{Units: 1, Other: 1}},
		{"M06 so over one that speaks it, as was found out", frankfurt(), typed, bridge.Outcome{MQTT3: true}, Counts{Units: 1, Other: 1}},
		{"M16 Basic Ingest is free, its rule is not", frankfurt(), to("$aws/rules/store/dt/a", 6000), bridge.Outcome{}, Counts{Basic: 2}},
		{"M18 HTTP with an answer", frankfurt(), to("dt/a", 3<<10), bridge.Outcome{HTTP: true, Body: 20}, Counts{Units: 2, Answers: 1}},
		{"M18 HTTP without one", frankfurt(), to("dt/a", 3<<10), bridge.Outcome{HTTP: true}, Counts{Units: 1}},
		{"M18 a large answer", frankfurt(), to("dt/a", 3<<10), bridge.Outcome{HTTP: true, Body: 5121}, Counts{Units: 3, Answers: 2}},
		{"M16 and M18 Basic Ingest over HTTP, with an answer", frankfurt(), to("$aws/rules/store/a", 100), bridge.Outcome{HTTP: true, Body: 20}, Counts{Units: 1, Answers: 1, Basic: 1}},
		{"M10 and M18 over HTTP a retained copy has no topic either", frankfurt(), tipped, bridge.Outcome{HTTP: true}, Counts{Units: 2, Retained: 1}},
		{"M18 HTTP does not count the topic", frankfurt(), to("dt/a", 5120-hopsSize), bridge.Outcome{HTTP: true}, Counts{Units: 1, Other: 1}},
		{"M18 HTTP counts the content type", frankfurt(), http(func(s *bridge.Stored) { s.ContentType = "x" }), bridge.Outcome{HTTP: true}, Counts{Units: 2}},
		{"M18 HTTP counts the response topic", frankfurt(), http(func(s *bridge.Stored) { s.ResponseTopic = "x" }), bridge.Outcome{HTTP: true}, Counts{Units: 2}},
		{"M18 HTTP counts correlation data", frankfurt(), http(func(s *bridge.Stored) { s.CorrelationData = []byte{1} }), bridge.Outcome{HTTP: true}, Counts{Units: 2}},
		{"M18 HTTP counts user properties", frankfurt(), http(func(s *bridge.Stored) { s.User = []bridge.UserProperty{{Key: "k"}} }), bridge.Outcome{HTTP: true}, Counts{Units: 2}},
		{"M18 HTTP counts the payload", frankfurt(), to("dt/a", 5121-hopsSize), bridge.Outcome{HTTP: true}, Counts{Units: 2}},
		{"M18 HTTP, retained", frankfurt(), retained, bridge.Outcome{HTTP: true}, Counts{Units: 6, Retained: 3}},
		{"M16 and M18 Basic Ingest over HTTP", frankfurt(), to("$aws/rules/store/a", 100), bridge.Outcome{HTTP: true}, Counts{Basic: 1}},
		{"M10 and M16 Basic Ingest, retained", frankfurt(), kept, bridge.Outcome{}, Counts{Basic: 1}},
		{"M10, M16 and M18 Basic Ingest over HTTP, retained", frankfurt(), kept, bridge.Outcome{HTTP: true}, Counts{Basic: 1}},
		{"M21 a shadow's update is a message and its operations", frankfurt(), to("$aws/things/pump/shadow/update", 1229), bridge.Outcome{}, Counts{Units: 1, Shadow: 2}},
		{"M21 of a named shadow", frankfurt(), to("$aws/things/pump/shadow/name/door/get", 0), bridge.Outcome{}, Counts{Units: 1, Shadow: 1}},
		{"M21 its answers are no operations", frankfurt(), to("$aws/things/pump/shadow/update/accepted", 0), bridge.Outcome{}, Counts{Units: 1}},
		{"M23 Device Defender as messages", frankfurt(), defender, bridge.Outcome{}, Counts{Units: 1}},
		{"M23 Device Defender free", free, defender, bridge.Outcome{}, Counts{}},
		{"M18 and M23 over HTTP it is a message", free, defender, bridge.Outcome{HTTP: true}, Counts{Units: 1}},
		{"M24 a block of 128 KB", frankfurt(), to("$aws/things/pump/streams/s/data/cbor", 128<<10), bridge.Outcome{}, Counts{Units: 26, Other: 1}},
	} {
		got := deliver(t, c.o, c.s, c.out)
		if got.Messages != 1 {
			t.Errorf("%s: %d messages", c.rule, got.Messages)
		}
		if n := HTTPRequest(bridge.Outgoing(c.s), DefaultUnit); c.out.HTTP && n != got.Units-got.Answers-got.Retained {
			t.Errorf("%s: the request alone is %d", c.rule, n)
		}
		if got.Units != c.want.Units || got.Retained != c.want.Retained || got.Answers != c.want.Answers || got.Basic != c.want.Basic || got.Shadow != c.want.Shadow || c.want.Other != 0 && got.Other != c.want.Other {
			t.Errorf("%s: %+v, want %+v", c.rule, got, c.want)
		}
	}
}

func TestRulesOfWhatComesDown(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	receive := func(qos byte, payload int, dup bool) {
		var b bridge.Batch
		m.Received(&b, "aws", &bridge.Message{Topic: "cmd/a", Payload: make([]byte, payload), QoS: qos, Dup: dup}, 10)
		spool.Commit(&b, nil)
	}
	receive(0, 10, false)   // M07: 1
	receive(1, 10, false)   // M07 and M08: 2; a lifecycle event is the same (M27)
	receive(1, 6000, false) // 2, and the answer
	got := spool.bill(t, frankfurt(), clock.Wall).Totals[0].Counts
	if got.Units != 6 || got.Acks != 2 || got.Messages != 3 {
		t.Errorf("%+v, want 6 units with 2 answers of 3 messages", got)
	}
	receive(1, 10, true) // it came before: once more for certain, once more and its answer perhaps
	again := spool.bill(t, frankfurt(), clock.Wall).Totals[0].Counts
	if again.Units != 7 || again.Uncertain != 2 {
		t.Errorf("%+v, want 7 units and 2 uncertain ones", again)
	}
}

func TestM26ResendsAndThrottledApart(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	var b bridge.Batch
	m.Uncertain(&b, "aws", to("dt/a", 6000), bridge.Outcome{})
	m.Refused(&b, "aws", to("dt/a", 6000), bridge.Outcome{Wire: 6100, Result: bridge.ResultRetry, Code: 0x97})
	m.Refused(&b, "aws", to("dt/a", 6000), bridge.Outcome{Result: bridge.ResultRetry})   // behind one that was put off: never sent
	m.Refused(&b, "aws", to("dt/a", 6000), bridge.Outcome{Result: bridge.ResultRefused}) // too large to be sent
	spool.Commit(&b, nil)
	got := spool.bill(t, frankfurt(), clock.Wall).Totals[0].Counts
	if got.Units != 0 || got.Uncertain != 2 || got.Throttled != 1 {
		t.Errorf("%+v, want nothing metered, 2 uncertain, 1 throttled", got)
	}
}

func TestM18ErrorsWithABodyAreMetered(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	var b bridge.Batch
	m.Refused(&b, "aws", to("dt/a", 6000), bridge.Outcome{Wire: 6100, Result: bridge.ResultRetry, HTTP: true, Body: 80})
	m.Refused(&b, "aws", to("dt/a", 6000), bridge.Outcome{Wire: 6100, Result: bridge.ResultRetry, HTTP: true})
	spool.Commit(&b, nil)
	got := spool.bill(t, frankfurt(), clock.Wall).Totals[0].Counts
	if got.Units != 1 || got.Answers != 1 || got.Uncertain != 2 || got.Throttled != 2 {
		t.Errorf("%+v, want the body metered, the request uncertain, and nothing for the error without a body", got)
	}
}

func TestM01MinutesOfConnectionsAcrossRestarts(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	pass := func(d time.Duration) {
		clock.Mono += d
		clock.Wall = clock.Wall.Add(d)
		m.countMinutes()
	}
	minutes := func() Counts { return spool.bill(t, frankfurt(), clock.Wall).Totals[0].Counts }
	a := m.Opened("aws", "plant7-1", Connection{})
	pass(30 * time.Second)
	b := m.Opened("aws", "plant7-2", Connection{Will: publish(24, 6<<10)}) // M04: 2 units
	pass(31 * time.Second)                                                 // a: 2 begun, b: 1
	if got := minutes(); got.Minutes != 3 || got.Units != 3 {
		t.Fatalf("%+v, want 3 minutes and 3 units", got)
	}
	b.Subscribing([]string{"cmd/#", "jobs/#"}, nil)() // M05: one packet
	b.Closed()
	pass(10 * time.Minute)
	if got := minutes(); got.Minutes != 13 || got.Units != 4 {
		t.Fatalf("%+v, want 13 minutes and 4 units", got)
	}
	a.Closed()
	pass(time.Hour)

	m = newMeter(t, spool, frankfurt(), clock) // as after a kill: what was begun is counted
	m.Opened("aws", "plant7-1", Connection{})
	pass(59 * time.Second)
	bill := spool.bill(t, frankfurt(), clock.Wall)
	if got := bill.Totals[0].Minutes; got != 14 {
		t.Errorf("%d minutes, want 14", got)
	}
	if first := bill.Lines[0]; first.Direction != Link || first.Device != "plant7-1" || first.Minutes != 13 || first.USD != "0.000001248" {
		t.Errorf("%+v, want 12 and 1 minutes of plant7-1 at 0.096 per million", first)
	}
}

// A thing that is a connection of its own is charged with it, and what it sends
// is on its route's line, as all else of the route.
func TestTheConnectionOfAThingIsOnTheThing(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	m.OpenedAs("aws", "pump-7", Connection{})
	s := stored("pump-7", "dt/x", 10)
	s.Receiver.Queue = bridge.OwnQueue("up/aws/telemetry", "pump-7")
	var b bridge.Batch
	m.Delivered(&b, "aws", s, bridge.Outcome{})
	spool.Commit(&b, nil)
	lines := spool.bill(t, frankfurt(), clock.Wall).Lines
	for _, l := range lines {
		if l.Direction == Link && (l.Device != "pump-7" || l.Thing != "pump-7") || l.Direction == Up && l.Route != "telemetry" {
			t.Errorf("%+v", l)
		}
	}
	if len(lines) < 2 {
		t.Errorf("%d lines, want those of the connection and of the message", len(lines))
	}
}

// M01, M04: what a connection costs is shown before it is made.
func TestWhatConnectionsCost(t *testing.T) {
	month, connects, ok, err := Connections(frankfurt(), 10)
	if err != nil || !ok || month.String() != "0.041472" || connects.String() != "0.000012" {
		t.Errorf("%v a month and %v for the CONNECTs (%v, %v), want 10 × 43200 minutes at 0.096 and 10 messages at 1.20 per million", month, connects, ok, err)
	}
	if _, _, ok, err := Connections(Options{}, 10); ok || err != nil {
		t.Errorf("without a region: %v, %v", ok, err)
	}
	if _, _, _, err := Connections(Options{PriceList: "/nowhere"}, 10); err == nil {
		t.Error("a price list that is not there")
	}
}

func TestMinutesThatCannotBeWrittenComeLater(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	m.Opened("aws", "plant7", Connection{})
	spool.fails = bridge.Errorf("commit", bridge.Full, "full")
	clock.Mono += 3 * time.Minute
	m.countMinutes()
	spool.fails = nil
	m.countMinutes()
	if got := spool.bill(t, frankfurt(), clock.Wall).Totals[0].Minutes; got != 4 {
		t.Errorf("%d minutes, want 4", got)
	}
}

func TestG19PingsCostNothing(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	m.Opened("aws", "plant7", Connection{})
	before := spool.bill(t, frankfurt(), clock.Wall).Totals[0]
	clock.Mono += 59 * time.Second // two pings, which nobody meters (M02)
	m.countMinutes()
	after := spool.bill(t, frankfurt(), clock.Wall).Totals[0]
	if before.Units != after.Units || before.Units != 1 {
		t.Errorf("a minute of pings made %d units of %d", after.Units, before.Units)
	}
}
