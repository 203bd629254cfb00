package shape

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// line is the steps of a route in their order. It implements [bridge.Line].
type line struct {
	queue string
	steps []step
	split int // payloads above go in parts, 0: none
}

// New makes the line of a route, empty. Products go to queue. With drop, messages
// that a step would have to read and cannot are dropped. One metered message is of
// unit bytes; 0 is [Unit].
func New(o Options, drop bool, queue string, unit int) bridge.Line {
	l := &line{queue: queue, split: int(o.Split)}
	if o.Deadband.on() {
		l.steps = append(l.steps, newDeadband(o.Deadband, drop))
	}
	if o.Window.on() {
		l.steps = append(l.steps, newWindower(o.Window, drop, queue))
	}
	switch {
	case o.Batch.on():
		l.steps = append(l.steps, newBatcher(o.Batch, newCodec(o.Compress), unit))
	case o.Compress != None:
		l.steps = append(l.steps, &compressor{newCodec(o.Compress)})
	}
	return l
}

// Take implements [bridge.Line].
func (l *line) Take(s *bridge.Stored, out func(*bridge.Product)) {
	l.from(0, &item{
		rec: s.Record, to: s.Receiver,
		members: []bridge.Member{{Place: s.Place, Size: s.Size(), ID: s.ID}},
		order:   orderOf(s.Record),
	}, out)
}

// from gives an item to the step at i.
func (l *line) from(i int, it *item, out func(*bridge.Product)) {
	if p := it.gone(); p != nil {
		out(p)
		return
	}
	if it.order == back {
		rec := *it.rec
		rec.Receivers = []bridge.Receiver{*it.to}
		out(&bridge.Product{Records: []*bridge.Record{&rec}, Members: it.members, Into: it.into})
		return
	}
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
	records := []*bridge.Record{&rec}
	if l.split > 0 && l.tooLarge(it) {
		records = parts(&rec, l.split)
	}
	return &bridge.Product{Records: records, Members: it.members}
}

// tooLarge reports whether a payload is above the limit as it would be sent.
func (l *line) tooLarge(it *item) bool {
	if len(it.rec.Payload) <= l.split/2 { // in base64 and an envelope it is not twice as large
		return false
	}
	payload, _ := it.enveloped(false)
	return len(payload) > l.split
}

// Ripe implements [bridge.Line].
func (l *line) Ripe(now time.Duration, out func(*bridge.Product)) (time.Duration, bool) {
	next := never
	for i, s := range l.steps {
		next = min(next, s.ripe(now, func(it *item) { l.from(i+1, it, out) }))
	}
	return next, next != never
}
