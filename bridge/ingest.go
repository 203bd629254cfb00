package bridge

import (
	"cmp"
	"sync"
)

// Ingest is the first half of the walk, for all givers:
//
//	ingest → authorize → route → append (synced) → acknowledge the giver
//
// It is safe for concurrent use.
type Ingest struct {
	spool  Spool
	router Router
	clock  *Clock
	meter  Meter
	drops  *DropLog
	door   *door
	behind Behind

	underway underway
}

// NewIngest wires the walk's first half.
func NewIngest(spool Spool, router Router, clock *Clock, meter Meter, drops *DropLog) *Ingest {
	return &Ingest{spool: spool, router: router, clock: clock, meter: meter, drops: drops, door: &door{spool: spool, drops: drops},
		underway: underway{now: new(sync.WaitGroup)}}
}

// Settle waits until everything that has been routed is committed, or refused: what
// is routed after a change of the routes comes later, also to other queues.
func (in *Ingest) Settle() { in.underway.settle() }

// Trust makes the word of gateways behind this one about a message's origin count.
// Call it before the first message.
func (in *Ingest) Trust(b Behind) { in.behind = b }

// Up takes a message that p published. It asks g, routes, appends, and calls
// done exactly once: nil means that the message is ours to deliver (synced,
// when any route takes it) and may be acknowledged and fanned out locally; an
// error's kind says what the giver must see. What a step or a budget has turned
// away is ours too: that it was is synced. done may be called before Up
// returns or from the spool's completion goroutine, and must not block. Calls
// for one giver complete in order when they append; local-only messages
// complete at once, so the giver's acknowledgements need their own queue.
//
// extend, unless it is nil, is called once, before Up returns, when the message
// may be published and has been routed: what the giver's side keeps of it (for
// devices that are away, as the retained message of its topic) goes into the
// batch, so that one commit holds all of it. When extend adds nothing either, and
// nothing was turned away, there is no commit.
func (in *Ingest) Up(p *Principal, g Grants, m *Message, extend func(*Batch), done func(error)) {
	if err := authorizePublish(g, m); err != nil {
		in.drops.CountError(err, p.Name(), m.Topic)
		done(err)
		return
	}
	in.Authorized(p, m, extend, done)
}

// Authorized is Up for a message that has been decided on already: a will.
func (in *Ingest) Authorized(p *Principal, m *Message, extend func(*Batch), done func(error)) {
	way, handed := in.underway.enter(), false
	defer func() {
		if !handed { // it comes to no queue
			way.Done()
		}
	}()
	to, turned, err := in.router.Up(p, m)
	if err != nil {
		in.drops.CountError(err, p.Name(), m.Topic)
		done(err)
		return
	}
	var b Batch
	var from Origin
	if len(to)+len(turned) > 0 {
		from = Origin{Device: p.Name(), Thing: p.Thing.Name, ID: in.clock.NewID(), Instant: in.clock.Now(), Hops: Hops(m)}
		if len(in.behind.Gateways) > 0 && in.behind.trusts(p) {
			from.adopt(m)
		}
	}
	if len(to) > 0 {
		b.Append(&Record{Message: *m, Origin: from, Receivers: to})
	}
	if extend != nil {
		extend(&b)
	}
	switch {
	case !b.Empty():
		for _, t := range turned {
			in.drops.turn(&b, t, m, &from)
		}
		handed = true
		in.spool.Commit(&b, func(_ Seq, err error) {
			way.Done()
			done(err)
		})
	case len(turned) > 0:
		in.door.turn(turned, m, &from, done)
	default:
		done(nil)
	}
}

// Down takes a message that an upstream sent, of wire bytes on its
// connection. done is as in Up: after nil the cloud may be acknowledged. What no
// route takes, or the routes refuse, is given up, because the cloud would only
// send it again: it stands in the drop log before done, under queue down/<upstream>.
func (in *Ingest) Down(upstream string, m *Message, wire int, done func(error)) {
	to, refused := in.router.Down(upstream, m)
	from := Origin{Device: upstream, ID: in.clock.NewID(), Instant: in.clock.Now(), Hops: Hops(m)}
	var b Batch
	in.meter.Received(&b, upstream, m, wire)
	switch {
	case refused != nil:
		in.drops.turn(&b, Turned{Queue: unroutedQueue(upstream), Fate: Dropped, Why: KindOf(refused).String(), Detail: refused.Error()}, m, &from)
	case len(to) == 0:
		in.drops.turn(&b, Turned{Queue: unroutedQueue(upstream), Fate: Dropped, Why: Unrouted}, m, &from)
	default:
		b.Append(&Record{Message: *m, Origin: from, Receivers: to})
	}
	in.spool.Commit(&b, func(_ Seq, err error) { done(cmp.Or(err, refused)) })
}

// Unrouted is the reason of what came down and no route takes.
const Unrouted = "unrouted"

// unroutedQueue is the queue under which it stands in the drop log.
func unroutedQueue(upstream string) string { return "down/" + upstream }

// The Op of the error that says which permission a PUBLISH lacks.
const (
	OpPublish = "publish"        // iot:Publish
	OpRetain  = "retain-publish" // iot:RetainPublish, asked in addition
)

func authorizePublish(g Grants, m *Message) error {
	if d := g.Decide(Request{Action: ActionPublish, Name: m.Topic}); !d.Allowed {
		return Errorf(OpPublish, NotAuthorized, "%s", d.Reason)
	}
	if m.Retain {
		if d := g.Decide(Request{Action: ActionRetainPublish, Name: m.Topic}); !d.Allowed {
			return Errorf(OpRetain, NotAuthorized, "%s", d.Reason)
		}
	}
	return nil
}
