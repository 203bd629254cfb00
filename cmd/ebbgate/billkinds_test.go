package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// advice is what advise prints of what was sent, on one line.
func (s *sentFleet) advice(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	s.fleet.Routes = routesOf(s.cfg, int(s.fleet.Options.Unit))
	printAdvice(&billTable{out: &out}, s.fleet, new(big.Rat))
	return strings.Join(strings.Fields(out.String()), " ")
}

// What is advised of batches is to be had: in the same file with them the gateway starts, and
// what the same messages cost then is what was promised. What goes alone whatever the route
// says, and what the configuration would refuse, is not promised.
func TestAdviceOfBatchesIsToBeHad(t *testing.T) {
	const messages = 2000
	readings := func(i int, msg *bridge.Message) { msg.Payload = fmt.Appendf(nil, `{"n":%d,"s":"%0100d"}`, i, i) }
	requests := func(i int, msg *bridge.Message) {
		readings(i, msg)
		msg.ResponseTopic, msg.CorrelationData = "answer/"+msg.Topic, []byte("12345678")
	}
	sparkplug := func(i int, msg *bridge.Message) {
		readings(i, msg)
		msg.Topic = "spBv1.0/G/DDATA/E/d1"
	}
	mixed := func(every int, topic string) func(int, *bridge.Message) {
		return func(i int, msg *bridge.Message) {
			if readings(i, msg); i%every == 0 {
				requests(i, msg)
				msg.Topic = topic
			}
		}
	}
	const batch = ", batch: {format: json, size: 5000B, age: "
	for _, c := range []struct {
		name, route string
		change      func(int, *bridge.Message)
		then        string // what is written into the file
		says        string
		promised    bool
	}{
		{"readings", `name: r, from: "dt/#", upstream: aws`, readings, batch + "1m}", "waits up to 1m0s", true},
		{"requests", `name: r, from: "dt/#", upstream: aws`, requests, batch + "1m}", "", false},
		{"every other is a request", `name: r, from: "dt/#", upstream: aws`, mixed(2, "dt/pump/state"), batch + "1m}", "", false},
		{"one in seven is a request", `name: r, from: "dt/#", upstream: aws`, mixed(7, "dt/pump/state"), batch + "1m}", "requests and the like go alone", true},
		{"every other is a request to another topic", `name: r, from: "dt/#", upstream: aws`, mixed(2, "dt/pump/ask"), batch + "1m}", "requests and the like go alone", true},
		{"Sparkplug behind a prefix", `name: r, from: "#", upstream: aws, topic: "plant/${topic}"`, sparkplug, batch + "1m}", "", false},
		{"Sparkplug of its own route, behind a prefix", `name: r, from: "spBv1.0/#", upstream: aws, topic: "plant/${topic}"`, sparkplug, batch + "1m}", "", true},
		{"a short ttl", `name: r, from: "dt/#", upstream: aws, ttl: 30s`, readings, batch + "15s}", "waits up to 15s (batch.age) for others of its topic, half of the route's ttl (30s)", true},
		{"a ttl that no batch keeps", `name: r, from: "dt/#", upstream: aws, ttl: 150ms`, readings, "", "", false},
		{"states", `name: r, from: "dt/#", upstream: aws, keep_last: 1`, readings, "", "may save something, nobody can tell how much: batch up to 5000 B, one metered message whether 5 KB is 5000 or 5120: route r: a route with keep_last (1) makes no batches", false},
		{"a small split", `name: r, from: "dt/#", upstream: aws, split: 2KiB`, readings, ", batch: {format: json, size: 2KiB, age: 1m}", "batch up to 2048 B", true},
	} {
		was := sendMessages(t, c.route, messages, c.change)
		said := was.advice(t)
		if !strings.Contains(said, c.says) {
			t.Errorf("%s: no %q in %s", c.name, c.says, said)
		}
		var batches []billing.Measure
		for _, m := range was.fleet.Measures() {
			if strings.HasPrefix(m.Name, "batch ") {
				batches = append(batches, m)
			}
		}
		if strings.Contains(said, ". batch up to") != c.promised || c.promised && len(batches) != 1 {
			t.Errorf("%s: %d measures: %s", c.name, len(batches), said)
		}
		if c.then == "" {
			continue
		}
		then := sendMessages(t, c.route+c.then, messages, c.change)
		got, want := was.fleet.Counted(was.fleet.Plan(batches)).Messages, then.fleet.Counted(then.fleet.Plan(nil)).Messages
		if late := strings.Contains(c.then, "age: 1m}"); got < want || late && got > want+want/8+5 { // they come all at once, and in an hour as it is counted
			t.Errorf("%s: %d metered messages are promised, in truth it is %d", c.name, got, want)
		}
		if again := then.advice(t); strings.Contains(again, ". batch up to") || strings.Contains(again, ". let batches") {
			t.Errorf("%s: with the batches they are advised again: %s", c.name, again)
		}
	}
}

// An envelope goes around each message of a batch, and how many there are is not recorded:
// nothing is promised of it where there are batches, and what is promised of messages that
// were sent alone comes.
func TestAdviceOfEnvelopesInBatches(t *testing.T) {
	const messages, route, batch = 3000, `name: r, from: "dt/#", upstream: aws`, ", batch: {format: json, size: 5000B, age: 1m}"
	for _, each := range []int{3, 5, 15} { // messages in a row are of one job
		jobs := func(i int, msg *bridge.Message) {
			msg.Payload = fmt.Appendf(nil, `{"n":%d,"s":"%080d"}`, i, i)
			msg.User = []bridge.UserProperty{{Key: "job", Value: fmt.Sprintf("%032d", i/(4*each))}}
		}
		alone, batched := sendMessages(t, route, messages, jobs), sendMessages(t, route+batch, messages, jobs)
		wrapped := sendMessages(t, route+batch+", origin: envelope", messages, jobs)
		said := batched.advice(t)
		for _, m := range batched.fleet.Measures() {
			if strings.Contains(m.Name, "origin: envelope") {
				t.Errorf("%d in a row: %s is promised something: %s", each, m.Name, said)
			}
		}
		if maybe := strings.Contains(said, "may save something, nobody can tell how much: origin: envelope with the batches that it makes, as messages have user properties of their own, route r: an envelope goes around each message"); maybe != (each < 15) {
			t.Errorf("%d in a row: %s", each, said)
		}
		// The same file, and what was sent before there were batches.
		alone.cfg = batched.cfg
		said = alone.advice(t)
		for _, m := range alone.fleet.Measures() {
			if !strings.Contains(m.Name, "origin: envelope") {
				continue
			}
			got, want := alone.fleet.Counted(alone.fleet.Plan([]billing.Measure{m})).Messages, wrapped.fleet.Counted(wrapped.fleet.Plan(nil)).Messages
			if got < want*98/100 || got > want*110/100 {
				t.Errorf("%d in a row: %s: %d metered messages are promised, in truth it is %d", each, m.Name, got, want)
			}
		}
		if each < 15 && !strings.Contains(said, "1. origin: envelope with the batches that it makes") && !strings.Contains(said, "2. origin: envelope with the batches that it makes") {
			t.Errorf("%d in a row, of what was sent alone: %s", each, said)
		}
		// Batches without envelopes, of a route that puts them around by now.
		batched.cfg = wrapped.cfg
		if said := batched.advice(t); strings.Contains(said, ": saves $") || strings.Contains(said, "had all of it been sent") || !strings.Contains(said, "send by Basic Ingest: route r: it makes batches with origin: envelope now") {
			t.Errorf("%d in a row, before there were envelopes: %s", each, said)
		}
		// Batches as the file makes them cost what they cost.
		now, _ := wrapped.fleet.Cost(wrapped.fleet.Plan(nil))
		wrapped.advice(t)
		if taken, _ := wrapped.fleet.Cost(wrapped.fleet.Taken()); taken.Rat().Cmp(now.Rat()) != 0 {
			t.Errorf("%d in a row: as the configuration does it $%s a month, and it cost $%s", each, taken, now)
		}
	}
}

// What other routes would have cost leaves alone what their steps do: requests and Sparkplug
// behind a template, which Basic Ingest is not for either.
func TestWhatIfOfWhatGoesAlone(t *testing.T) {
	const messages = 1400
	mixed := func(i int, msg *bridge.Message) {
		msg.Payload = fmt.Appendf(nil, `{"n":%d,"s":"%0100d"}`, i, i)
		switch {
		case i%7 == 0:
			msg.ResponseTopic = "answer"
		case i%7 < 3:
			msg.Topic = "spBv1.0/G/DDATA/E/d1"
		}
	}
	const route = `name: r, from: "#", upstream: aws, topic: "plant/${topic}"`
	was := sendMessages(t, route, messages, mixed)
	for _, c := range []struct {
		then  string
		flags whatIfOptions
		notes []string
	}{
		{", batch: {format: json, size: 5120B, age: 24h}", whatIfOptions{batches: []string{"r=5120B"}, format: "json", age: 24 * time.Hour},
			[]string{"200 messages go alone, as requests", "400 messages of Sparkplug pass its steps by"}},
		{", basic_ingest: r", whatIfOptions{basic: []string{"r"}}, []string{"400 messages of Sparkplug pass its steps by"}},
		{", sample: {one_in: 2}", whatIfOptions{}, nil},
	} {
		then := sendMessages(t, route+c.then, messages, mixed)
		want := then.fleet.Counted(then.fleet.Plan(nil))
		for _, o := range []*whatIfOptions{{routes: then.config}, &c.flags} {
			if o == &c.flags && c.notes == nil {
				continue
			}
			plan, notes, err := o.plan(was.cfg, was.fleet)
			if err != nil {
				t.Fatal(err)
			}
			got := was.fleet.Counted(plan)
			if off := max(got.Messages-want.Messages, want.Messages-got.Messages); 100*off > want.Messages || got.Rules != want.Rules {
				t.Errorf("%s, by a file %v: %+v, in truth %+v", c.then, o != &c.flags, got, want)
			}
			for _, note := range c.notes {
				if o == &c.flags && !strings.Contains(strings.Join(notes, "\n"), note) {
					t.Errorf("%s: no %q in %q", c.then, note, notes)
				}
			}
		}
	}
}

// The gateway tells batches by what its routes do, from its start and from a reload on.
func TestGatewayTellsBatches(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.yaml"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(batch bool) *configs.Config {
		t.Helper()
		cfg := sandboxed(t, dir, 1, "users.yaml")
		if batch {
			cfg.Routes.Up[0].Steps.Batch.Format = shape.JSON
		}
		return cfg
	}
	for name, c := range map[string]struct{ starts, reloaded bool }{"at a start": {true, true}, "after a reload": {false, true}, "no more after a reload": {true, false}} {
		if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
		g, err := openGateway(load(c.starts), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.reload(load(c.reloaded)); err != nil {
			t.Fatal(err)
		}
		r := &bridge.Record{
			Message:   bridge.Message{Topic: "dt/a", Payload: []byte(`[{"n":1}]`), Properties: bridge.Properties{ContentType: "application/json"}},
			Receivers: []bridge.Receiver{{Queue: "up/cloud/all", Topic: "dt/a"}},
		}
		var b bridge.Batch
		g.meter.Delivered(&b, "cloud", &bridge.Stored{Record: r, Receiver: &r.Receivers[0]}, bridge.Outcome{Wire: 1})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.meter.Run(ctx); err != nil { // writes the sizes
			t.Fatal(err)
		}
		from, to := billing.Month(time.Now())
		all, err := g.ledger.Load().Traffic("cloud", from, to)
		if err != nil || len(all) != 1 || all[0].Kind == billing.Batched != c.reloaded {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
		if err := g.close(); err != nil {
			t.Error(err)
		}
	}
}
