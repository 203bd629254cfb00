package upload

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Sweep gives up what is too old: segments and metadata by their own ages, as
// EMQX does, and transfers that have lasted too long. What is being
// assembled or exported stays (F43). Of the exported files it forgets the oldest,
// and with expire_at: remove or keep_for it removes those that have expired.
func (s *Service) Sweep() { s.sweep(context.Background()) }

func (s *Service) sweep(ctx context.Context) {
	now := s.now()
	s.mu.Lock()
	_ = s.storeLocked() // what is wrong stands in the warning
	var steps []step
	for _, t := range s.open {
		if t.job != nil || t.users > 0 {
			continue
		}
		if puts := s.ageLocked(t, now); len(puts) > 0 {
			// What could not be written comes back at a start, and goes with the next sweep.
			st := step{client: t.client, puts: puts, done: func(error) {}}
			if t.gone {
				st.done = func(err error) { s.removed(t, err) }
			}
			steps = append(steps, st)
		}
	}
	for _, list := range []map[pair]*transfer{s.open, s.leaving} {
		for _, t := range list {
			if t.users == 0 {
				s.closeLocked(t) // it is opened again when it is needed
			}
		}
	}
	s.mu.Unlock()
	for _, st := range steps {
		s.sync.add(st)
	}
	s.allowed.forget()
	s.looks.forget()
	if err := s.sweepExported(ctx, now); err != nil {
		s.deps.Log.Warn("exported files could not be looked through", "error", err)
	}
	s.abandon(ctx)
}

// abandon has the target give up what it has begun of files that are not here any
// more.
func (s *Service) abandon(ctx context.Context) {
	err := s.deps.Target.Abandon(ctx, func(clientID, fileID string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		p := pair{clientID, fileID}
		return s.open[p] != nil || s.leaving[p] != nil
	})
	if err != nil && ctx.Err() == nil {
		s.deps.Log.Warn("what is left of exports that were given up could not be removed yet; it is tried again every minute", "error", err)
	}
}

// ageLocked gives up what is too old of a transfer.
func (s *Service) ageLocked(t *transfer, now time.Duration) []bridge.Put {
	ttl := s.opts.MaxTTL
	if t.meta != nil && t.meta.SegmentsTTL != nil {
		asked := time.Duration(min(*t.meta.SegmentsTTL, int64(s.opts.MaxTTL/time.Second))) * time.Second
		ttl = max(asked, s.opts.MinTTL)
	}
	old := func(age uint32) bool { return time.Duration(age)*time.Second+ttl <= now }
	changed := t.meta != nil && old(t.metaAge)
	if changed {
		t.meta = nil
	}
	var keys []string
	var holes []piece
	for at, where := range t.segments {
		if old(where.age) {
			delete(t.segments, at)
			s.chargeLocked(t, -1, 0)
			keys = append(keys, segmentKey(t.number, at))
			holes = append(holes, piece{at, where})
		}
	}
	if len(keys) > 0 {
		s.deps.Shelf.Forget(shelfSegment, keys...)
	}
	switch {
	case t.begun+s.opts.Lifetime <= now || t.meta == nil && len(t.segments) == 0:
		s.deps.Drops.Count("file-expired", t.client, rootSync+t.file)
		s.removeLocked(t)
		return []bridge.Put{t.forgotten()}
	case len(holes) > 0:
		s.punchLocked(t, holes)
	}
	if changed {
		return []bridge.Put{t.record()}
	}
	return nil
}

// punchLocked gives back the room of segments that count no more, where the file
// system can; else it counts until the transfer ends.
func (s *Service) punchLocked(t *transfer, holes []piece) {
	if err := s.openLocked(t); err != nil {
		s.deps.Log.Warn("the room of expired segments is not given back before their transfer ends", "client", t.client, "error", err)
		return
	}
	slices.SortFunc(holes, func(a, b piece) int { return cmp.Compare(a.at, b.at) })
	for len(holes) > 0 { // what stands side by side goes at once: only whole blocks are given back
		from, n := holes[0].at, 1
		to := from + holes[0].length
		for ; n < len(holes) && holes[n].at == to; n++ {
			to += holes[n].length
		}
		if err := punch(t.data.File, from, to-from); err != nil {
			s.deps.Log.Warn("the room of expired segments is not given back before their transfer ends", "client", t.client, "error", err)
			return
		}
		s.chargeLocked(t, 0, -min(to-from, t.charged))
		holes = holes[n:]
	}
}
