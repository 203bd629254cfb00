package shape

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// line is the steps of a route in their order. It implements [bridge.Line].
type line struct {
	queue   string
	steps   []step
	windows bool // one of them makes windows
	split   int  // payloads above go in parts, 0: none
	divert  int  // payloads above go as files, 0: none
}

// Terms are what a route's upstream says for its batches.
type Terms struct {
	Unit int // bytes of one metered message; 0 is [Unit]
	// Patience is asked for each message how long it may wait for others, and
	// counts where that is longer than what the route says: the age of a batch may
	// change while it is used. It must not block; nil is what the route says.
	Patience func() time.Duration
	// Apart makes nothing of the messages of more than one device, also where they
	// share a topic.
	Apart bool
}

// New makes the line of a route, empty. Products go to queue. With drop, messages
// that a step would have to read and cannot are dropped.
func New(o Options, drop bool, queue string, terms Terms) bridge.Line {
	l := &line{queue: queue, windows: o.Window.on(), split: int(o.Split), divert: int(o.Divert)}
	if o.Deadband.on() {
		l.steps = append(l.steps, newDeadband(o.Deadband, drop))
	}
	if o.Window.on() {
		l.steps = append(l.steps, newWindower(o.Window, drop, queue, terms.Apart))
	}
	switch {
	case o.Batch.on():
		l.steps = append(l.steps, newBatcher(o.Batch, newCodec(o.Compress), l.divert, terms))
	case o.Compress != None:
		l.steps = append(l.steps, &compressor{newCodec(o.Compress)})
	}
	return l
}

// Take implements [bridge.Line].
func (l *line) Take(s *bridge.Stored, out func(*bridge.Product)) {
	it := &item{
		rec: s.Record, to: s.Receiver,
		members: []bridge.Member{{Place: s.Place, Size: s.Size(), ID: s.ID}},
		order:   orderOf(s.Record),
	}
	if !l.windows && isPartial(s.Record) {
		it = it.summedUp()
	}
	l.from(0, it, out)
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
	out := &bridge.Product{Records: []*bridge.Record{&rec}, Members: it.members}
	switch {
	case it.diverted(l.divert):
		out.File = true
	case it.above(l.split):
		out.Records = parts(&rec, l.split)
	}
	return out
}

// above reports whether a payload is above a limit as it would be sent; 0 is none.
func (it *item) above(limit int) bool {
	if limit == 0 || len(it.rec.Payload) <= limit/2 { // in base64 and an envelope it is not twice as large
		return false
	}
	payload, _ := it.enveloped(false)
	return len(payload) > limit
}

// diverted reports whether a message is to go as a file.
func (it *item) diverted(limit int) bool { return it.above(limit) && !Sparkplug(it.rec.Topic) }

// Ripe implements [bridge.Line].
func (l *line) Ripe(now time.Duration, out func(*bridge.Product)) (time.Duration, bool) {
	next := never
	for i, s := range l.steps {
		next = min(next, s.ripe(now, func(it *item) { l.from(i+1, it, out) }))
	}
	return next, next != never
}
