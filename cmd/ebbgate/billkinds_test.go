package main

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
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
