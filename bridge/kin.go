package bridge

import (
	"context"
	"fmt"
	"sync"
)

// Kin are the raw queues of one route: that of all devices, and those of things that
// have, or had, connections of their own. A thing that gets such a connection, or
// loses it, has messages in both, and each has a line that may keep some of them in
// an open batch. Before a round begins they are settled: what a thing has in one
// queue comes out of its line before what it has sent to the other since.
type Kin struct {
	things  []kinsman
	settled chan struct{}
	once    sync.Once
}

// kinsman is a thing's queue.
type kinsman struct {
	queue string // of the products
	thing string
	own   bool // it is filled from now on
}

// NewKin makes the kin of a route, with no thing in it.
func NewKin() *Kin { return &Kin{settled: make(chan struct{})} }

// Add adds the queue of a thing's products; own says that the thing has a connection
// of its own now. Call it before a shaper runs.
func (k *Kin) Add(queue string, own bool) {
	_, thing, _ := OwnedBy(queue)
	k.things = append(k.things, kinsman{queue, thing, own})
}

// awaitKin waits until the raw queues of the route are settled; the shaper of the
// queue of all devices settles them. It returns false when ctx ends first.
func (s *Shaper) awaitKin(ctx context.Context) bool {
	k := s.cfg.Kin
	if k == nil {
		return true
	}
	if _, _, own := OwnedBy(s.cfg.Queue); !own {
		if !s.settle(ctx) || !s.catchUp(ctx) {
			return false
		}
		k.once.Do(func() { close(k.settled) })
	}
	select {
	case <-k.settled:
		return s.catchUp(ctx)
	case <-ctx.Done():
		return false
	}
}

// kin is one raw queue while it is settled. Its products go to the queue of all: what
// a thing's own queue of products holds is older.
type kin struct {
	*Shaper
	kinsman // empty for the queue of all
	cursor  Cursor
	head    *Stored
	end     Place
	until   Seq             // what comes later is in nobody's way
	open    map[string]bool // things of whose messages the line may hold some
	all     bool            // it may hold some of any
}

// settle reads the raw queues of the route in the order of acceptance. Whenever a
// message of a thing is about to go into one line, and the other may hold earlier
// ones of it, that is given out first. Lines that hold nothing of a thing that
// comes to another queue now are left to their shapers, as they are.
func (s *Shaper) settle(ctx context.Context) bool {
	for {
		done, err := s.settleOnce(ctx)
		if err == nil {
			return done
		}
		s.health.Raise(Warning{Code: s.code(), Severity: Critical, Text: fmt.Sprintf("what waits for the steps of %s cannot be read: %v", s.cfg.Queue, err)})
		s.log.Error("the raw queues of a route cannot be read", "error", err)
		if !wait(ctx, commitRetry) {
			return false
		}
	}
}

func (s *Shaper) settleOnce(ctx context.Context) (done bool, err error) {
	last, err := s.lastOfThings()
	if err != nil {
		return false, err
	}
	shared := s.kinOf(kinsman{queue: s.cfg.Queue}, ^Seq(0))
	defer shared.cursor.Close()
	all := []*kin{shared}
	moves := false
	for _, k := range s.cfg.Kin.things {
		switch at := last[k.thing]; {
		case k.own && at == 0, s.spool.Depth(RawQueue(k.queue)).Records == 0:
			moves = moves || k.own && at > 0
		case k.own:
			all, moves = append(all, s.kinOf(k, at)), true
		default:
			all, moves = append(all, s.kinOf(k, ^Seq(0))), true
		}
	}
	for _, k := range all[1:] {
		defer k.cursor.Close()
	}
	if !moves {
		return true, nil
	}
	for {
		var next *kin
		for _, k := range all {
			if err := k.look(); err != nil {
				return false, err
			}
			if k.head != nil && (next == nil || k.head.Seq < next.head.Seq) {
				next = k
			}
		}
		if next == nil {
			break
		}
		if !next.clear(ctx, all) || !next.takeOne(ctx) {
			return false, nil
		}
	}
	for _, k := range all[1:] {
		if !k.own && !k.close(ctx) {
			return false, nil
		}
	}
	for _, k := range s.cfg.Kin.things {
		if k.own && shared.holds(k.thing) && !shared.close(ctx) {
			return false, nil
		}
	}
	return true, nil
}

// lastOfThings finds the latest message of each thing of the kin in the queue of all.
func (s *Shaper) lastOfThings() (map[string]Seq, error) {
	last := map[string]Seq{}
	for _, k := range s.cfg.Kin.things {
		last[k.thing] = 0
	}
	c := s.spool.Cursor(RawQueue(s.cfg.Queue))
	defer c.Close()
	for {
		r, err := c.Next()
		if err != nil || r == nil {
			return last, err
		}
		if _, kin := last[r.Thing]; kin {
			last[r.Thing] = r.Seq
		}
	}
}

func (s *Shaper) kinOf(k kinsman, until Seq) *kin {
	raw := RawQueue(k.queue)
	cfg := ShaperConfig{Queue: k.queue, Line: s.cfg.Line, Files: s.cfg.Files}
	one := NewShaper(cfg, s.spool, s.drops, s.health, s.log)
	one.line, one.settles = cfg.Line(), true
	return &kin{Shaper: one, kinsman: k, cursor: s.spool.Cursor(raw), end: Place(s.spool.Ledger(raw).Accepted), until: until, open: map[string]bool{}}
}

// look reads the next record, if it has none.
func (k *kin) look() error {
	if k.head != nil {
		return nil
	}
	r, err := k.cursor.Next()
	if err != nil || r == nil || r.Place > k.end || r.Seq > k.until {
		k.end = 0 // there is no more
		return err
	}
	k.head = r
	return nil
}

// clear has the other lines give out what they hold of the thing of the next record.
func (k *kin) clear(ctx context.Context, all []*kin) bool {
	for _, o := range all {
		thing := o.thing // of one of the two queues
		if k.thing != "" {
			thing = k.thing
		}
		if o != k && (k.thing == "") != (o.thing == "") && k.head.Thing == thing && o.holds(thing) && !o.close(ctx) {
			return false
		}
	}
	return true
}

func (k *kin) holds(thing string) bool { return k.all || k.open[thing] }

// takeOne gives the next record to the line.
func (k *kin) takeOne(ctx context.Context) bool {
	r := k.head
	k.head = nil
	if r.ID == (MessageID{}) { // a part of a window, perhaps of several devices
		k.all = true
	}
	k.open[r.Thing] = true
	k.take(r)
	return !k.full() || k.flush(ctx)
}

// close gives out what the line holds.
func (k *kin) close(ctx context.Context) bool {
	k.line.Ripe(endOfTime, k.made)
	clear(k.open)
	k.all = false
	return k.flush(ctx)
}
