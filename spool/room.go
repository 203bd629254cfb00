package spool

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// spaceChecked is how often a refusing spool looks whether room has come back.
const spaceChecked = 200 * time.Millisecond

// room refuses a commit that would eat the headroom or pass the bound, and
// stops the intake; then it reports true, and once the givers know somebody has to
// await room. What waits behind the commit is refused with it, and returned: if it
// were taken a moment later, a device's messages would be out of order.
func (s *Spool) room(list []pending) (_ []pending, stopped bool, _ error) {
	size := int64(0)
	for _, p := range list {
		size += int64(p.size)
	}
	err := s.fits(size)
	if err == nil {
		return list, false, nil
	}
	if relief := !slices.ContainsFunc(list, func(p pending) bool { return !p.relief }); relief {
		switch {
		case s.fitsRelief(size):
			return list, false, nil
		case s.intake.refuses(): // and somebody waits for room already
			return list, false, err
		}
	}
	return append(list, s.refuseForRoom(err)...), true, err
}

// refuseForRoom stops the intake, and returns what waits in it. awaitRoom lets it go on.
func (s *Spool) refuseForRoom(err error) []pending {
	s.deps.Health.Raise(bridge.Warning{Code: "spool-full", Severity: bridge.Critical, Text: err.Error()})
	waiting := s.intake.refuse(err)
	s.squeeze(true)
	return waiting
}

func (s *Spool) squeeze(on bool) {
	s.mu.Lock()
	s.squeezed = on
	s.mu.Unlock()
}

// relieves reports whether a batch releases at least as many records as it
// appends: what a route's steps make of what waits for them. Were it refused in a
// full spool, the spool would stay full.
func relieves(b *bridge.Batch) bool {
	return len(b.Appends) > 0 && len(b.Releases) >= len(b.Appends)
}

// fitsRelief says whether size more bytes of relief may be written: half of the
// headroom is for that, and one generation above the bound.
func (s *Spool) fitsRelief(size int64) bool {
	free, err := freeBytes(s.opts.Dir)
	if err != nil || free < int64(s.opts.Headroom)/2+2*size {
		return false
	}
	limit := int64(s.opts.MaxSize)
	return limit == 0 || s.logBytes()+s.shelf.store.Stats().Bytes+size <= limit+s.sizes.generation
}

// refuses reports whether the intake waits for room.
func (in *intake) refuses() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.full != nil
}

// fits says whether size more bytes may be written.
func (s *Spool) fits(size int64) error {
	free, err := freeBytes(s.opts.Dir)
	if err != nil {
		return &bridge.Error{Op: "append", Kind: bridge.Unavailable, Err: err}
	}
	if free < int64(s.opts.Headroom)+2*size {
		return bridge.Errorf("append", bridge.Full, "the disk has %v left, spool.headroom keeps %v free: make room, or wait until the cloud has taken the backlog",
			bridge.Size(free), s.opts.Headroom)
	}
	if limit := int64(s.opts.MaxSize); limit > 0 && s.logBytes()+s.shelf.store.Stats().Bytes+size > limit {
		return bridge.Errorf("append", bridge.Full, "the spool has reached spool.max_size (%v): raise it, or wait until the cloud has taken the backlog", s.opts.MaxSize)
	}
	return nil
}

// logBytes is what the generations on the disk hold.
func (s *Spool) logBytes() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gens {
		if !g.gone {
			n += g.bytes
		}
	}
	return n
}

// awaitRoom lets the intake go on when there is room again, with some to spare
// so that it does not flap.
func (s *Spool) awaitRoom() {
	spare := int64(s.opts.Headroom) / 8
	if s.opts.MaxSize > 0 {
		spare = min(spare, int64(s.opts.MaxSize)/8)
	}
	t := time.NewTicker(spaceChecked)
	defer t.Stop()
	for {
		select {
		case <-s.gone:
			return
		case <-t.C:
		}
		if s.fits(spare) == nil {
			s.intake.resume()
			s.squeeze(false)
			s.deps.Health.Clear("spool-full")
			s.fillBallast()
			return
		}
		s.collect()
	}
}

// Usage is what a spool occupies.
type Usage struct {
	Disk        int64 // bytes of all files, as du counts
	Free        int64 // bytes left on the disk
	Generations int
	Full        string // why nothing is taken, or empty
}

// Usage measures the spool's folder. It walks it: not for a hot path.
func (s *Spool) Usage() (Usage, error) {
	free, err := freeBytes(s.opts.Dir)
	if err != nil {
		return Usage{}, fmt.Errorf("spool usage: %w", err)
	}
	u := Usage{Disk: usedBytes(s.opts.Dir), Free: free}
	s.mu.Lock()
	for _, g := range s.gens {
		if !g.gone {
			u.Generations++
		}
	}
	s.mu.Unlock()
	s.intake.mu.Lock()
	if s.intake.full != nil {
		u.Full = s.intake.full.Error()
	}
	s.intake.mu.Unlock()
	return u, nil
}
