package spool

import "github.com/ebbgate/ebbgate/bridge"

// A batch for live records that appends is a move: of records to another queue, or
// of what is made of them. Its release is known when the commit that appends is
// carried over to the state, and by then somebody else may have released the record
// there, because a cloud has just taken it: the message would be in the ledger of
// both queues, as delivered in the one and as accepted in the other.
//
// So the state keeper claims the places first. While they are claimed what others
// release of them waits: it is nothing when the move is carried over, and counts
// when the move comes to nothing.

// recordPlace is where a record is.
type recordPlace struct {
	queue string
	place bridge.Place
}

func placeOf(r bridge.Release) recordPlace { return recordPlace{r.Queue, r.Place} }

// claim is what others have released of a place meanwhile.
type claim []bridge.Release

// commitMove claims the places that a batch releases, and appends then.
func (s *Spool) commitMove(b *bridge.Batch, done func(bridge.Seq, error)) {
	s.hand(&change{Batch: new(bridge.Batch), claims: b.Releases, done: func(_ bridge.Seq, err error) {
		if err != nil {
			done(0, err)
			return
		}
		end := func(seq bridge.Seq, err error) {
			if err != nil { // the keeper may be who tells, and must not wait for itself
				go s.hand(&change{Batch: new(bridge.Batch), unclaims: b.Releases})
			}
			done(seq, err)
		}
		if err := s.intake.put(b, end); err != nil {
			end(0, err)
		}
	}})
}

// claim claims places, unless one of them is released, or claimed. [the keeper's]
func (s *Spool) claim(list []bridge.Release) error {
	for _, r := range list {
		if _, taken := s.claimed[placeOf(r)]; taken || s.Released(r.Queue, r.Place) {
			return bridge.ErrReleased
		}
	}
	for _, r := range list {
		s.claimed[placeOf(r)] = nil
	}
	return nil
}

// unclaim ends claims, and returns what has waited for that. [the keeper's]
func (s *Spool) unclaim(list []bridge.Release) (out []bridge.Release) {
	for _, r := range list {
		out = append(out, s.claimed[placeOf(r)]...)
		delete(s.claimed, placeOf(r))
	}
	return out
}

// waits reports whether a release of a change waits for the end of a move. It is
// noted when the change is written. [the keeper's]
func (s *Spool) waits(c *change, r bridge.Release) bool {
	_, taken := s.claimed[placeOf(r)]
	return taken && !c.owns(r)
}

// settleClaims ends the claims of the moves that are carried over by a change, and
// keeps what it releases of other claimed places. [the keeper's]
func (s *Spool) settleClaims(c *change) {
	if len(s.claimed) == 0 || c.late {
		return
	}
	for _, r := range c.Releases {
		switch at := placeOf(r); {
		case s.waits(c, r):
			s.claimed[at] = append(s.claimed[at], r)
		default:
			delete(s.claimed, at)
		}
	}
}

// owns reports whether the change is the move that has claimed a place.
func (c *change) owns(r bridge.Release) bool {
	for _, o := range c.moves {
		if placeOf(o) == placeOf(r) {
			return true
		}
	}
	return false
}
