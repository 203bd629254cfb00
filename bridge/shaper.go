package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Shaper is the stage of the walk between append and send, for one route whose
// steps change messages or need more than one of them:
//
//	raw queue → the route's line → append the product and release its members, in one batch
//
// It is one goroutine. What waits in a line (an open batch, an open window) is
// records of the raw queue that are not released: nothing else has to be kept,
// and a new shaper finds it by reading the queue again. It works while the cloud
// is away too, so that the backlog is small.
type Shaper struct {
	cfg    ShaperConfig
	spool  Spool
	drops  *DropLog
	health *Health
	log    *slog.Logger

	line    Line
	pending []*Product
	members int // of pending
	bytes   int // that pending appends
	away    away
	settles bool // it is not the queue's, see kin
}

// ShaperConfig says what a shaper works on.
type ShaperConfig struct {
	Queue string      // of the products; the records are in RawQueue(Queue)
	Line  func() Line // makes the route's line, empty

	// Last says that nothing more comes into the raw queue: what is in it is
	// shaped at once, and its open batches and windows are closed.
	Last bool
	// Kin are the raw queues of the route, when things have, or had, connections of
	// their own; nil: there is the one. All shapers of the route have the same.
	Kin *Kin

	// Files takes what is to go as a file; nil: it goes as it is.
	Files FilePath
}

// A commit of a shaper holds what one transaction of the spool's state takes and
// delays the commits of the devices' messages by little.
const (
	shapeWeight = 128 << 10 // bytes of changes
	shapeBytes  = 512 << 10 // bytes of products
	changeBytes = 32        // of a release, or of a key besides its texts
)

// NewShaper wires the stage for one route.
func NewShaper(cfg ShaperConfig, spool Spool, drops *DropLog, health *Health, log *slog.Logger) *Shaper {
	return &Shaper{cfg: cfg, spool: spool, drops: drops, health: health, log: log.With("queue", cfg.Queue)}
}

// Run works until ctx ends. A commit that is under way ends first: whoever reads
// the queue next must not see what it releases.
func (s *Shaper) Run(ctx context.Context) error {
	raw := RawQueue(s.cfg.Queue)
	wake := make(chan struct{}, 1)
	defer s.spool.Watch(wake, raw)()
	defer s.drops.Disown(s) // what could not be written
	if !s.catchUp(ctx) || !s.awaitKin(ctx) {
		return nil
	}
	c := s.spool.Cursor(raw)
	defer c.Close()
	s.line, s.pending, s.members, s.bytes = s.cfg.Line(), nil, 0, 0
	handing, stop := context.WithCancel(ctx)
	s.sendAway(handing)
	defer s.away.ended.Wait()
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		s.exchange()
		end, err := s.read(c)
		if err != nil {
			s.health.Raise(Warning{Code: s.code(), Severity: Critical, Text: fmt.Sprintf("what waits for the steps of %s cannot be read: %v", s.cfg.Queue, err)})
			s.log.Error("the raw queue cannot be read", "error", err)
			end = true
		}
		var next time.Duration
		waits := false
		if end { // not before: what is in the queue may belong to what would be given out
			next, waits = s.line.Ripe(s.ripeAt(), s.made)
		}
		if !s.flush(ctx) {
			return nil
		}
		if !end && !s.away.full() {
			continue
		}
		pause := max(next-s.spool.Age(), 0)
		switch {
		case s.cfg.Last && waits:
			pause = otherShapers
		case err != nil:
			pause = commitRetry
		case !end || !waits:
			pause = time.Hour
		}
		timer.Reset(pause)
		files, toFile := s.away.next()
		select {
		case <-wake:
		case <-timer.C:
		case p := <-s.away.back:
			s.returned(p)
		case files <- toFile:
			s.away.list = s.away.list[1:]
		case <-ctx.Done():
		}
	}
	return nil
}

// catchUp waits until the spool shows what an earlier shaper of the queue has
// released: that is in the log when its commit is done, and seen a little later.
// A change of the state alone is done when it and all before it are seen.
func (s *Shaper) catchUp(ctx context.Context) bool {
	var b Batch
	b.Add(nsShape, s.cfg.Queue+"|in", 0)
	return s.commit(ctx, b)
}

// otherShapers is how often a shaper that is the last of its queue looks at it.
const otherShapers = 20 * time.Millisecond

// ripeAt is the age that counts for what waits in batches and windows.
func (s *Shaper) ripeAt() time.Duration {
	if s.cfg.Last {
		return endOfTime
	}
	return s.spool.Age()
}

// endOfTime is after every window that is open now.
const endOfTime = time.Duration(1) << 61

func (s *Shaper) code() string { return "shape-" + s.cfg.Queue }

// read gives records to the line until the queue ends or a commit is full.
func (s *Shaper) read(c Cursor) (end bool, err error) {
	for !s.full() {
		r, err := c.Next()
		if err != nil || r == nil {
			return true, err
		}
		s.take(r)
	}
	return false, nil
}

// take gives a record to the line.
func (s *Shaper) take(r *Stored) {
	if r.Mortal() && r.Expired(s.spool.Age()) {
		lost, detail := s.named(r)
		s.gather(&Product{Members: []Member{{r.Place, r.Size(), r.ID}}, Reason: Expired.String(), lost: lost, detail: detail})
		return
	}
	s.line.Take(r, func(p *Product) {
		if len(p.Records) == 0 && p.Reason != "" {
			p.lost = r
		}
		s.made(p)
	})
}

// named is a record with the id by which it is asked for, and what it is: what the line
// has put back is found by those whom it sums up.
func (s *Shaper) named(r *Stored) (*Stored, string) {
	line, ok := s.line.(Summing)
	if !ok {
		return r, ""
	}
	id, what := line.Summed(r.Record)
	if what == "" {
		return r, ""
	}
	rec := *r.Record
	rec.ID = id
	return &Stored{Seq: r.Seq, Place: r.Place, Record: &rec, Receiver: r.Receiver}, what
}

func (s *Shaper) full() bool {
	return s.members >= MaxMembers || s.bytes >= shapeBytes || s.away.full()
}

// made takes what the line has made: to be committed, or to be a file before.
func (s *Shaper) made(p *Product) {
	switch {
	case !p.File || s.cfg.Files == nil || len(p.Records) != 1:
		s.gather(p)
	case !s.settles: // else it is given again, and has no order
		s.away.took(p)
	}
}

func (s *Shaper) gather(p *Product) {
	s.pending = append(s.pending, p)
	s.members += len(p.Members)
	for _, r := range p.Records {
		s.bytes += r.Size()
	}
}

// flush commits what was gathered. It returns false when ctx ends first: what is
// not committed has changed nothing.
func (s *Shaper) flush(ctx context.Context) bool {
	for len(s.pending) > 0 {
		b, n := s.cut()
		if !s.commit(ctx, b) {
			return false
		}
		for _, p := range s.pending[:n] {
			if p.claims() {
				s.drops.Committed(s, RawQueue(s.cfg.Queue), p.Members[0].Place)
			}
		}
		s.pending = s.pending[n:]
	}
	s.pending, s.members, s.bytes = nil, 0, 0
	return true
}

// cut makes a batch of the first n products that wait.
func (s *Shaper) cut() (b Batch, n int) {
	raw, tally := RawQueue(s.cfg.Queue), map[string]int64{}
	var parts []into
	weight, size := 0, 0
	for ; n < len(s.pending); n++ {
		p := s.pending[n]
		w, c := p.weight()
		if n > 0 && (weight+w > shapeWeight || size+c > shapeBytes || b.heavy()) {
			break
		}
		weight, size = weight+w, size+c
		if p.claims() && !s.drops.Claim(s, raw, p.Members[0].Place) {
			continue // an operator is faster
		}
		fate := Consumed
		if p.lost != nil {
			fate = Dropped
			s.drops.Note(&b, p.lost, p.Reason, p.detail)
		}
		for _, m := range p.Members {
			b.Releases = append(b.Releases, Release{raw, m.Place, m.Size, fate})
		}
		b.Appends = append(b.Appends, p.Records...)
		p.count(tally)
		parts = notePart(parts, p)
	}
	s.drops.noteParts(&b, s.cfg.Queue, parts)
	for what, count := range tally {
		if count != 0 {
			b.Add(nsShape, s.cfg.Queue+"|"+what, count)
		}
	}
	return b, n
}

// claims reports whether a product gives up its one record, or has kept it for so
// long that an operator may have given it up meanwhile.
func (p *Product) claims() bool { return p.lost != nil || p.File && len(p.Members) == 1 }

// weight is the bytes that a product changes in the spool's state, and those
// that it appends.
func (p *Product) weight() (changes, appended int) {
	changes = changeBytes * len(p.Members)
	var prev MessageID
	for _, m := range p.Members {
		changes += idBytes(m.ID, prev)
		prev = m.ID
	}
	for _, r := range p.Records {
		appended += r.Size()
	}
	return changes, appended
}

// count adds a product to the counters of a commit.
func (p *Product) count(tally map[string]int64) {
	n := int64(len(p.Members))
	tally["in"] += n
	tally["out"] += int64(len(p.Records))
	if p.pointer {
		tally["files"]++
	}
	switch {
	case len(p.Records) > 0:
	case p.Reason != "":
		tally["drop/"+p.Reason] += n
	case p.Step != "":
		tally["step/"+p.Step] += n
	}
}

// commit makes a batch durable, and tries again until the spool takes it or ctx
// ends.
func (s *Shaper) commit(ctx context.Context, whole Batch) bool {
	for {
		b := whole // the spool owns what it is given; the slices stay to try again
		done := make(chan error, 1)
		s.spool.Commit(&b, func(_ Seq, err error) { done <- err })
		err := <-done
		if err == nil {
			s.health.Clear(s.code())
			return true
		}
		if s.health.Raise(Warning{Code: s.code(), Severity: Critical,
			Text: fmt.Sprintf("what the steps of %s have made cannot be written to the spool, its records wait as they are: %v", s.cfg.Queue, err)}) {
			s.log.Error("products cannot be written", "error", err)
		}
		if !wait(ctx, commitRetry) {
			return false
		}
	}
}

// wait pauses; it returns false when ctx ends first.
func wait(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
