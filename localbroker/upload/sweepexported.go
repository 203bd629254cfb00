package upload

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// What is remembered of exported files: long enough for any device that has lost
// an answer.
const (
	rememberFor  = 30 * 24 * time.Hour
	rememberMost = 100_000

	// With a time to keep them, so many are remembered: of one that is forgotten nobody
	// knows any more that it is to go.
	rememberKept = 1_000_000
)

// remembered is what is known of the records of exported files without reading them: a
// million takes seconds of the processor.
type remembered struct {
	count   int           // at most
	due     time.Duration // on the shelf's clock: none is to go before; 0: not known
	expires int64         // nor by an expire_at, seconds since 1970; 0: there is none
}

// lookEvery is the time between two readings for those that have been there for long
// enough; where that is less than days it is a sixtieth of it. Nobody waits for their end.
const lookEvery = time.Hour

// note takes one in.
func (r *remembered) note(s *Service, e *exported) {
	r.count++
	switch {
	case s.dated(e):
		if at := max(*e.Meta.ExpireAt, 1); r.expires == 0 || at < r.expires {
			r.expires = at
		}
	case s.opts.Export.KeepFor > 0:
		r.due = min(r.due, e.At+s.opts.Export.KeepFor)
	default:
		r.due = min(r.due, e.At+rememberFor)
	}
}

// mostRemembered is how many are.
func (s *Service) mostRemembered() int {
	if s.opts.Export.KeepFor > 0 {
		return rememberKept
	}
	return rememberMost
}

// looksLocked reports whether the exported files are to be looked through, and begins to
// note anew what there is.
func (s *Service) looksLocked(now time.Duration) bool {
	wall, synced := s.deps.Wall()
	r := &s.exports
	if now < r.due && (r.expires == 0 || !synced || wall.Unix() < r.expires) && r.count <= s.mostRemembered() {
		return false
	}
	*r = remembered{due: math.MaxInt64}
	return true
}

// lookedLocked notes what is left.
func (s *Service) lookedLocked(now time.Duration, again bool, found remembered) {
	r, rest := &s.exports, lookEvery
	if k := s.opts.Export.KeepFor; k > 0 {
		rest = min(rest, k/60)
	}
	r.count += found.count
	r.due = min(r.due, max(found.due, now+rest))
	if found.expires > 0 && (r.expires == 0 || found.expires < r.expires) {
		r.expires = found.expires
	}
	if again {
		r.due = now
	}
}

// sweepExported looks through what is remembered of exported files.
func (s *Service) sweepExported(ctx context.Context, now time.Duration) error {
	s.mu.Lock()
	looks := s.looksLocked(now)
	s.mu.Unlock()
	if !looks {
		return nil
	}
	found, again := remembered{due: math.MaxInt64}, false
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lookedLocked(now, again, found)
	}()
	type entry struct {
		key string
		at  time.Duration
	}
	var left []entry
	var forget []string
	var expired []exported
	wall, synced := s.deps.Wall()
	err := s.deps.Shelf.Scan(shelfFile, "", func(key string, value []byte) bool {
		var e exported
		switch err := decodeJSON(value, &e); {
		case err != nil || e.Meta == nil || e.At+rememberFor <= now && !s.removes(&e):
			forget = append(forget, strings.Clone(key))
		case s.dated(&e) && synced && *e.Meta.ExpireAt <= wall.Unix(), !s.dated(&e) && s.opts.Export.KeepFor > 0 && e.At+s.opts.Export.KeepFor <= now:
			expired = append(expired, e)
		default:
			left = append(left, entry{strings.Clone(key), e.At})
			found.note(s, &e)
		}
		return true
	})
	again = err != nil
	most := s.mostRemembered()
	if n := len(left) - most; n > 0 {
		n += most / 100 // not again with the next
		found.count -= n
		slices.SortFunc(left, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
		for _, e := range left[:n] {
			forget = append(forget, e.key)
		}
		if s.opts.Export.KeepFor > 0 {
			s.deps.Log.Warn("so many files are exported that the oldest are forgotten, and stay for good: remove them, or shorten file_transfer.export.keep_for", "forgotten", n, "remembered", most)
		}
	}
	for _, e := range expired { // F55
		if err := s.deps.Target.Remove(ctx, e.Place); err != nil {
			s.deps.Log.Warn("an exported file that has expired could not be removed", "client", e.ClientID, "file", e.FileID, "error", err)
			if bridge.OfTarget(err) {
				again = true
				break
			}
			if !bridge.OfFile(err) { // else it is where files do not go any more
				again = true
				continue
			}
		}
		forget = append(forget, pair{e.ClientID, e.FileID}.key())
	}
	if len(forget) > 0 {
		s.deps.Shelf.Forget(shelfFile, forget...)
	}
	return err
}

// dated reports whether an exported file goes by the time that its device gave.
func (s *Service) dated(e *exported) bool {
	return s.opts.Export.ExpireAt == expireRemove && e.Meta.ExpireAt != nil
}

// removes reports whether an exported file is removed some day: so long it is
// remembered.
func (s *Service) removes(e *exported) bool { return s.dated(e) || s.opts.Export.KeepFor > 0 }
