package rules

import (
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// Through lets what the routes take whose queue is named go through their raw queues,
// also where they have no steps: what earlier steps have left there goes first, and
// what comes now behind it. It is for a table that nobody uses yet.
func (t *Table) Through(named func(queue string) bool) {
	for i := range t.up.routes {
		r := &t.up.routes[i]
		if r.raw != "" || !named(r.queue) {
			continue
		}
		r.raw = bridge.RawQueue(r.queue)
		if !slices.ContainsFunc(t.shaped, func(s Shaped) bool { return s.Queue == r.queue }) {
			t.shaped = append(t.shaped, Shaped{Queue: r.queue, Upstream: r.upstream, Steps: DefaultUpRoute().Steps, ttl: r.ttl})
		}
	}
}
