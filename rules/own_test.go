package rules

import (
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A thing with a connection of its own has queues of its own, to that upstream
// alone, and each route treats it as all others.
func TestAThingOfItsOwnHasQueuesOfItsOwn(t *testing.T) {
	a, b, c := up("a", "dt/#", ""), up("b", "st/#", ""), up("c", "state/#", "")
	b.Upstream = "site"
	c.KeepLast, c.LiveFirst = 3, true
	a.Steps.Batch.Format = "ndjson"
	table := compile(t, func(o *Options) {
		o.Up, o.Own = []UpRoute{a, b, c}, map[string][]string{"aws": {"pump-7", "pump:8"}}
	})
	for _, c := range []struct{ thing, topic, queue string }{
		{"pump-7", "dt/x", "raw/up/aws/a@pump-7"},
		{"pump-9", "dt/x", "raw/up/aws/a"},
		{"", "dt/x", "raw/up/aws/a"},
		{"pump-7", "st/x", "up/site/b"},
	} {
		p := device("c", c.thing)
		to, err := table.Up(p, &bridge.Message{Topic: c.topic, Payload: []byte("1")})
		if err != nil || len(to) != 1 || to[0].Queue != c.queue {
			t.Errorf("%q of thing %q goes to %v (%v), want %s", c.topic, c.thing, to, err, c.queue)
		}
	}
	var names, shaped []string
	for _, q := range table.Queues() {
		names = append(names, q.Name+" "+q.Thing)
	}
	for _, q := range table.Queues() {
		if q.LiveFirst != (q.Route == "c") {
			t.Errorf("%+v: live_first is its route's", q)
		}
	}
	for _, s := range table.Shaped() {
		shaped = append(shaped, s.Queue)
	}
	if want := []string{"up/aws/a ", "up/site/b ", "up/aws/c ", "up/aws/a@pump-7 pump-7", "up/aws/a@pump:8 pump:8", "up/aws/c@pump-7 pump-7", "up/aws/c@pump:8 pump:8"}; !slices.Equal(names, want) {
		t.Errorf("queues %q, want %q", names, want)
	}
	if want := []string{"up/aws/a", "up/aws/a@pump-7", "up/aws/a@pump:8"}; !slices.Equal(shaped, want) {
		t.Errorf("shaped %q, want %q", shaped, want)
	}
	if n, _ := table.KeepLast("up/aws/c@pump-7"); n != 3 {
		t.Errorf("keep_last of a thing's queue is %d, want its route's 3", n)
	}
}
