package bridge

import (
	"cmp"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// DropHour is how many messages of one queue were dropped for one reason in one
// hour.
type DropHour struct {
	Hour   time.Time // its beginning, UTC
	Synced bool      // the clock was synchronised
	Reason string
	Queue  string
	Count  int64
}

// Entries calls fn for what the log holds, in the order of dropping but for what
// several upstreams dropped at once, until it returns false. The entry is fn's
// only until it returns. What is on its way into the log is waited for.
func (l *DropLog) Entries(fn func(*DropEntry) bool) error {
	return l.History(func(e *DropEntry) bool { return e.MovedTo() != "" || fn(e) })
}

// scanBlocks calls fn for the blocks of a log until it wants no more. A damaged
// block is told of at the end, and the others are read.
func scanBlocks(s Spool, namespace string, fn func(block []byte) (more bool, err error)) error {
	var damaged error
	err := s.Scan(namespace, "", func(_ string, block []byte) bool {
		more, err := fn(block)
		if err != nil {
			damaged = err
		}
		return more
	})
	return cmp.Or(err, damaged)
}

// Hours calls fn for the sums by hour, reason and queue, the oldest hour first,
// until it returns false.
func (l *DropLog) Hours(fn func(DropHour) bool) error {
	if l.book == nil {
		return nil
	}
	return l.book.spool.Scan(nsHours, "", func(key string, value []byte) bool {
		h, ok := parseHour(key)
		if !ok || len(value) != 8 {
			return true
		}
		h.Count = counterValue(value)
		return fn(h)
	})
}

func parseHour(key string) (DropHour, bool) {
	when, rest, _ := strings.Cut(key, "/")
	reason, queue, ok := strings.Cut(rest, "/")
	if !ok || len(when) != 9 {
		return DropHour{}, false
	}
	n, err := strconv.ParseUint(when[:8], 16, 32)
	return DropHour{Hour: time.Unix(int64(n)*3600, 0).UTC(), Synced: when[8] == 's', Reason: reason, Queue: queue}, err == nil
}

func counterValue(v []byte) int64 { return int64(binary.BigEndian.Uint64(v)) }
