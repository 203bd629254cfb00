package shape

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// line is the steps of a route in their order. It implements [bridge.Line].
type line struct {
	queue string
	steps []step
}

// New makes the line of a route, empty. Products go to queue.
func New(o Options, queue string) bridge.Line {
	l := &line{queue: queue}
	switch {
	case o.Batch.on():
		l.steps = append(l.steps, newBatcher(o.Batch, newCodec(o.Compress)))
	case o.Compress != None:
		l.steps = append(l.steps, &compressor{newCodec(o.Compress)})
	}
	return l
}

// Take implements [bridge.Line].
func (l *line) Take(s *bridge.Stored, out func(*bridge.Product)) {
	l.from(0, &item{
		rec: s.Record, to: s.Receiver,
		members: []bridge.Member{{Place: s.Place, Size: s.Size()}},
		order:   orderOf(&s.Message),
	}, out)
}

// from gives an item to the step at i.
func (l *line) from(i int, it *item, out func(*bridge.Product)) {
	if i == len(l.steps) {
		out(l.product(it))
		return
	}
	l.steps[i].take(it, func(it *item) { l.from(i+1, it, out) })
}

// product is an item at the end of the line.
func (l *line) product(it *item) *bridge.Product {
	rec, to := *it.rec, *it.to
	to.Queue = l.queue
	rec.Receivers = []bridge.Receiver{to}
	return &bridge.Product{Records: []*bridge.Record{&rec}, Members: it.members, Puts: it.puts}
}

// Ripe implements [bridge.Line].
func (l *line) Ripe(now time.Duration, out func(*bridge.Product)) (time.Duration, bool) {
	next := never
	for i, s := range l.steps {
		next = min(next, s.ripe(now, func(it *item) { l.from(i+1, it, out) }))
	}
	return next, next != never
}
