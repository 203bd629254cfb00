package bridge

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// away is what a shaper has given to the file path and not got back yet: messages
// that are too large for the upstream. They are handed over one after the other by
// a goroutine of their own, so that the rest of the route goes on while a disk or a
// quota keeps a file waiting; their records stay in the raw queue until the pointer
// is committed, so a crash gives them again.
type away struct {
	list    []*Product    // to be handed over, after the one that is
	in      chan *Product // to the goroutine
	back    chan *Product // from it
	waiting int           // products that are in list, or with the goroutine
	bytes   int           // of their payloads
	ended   sync.WaitGroup
}

// What may be away at a time. It is in memory; with more the route waits.
const (
	mostAway      = 32
	mostAwayBytes = 32 << 20
)

// The pauses between two tries to hand a file over.
const (
	awayFirst = 200 * time.Millisecond
	awayLast  = 30 * time.Second
)

// sendAway starts the goroutine that hands files over, until ctx ends.
func (s *Shaper) sendAway(ctx context.Context) {
	s.away = away{in: make(chan *Product), back: make(chan *Product)}
	if s.cfg.Files == nil {
		return
	}
	s.away.ended.Go(func() {
		for {
			select {
			case p := <-s.away.in:
				if !s.hand(ctx, p) {
					return
				}
				select {
				case s.away.back <- p:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
}

// full reports whether nothing more is to be read that might go away. One message
// always may, however large it is.
func (a *away) full() bool {
	return a.waiting >= mostAway || a.waiting > 0 && a.bytes >= mostAwayBytes
}

// took counts a product in that goes away.
func (a *away) took(p *Product) {
	p.away = len(p.Records[0].Payload)
	a.waiting++
	a.bytes += p.away
	a.list = append(a.list, p)
}

// next is what is handed over next, and the channel to send it on, which is nil
// when there is nothing.
func (a *away) next() (to chan<- *Product, p *Product) {
	if len(a.list) == 0 {
		return nil, nil
	}
	return a.in, a.list[0]
}

// exchange gives the goroutine what it has room for, and takes what it is done
// with, without waiting.
func (s *Shaper) exchange() {
	to, next := s.away.next()
	select {
	case p := <-s.away.back:
		s.returned(p)
	case to <- next:
		s.away.list = s.away.list[1:]
	default:
	}
}

// returned gathers a product whose file has been handed over.
func (s *Shaper) returned(p *Product) {
	s.away.waiting--
	s.away.bytes -= p.away
	s.gather(p)
}

// hand makes a file of a product, and a pointer of its message. It returns false
// when ctx ends first. What can never be a file goes on as it is: the upstream
// refuses it, and it becomes a dead letter that a person sees.
func (s *Shaper) hand(ctx context.Context, p *Product) bool {
	d, code := divert(p, s.cfg.Queue), "divert-"+s.cfg.Queue
	for pause := awayFirst; ; pause = min(2*pause, awayLast) {
		uri, err := s.cfg.Files.Hand(ctx, &d.file)
		switch {
		case err == nil:
			d.point(uri)
			p.pointer = true
			s.health.Clear(code)
			return true
		case ctx.Err() != nil:
			return false
		case OfFile(err):
			if s.health.Raise(Warning{Code: code, Severity: Degraded, Text: fmt.Sprintf(
				"a message of %q on %q cannot go as a file (%v): it goes as it is; look for it among the dead letters of %s", d.pointer.Device, d.pointer.Topic, err, s.cfg.Queue)}) {
				s.log.Warn("a message cannot go as a file, and goes as it is", "device", d.pointer.Device, "topic", d.pointer.Topic, "message", d.pointer.ID, "error", err)
			}
			return true
		}
		if s.health.Raise(Warning{Code: code, Severity: Degraded, Text: fmt.Sprintf(
			"messages of %s that are to go as files wait, file transfer takes none now: %v; they are kept, and it is tried again every %v at most", s.cfg.Queue, err, awayLast)}) {
			s.log.Warn("file transfer does not take a message", "error", err)
		}
		if !wait(ctx, pause) {
			return false
		}
	}
}
