package bridge

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
}

// NewIngest wires the walk's first half.
func NewIngest(spool Spool, router Router, clock *Clock, meter Meter, drops *DropLog) *Ingest {
	return &Ingest{spool: spool, router: router, clock: clock, meter: meter, drops: drops}
}

// Up takes a message that p published. It asks g, routes, appends, and calls
// done exactly once: nil means that the message is ours to deliver (synced,
// when any route takes it) and may be acknowledged and fanned out locally; an
// error's kind says what the giver must see. done may be called before Up
// returns or from the spool's completion goroutine, and must not block. Calls
// for one giver complete in order when they append; local-only messages
// complete at once, so the giver's acknowledgements need their own queue.
//
// extend, unless it is nil, is called once, before Up returns, when the message
// may be published and has been routed: what the giver's side keeps of it (for
// devices that are away, as the retained message of its topic) goes into the
// batch, so that one commit holds all of it. When extend adds nothing either,
// there is no commit.
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
	to, err := in.router.Up(p, m)
	if err != nil {
		in.drops.CountError(err, p.Name(), m.Topic)
		done(err)
		return
	}
	var b Batch
	if len(to) > 0 {
		b.Append(&Record{
			Message:   *m,
			Origin:    Origin{Device: p.Name(), Thing: p.Thing.Name, ID: in.clock.NewID(), Instant: in.clock.Now(), Hops: Hops(m)},
			Receivers: to,
		})
	}
	if extend != nil {
		extend(&b)
	}
	if b.Empty() {
		done(nil)
		return
	}
	in.spool.Commit(&b, func(_ Seq, err error) { done(err) })
}

// Down takes a message that an upstream sent, of wire bytes on its
// connection. done is as in Up: after nil the cloud may be acknowledged.
func (in *Ingest) Down(upstream string, m *Message, wire int, done func(error)) {
	to, err := in.router.Down(upstream, m)
	if err != nil {
		in.drops.CountError(err, upstream, m.Topic)
		in.Passed(upstream, m, wire, func(error) { done(err) }) // it is billed all the same
		return
	}
	var b Batch
	in.meter.Received(&b, upstream, m, wire)
	if len(to) == 0 {
		in.drops.Count("unrouted", upstream, m.Topic)
	} else {
		b.Append(&Record{
			Message:   *m,
			Origin:    Origin{Device: upstream, ID: in.clock.NewID(), Instant: in.clock.Now(), Hops: Hops(m)},
			Receivers: to,
		})
	}
	in.spool.Commit(&b, func(_ Seq, err error) { done(err) })
}

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
