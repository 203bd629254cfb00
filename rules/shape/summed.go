package shape

import (
	"fmt"

	"github.com/ebbgate/ebbgate/bridge"
)

// Summed is what is known of a record of a raw queue that is no message but a part of
// a window, the gateway's own.
type Summed struct {
	ID    bridge.MessageID // the message that it will be in
	Count int64            // messages that are summed up in it
}

// SummedIn reports whether a record is a part of a window. Of one that cannot be read
// nothing else is known.
func SummedIn(r *bridge.Record) (s Summed, ok bool) {
	if !isPartial(r) {
		return Summed{}, false
	}
	if part, err := decodeAggregate(r.Payload); err == nil {
		s = Summed{part.ID, part.Count}
	}
	return s, true
}

// Text says what it is, for a person.
func (s Summed) Text() string {
	if s.Count == 0 {
		return "a part of a window, which this version cannot read"
	}
	return fmt.Sprintf("a part of a window, with %d messages", s.Count)
}

// IsPart reports whether an id is that of a part of a message that went in several
// ([Options].Split), but the first, which has the id of the whole.
func IsPart(id, whole bridge.MessageID) bool {
	return id[8]&0xF0 == 0x80 && whole[8]&0x80 == 0 && [8]byte(id[:8]) == [8]byte(whole[:8]) && [6]byte(id[10:]) == [6]byte(whole[10:])
}

// Message is a record as it may leave the raw queue past all steps: a part of a window
// as the message of a window of its own, everything else as it is.
func Message(s *bridge.Stored) (*bridge.Record, *bridge.Receiver, error) {
	if !isPartial(s.Record) {
		return s.Record, s.Receiver, nil
	}
	it := &item{rec: s.Record, to: s.Receiver}
	if it = it.summedUp(); isPartial(it.rec) {
		return nil, nil, fmt.Errorf("%s: what it sums up would be lost on anybody else", Summed{}.Text())
	}
	return it.rec, it.to, nil
}

// Summed implements [bridge.Summing].
func (l *line) Summed(r *bridge.Record) (bridge.MessageID, string) {
	s, ok := SummedIn(r)
	if !ok {
		return r.ID, ""
	}
	return s.ID, s.Text()
}
