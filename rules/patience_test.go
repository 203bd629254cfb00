package rules

import (
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// A batch waits as long as who uses the line says, at the least as long as the
// route, and never for more than half of what its messages have to live.
func TestPatienceOfABatch(t *testing.T) {
	for _, c := range []struct {
		name     string
		patience time.Duration
		ttl      time.Duration
		want     time.Duration
	}{
		{"the route's own age", 0, 0, 10 * time.Second},
		{"longer", 5 * time.Minute, 0, 5 * time.Minute},
		{"shorter counts for nothing", time.Second, 0, 10 * time.Second},
		{"half of the ttl", 5 * time.Minute, time.Minute, 30 * time.Second},
		{"a short ttl", 5 * time.Minute, 12 * time.Second, 10 * time.Second},
	} {
		o := DefaultOptions()
		r := DefaultUpRoute()
		r.Name, r.Upstream, r.From, r.TTL = "telemetry", "aws", "dt/#", c.ttl
		r.Steps.Batch.Format = shape.JSON
		o.Up = append(o.Up, r)
		table, err := Compile(o)
		if err != nil {
			t.Fatal(err)
		}
		out := func(*bridge.Product) { t.Errorf("%s: the batch is sent", c.name) }
		line := table.Shaped()[0].Line(shape.Terms{Patience: func() time.Duration { return c.patience }})
		rec := &bridge.Record{Message: bridge.Message{Topic: "dt/a", Payload: []byte("1")}, Receivers: []bridge.Receiver{{Topic: "dt/a", QoS: 1, TTL: c.ttl}}}
		line.Take(&bridge.Stored{Record: rec, Receiver: &rec.Receivers[0]}, out)
		if due, waits := line.Ripe(0, out); !waits || due != c.want {
			t.Errorf("%s: waits until %v, want %v", c.name, due, c.want)
		}
	}
}
