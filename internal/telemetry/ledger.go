package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metered is how the windows and the budget of a link stand.
type Metered struct {
	Open   bool       `json:"open"` // for priorities that do not override
	Next   *time.Time `json:"next"` // when it will be otherwise, if that is known
	Why    string     `json:"why,omitempty"`
	Period string     `json:"period,omitempty"` // of the budget: a day or a month
	Budget int64      `json:"budget_bytes"`     // 0: none
	Used   int64      `json:"used_bytes"`       // on the wire, TLS included
}

// Queue is one of the spool's queues.
type Queue struct {
	Name      string  `json:"name"` // direction/upstream/route
	Bytes     int64   `json:"bytes"`
	OldestAge float64 `json:"oldest_age_seconds"`
	Drain     float64 `json:"drain_seconds"` // until all queues to its upstream are empty; -1: not draining, or nobody can tell

	Ledger
}

// Step is what one step of a route has kept from being sent, as the route says,
// its condition and its sample included: it outlives restarts. Such messages are
// consumed in the ledger of their queue.
type Step struct {
	Queue string `json:"queue"` // of the route
	Step  string `json:"step"`
	Held  int64  `json:"held"`
}

// Ledger is what became of every message that a queue was ever given, or that a
// step or a budget turned away from it: accepted is the sum of the others. It
// outlives restarts.
type Ledger struct {
	Accepted  int64 `json:"accepted"`
	Held      int64 `json:"held"`
	Delivered int64 `json:"delivered"`
	Dropped   int64 `json:"dropped"`
	Consumed  int64 `json:"consumed"`
	Moved     int64 `json:"moved"`
	Lost      int64 `json:"lost"`
}

func sendMetered(out chan<- prometheus.Metric, upstreams []Upstream) {
	open := gauge("link_open", "1 while the windows and the budget of a metered link let messages through that do not override.", "upstream")
	budget := gauge("link_budget_bytes", "Bytes of the period's budget of a metered link; 0 for none.", "upstream")
	used := gauge("link_used_bytes", "Bytes that a metered link has carried in the budget's period.", "upstream")
	for _, u := range upstreams {
		if u.Metered == nil {
			continue
		}
		for _, x := range []struct {
			metric
			v float64
		}{{open, flag(u.Metered.Open)}, {budget, float64(u.Metered.Budget)}, {used, float64(u.Metered.Used)}} {
			out <- prometheus.MustNewConstMetric(x.desc, x.kind, x.v, u.Name)
		}
	}
}

func sendQueues(out chan<- prometheus.Metric, queues []Queue) {
	accepted := counter("queue_accepted_messages_total", "Messages that a queue was ever given, or that were turned away from it, as the spool remembers; what was moved to it counts as well.", "queue")
	left := counter("queue_messages_total", "Messages that left a queue, by what became of them; with those held the sum is those accepted.", "queue", "fate")
	held := gauge("queue_held_messages", "Messages that a queue holds.", "queue")
	oldest := gauge("queue_oldest_seconds", "Age of the oldest message that a queue holds.", "queue")
	drain := gauge("queue_drain_seconds", "Until all queues to the same upstream are empty, at the present rates; -1 while they are not draining, or nobody can tell.", "queue")
	send := func(m metric, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	}
	for _, q := range queues {
		send(accepted, float64(q.Accepted), q.Name)
		send(held, float64(q.Held), q.Name)
		send(oldest, q.OldestAge, q.Name)
		send(drain, q.Drain, q.Name)
		for _, f := range []struct {
			fate string
			n    int64
		}{{"delivered", q.Delivered}, {"dropped", q.Dropped}, {"consumed", q.Consumed}, {"moved", q.Moved}, {"lost", q.Lost}} {
			send(left, float64(f.n), q.Name, f.fate)
		}
	}
}

func sendSteps(out chan<- prometheus.Metric, steps []Step) {
	held := counter("step_held_messages_total", "Messages that a step of a route has kept from being sent, such as its deadband.", "queue", "step")
	for _, s := range steps {
		out <- prometheus.MustNewConstMetric(held.desc, held.kind, float64(s.Held), s.Queue, s.Step)
	}
}
