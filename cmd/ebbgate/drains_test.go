package main

import (
	"maps"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// Every queue of an upstream has its estimate: those of its routes, of what waits for
// steps, and of things that are connections of their own.
func TestEveryQueueHasADrainEstimate(t *testing.T) {
	const own = "up/cloud/all@pump"
	g := &gateway{clouds: []*cloud{{
		name: "cloud", upQueues: []bridge.QueueRef{{Name: "up/cloud/all"}, {Name: own, Until: 7}}, rawQueues: []string{"raw/up/cloud/all"},
		things: []*thingLink{{name: "pump", queues: []bridge.QueueRef{{Name: own}}}},
	}}}
	got := g.drains([]telemetry.Upstream{{Name: "other", Drain: 3}, {Name: "cloud", Drain: 60}})
	if want := map[string]float64{"up/cloud/all": 60, "raw/up/cloud/all": 60, own: 60}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if all := g.clouds[0].allUpQueues(); len(all) != 2 {
		t.Errorf("a queue of a thing that is sent with its route as well is counted twice: %v", all)
	}
}
