package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Queue is one of the spool's queues.
type Queue struct {
	Name      string  `json:"name"` // direction/upstream/route
	Bytes     int64   `json:"bytes"`
	OldestAge float64 `json:"oldest_age_seconds"`

	Ledger
}

// Ledger is what became of every message that a queue was ever given: accepted
// is the sum of the others. It outlives restarts.
type Ledger struct {
	Accepted  int64 `json:"accepted"`
	Held      int64 `json:"held"`
	Delivered int64 `json:"delivered"`
	Dropped   int64 `json:"dropped"`
	Consumed  int64 `json:"consumed"`
	Moved     int64 `json:"moved"`
	Lost      int64 `json:"lost"`
}

func sendQueues(out chan<- prometheus.Metric, queues []Queue) {
	accepted := counter("queue_accepted_messages_total", "Messages that a queue was ever given, as the spool remembers; what was moved to it counts as well.", "queue")
	left := counter("queue_messages_total", "Messages that left a queue, by what became of them; with those held the sum is those accepted.", "queue", "fate")
	held := gauge("queue_held_messages", "Messages that a queue holds.", "queue")
	oldest := gauge("queue_oldest_seconds", "Age of the oldest message that a queue holds.", "queue")
	send := func(m metric, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	}
	for _, q := range queues {
		send(accepted, float64(q.Accepted), q.Name)
		send(held, float64(q.Held), q.Name)
		send(oldest, q.OldestAge, q.Name)
		for _, f := range []struct {
			fate string
			n    int64
		}{{"delivered", q.Delivered}, {"dropped", q.Dropped}, {"consumed", q.Consumed}, {"moved", q.Moved}, {"lost", q.Lost}} {
			send(left, float64(f.n), q.Name, f.fate)
		}
	}
}
