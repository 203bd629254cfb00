package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// What may hold messages of several devices goes on one connection: all queues of one
// route by one word, those that things and routes that are gone have left behind, too.
func TestQueuesThatGoTogether(t *testing.T) {
	s := emptySpool(t)
	var b bridge.Batch
	for _, q := range []string{"up/aws/mixed@fan", "raw/up/aws/mixed@drill", "up/aws/apart@fan", "up/aws/gone", "up/aws/plain", "raw/up/aws/lost@fan"} {
		b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt/a", QoS: 1}, Receivers: []bridge.Receiver{{Queue: q, Topic: "dt/a", QoS: 1}}})
	}
	b.Add("shape", "up/aws/gone|out", 1)
	done := make(chan error, 1)
	s.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	routes := rules.DefaultOptions()
	for name, topic := range map[string]string{"mixed": "site1/all", "apart": "dt/${client_id}"} {
		r := rules.DefaultUpRoute()
		r.Name, r.From, r.Upstream, r.Topic = name, name+"/#", "aws", topic
		r.Steps.Batch.Format = shape.JSON
		routes.Up = append(routes.Up, r)
	}
	routes.Own = map[string][]string{"aws": {"pump"}}
	table, err := rules.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{spool: s, table: table, router: rules.NewRouter(table)}
	got, err := g.queuesOf("aws")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"up/aws/mixed": "up/aws/mixed", "up/aws/mixed@pump": "up/aws/mixed", "up/aws/mixed@fan": "up/aws/mixed", "up/aws/mixed@drill": "up/aws/mixed",
		"up/aws/apart": "", "up/aws/apart@pump": "", "up/aws/apart@fan": "",
		"up/aws/gone": "up/aws/gone", "up/aws/plain": "",
		"up/aws/lost": "up/aws/lost", "up/aws/lost@fan": "up/aws/lost", // the raw queue of a route that is gone is shaped, by no steps
	}
	for _, q := range append(got.up, got.own["pump"]...) {
		if together, known := want[q.Name]; !known || q.Together != together {
			t.Errorf("%s goes together as %q, want %q", q.Name, q.Together, together)
		}
		delete(want, q.Name)
	}
	if len(want) > 0 {
		t.Errorf("not among the queues: %s", strings.Join(slices.Sorted(maps.Keys(want)), ", "))
	}
}
