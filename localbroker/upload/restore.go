package upload

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// restore takes over what an earlier start has left: the transfers and their
// segments from the shelf, and of their files what was acknowledged. What is cut
// short by a crash behind that is cut off; files of nobody are removed.
func (s *Service) restore() error {
	byNumber := map[uint64]*transfer{}
	var stale []string
	err := s.deps.Shelf.Scan(shelfTransfer, "", func(key string, value []byte) bool {
		t, err := decodeTransfer(key, value)
		if err != nil {
			s.deps.Log.Warn("an unfinished file is given up: its record is damaged", "error", err)
			stale = append(stale, strings.Clone(key))
			return true
		}
		byNumber[t.number] = t
		return true
	})
	if err != nil {
		return err
	}
	s.deps.Shelf.Forget(shelfTransfer, stale...)
	if err := s.restoreSegments(byNumber); err != nil {
		return err
	}
	for _, t := range byNumber {
		t.restoreJournal(s.now())
		s.adoptLocked(t)
	}
	slices.SortFunc(s.queue, func(a, b *transfer) int { return cmp.Compare(a.verified.Since, b.verified.Since) })
	return nil
}

func decodeTransfer(key string, value []byte) (*transfer, error) {
	var r transferRecord
	if err := decodeJSON(value, &r); err != nil {
		return nil, err
	}
	if len(key) != 8 || r.ClientID == "" || r.FileID == "" || r.Verified != nil && (len(r.Verified.Sum) != len(checksum{}) || r.Meta == nil) {
		return nil, fmt.Errorf("not a transfer: %q", value)
	}
	if r.Meta != nil {
		r.Meta.value() // while it is nobody else's
	}
	return &transfer{
		pair: pair{r.ClientID, r.FileID}, number: binary.BigEndian.Uint64([]byte(key)), begun: r.Begun,
		meta: r.Meta, metaAge: r.MetaAge, verified: r.Verified, moving: r.Moving, segments: map[span]stored{}, saved: true,
	}, nil
}

// restoreSegments reads the segments of the transfers. Those of others are of
// transfers that have ended: their forgetting was cut short.
func (s *Service) restoreSegments(byNumber map[uint64]*transfer) error {
	var stale []string
	err := s.deps.Shelf.Scan(shelfSegment, "", func(key string, value []byte) bool {
		number, at, ok := parseSegmentKey(key)
		where, good := decodeSegment(value)
		t := byNumber[number]
		if !ok || !good || t == nil {
			stale = append(stale, strings.Clone(key))
			return true
		}
		t.segments[at] = where
		t.end = max(t.end, where.at+at.length)
		return true
	})
	if len(stale) > 0 {
		s.deps.Shelf.Forget(shelfSegment, stale...)
	}
	return err
}

// adoptLocked counts a transfer of an earlier start in. Of two of one pair that
// take segments, which only damage makes, the older goes.
func (s *Service) adoptLocked(t *transfer) {
	if t.verified != nil {
		t.waits = t.weight()
	}
	s.countLocked(t.client, t.waits, 1)
	s.chargeLocked(t, len(t.segments), t.end)
	if t.verified != nil {
		if other := s.leaving[t.pair]; other == nil || other.verified.Since < t.verified.Since {
			s.leaving[t.pair] = t
		}
		s.queue = append(s.queue, t)
		return
	}
	if other := s.open[t.pair]; other != nil {
		if other.begun > t.begun {
			t, other = other, t
		}
		s.open[t.pair] = t
		s.deps.Shelf.Forget(shelfTransfer, transferKey(other.number))
		s.removeLocked(other)
		s.removedLocked(other, nil)
	}
	s.open[t.pair] = t
}
