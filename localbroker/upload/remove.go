package upload

import (
	"os"

	"github.com/ebbgate/ebbgate/bridge"
)

// leaveLocked gives the transfer's file back.
func (s *Service) leaveLocked(t *transfer) {
	t.users--
	if t.users == 0 && (t.gone || s.opened > keepOpen) {
		s.closeLocked(t)
	}
	if t.users == 0 && t.over {
		_ = os.Remove(s.path(t)) // the next start removes what stays
	}
}

// abort gives up a transfer; one that is being assembled is not.
func (s *Service) abort(p pair, answer func(error)) {
	s.mu.Lock()
	t := s.open[p]
	known := t != nil && t.job == nil
	if known {
		s.removeLocked(t)
		s.sync.add(step{client: p.client, puts: []bridge.Put{t.forgotten()}, done: func(err error) {
			s.removed(t, err)
			answer(err)
		}})
	}
	s.mu.Unlock()
	if !known {
		answer(nil)
	}
}

// forgotten takes the durable state away.
func (t *transfer) forgotten() bridge.Put {
	return bridge.Put{Namespace: shelfTransfer, Key: transferKey(t.number)}
}

// removeLocked takes a transfer away that is there: its id is free, and what it held
// counts no more. The caller puts its end on the shelf, and tells removed what became of
// that. What the disk has of the transfer stays until then: a kill before, or a commit
// that fails, has it come back as it was, a verified one with all that it is made of.
func (s *Service) removeLocked(t *transfer) {
	for _, list := range []map[pair]*transfer{s.open, s.leaving} {
		if list[t.pair] == t {
			delete(list, t.pair)
		}
	}
	s.chargeLocked(t, -len(t.segments), -t.charged)
	t.gone = true
	s.countLocked(t.client, t.waits, -1)
	t.users++
}

// removed is told whether the end of a transfer is on the shelf.
func (s *Service) removed(t *transfer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removedLocked(t, err)
}

func (s *Service) removedLocked(t *transfer, err error) {
	if err == nil {
		t.over = true
		keys := make([]string, 0, len(t.segments))
		for at := range t.segments {
			keys = append(keys, segmentKey(t.number, at))
		}
		if len(keys) > 0 {
			s.deps.Shelf.Forget(shelfSegment, keys...)
		}
		t.segments = nil
	}
	s.leaveLocked(t)
}
