package localbroker

import (
	"slices"
	"time"
)

// backlog is the queue of one owner on the shelf. Memory holds counters, what
// is in flight and a little that was read ahead; the messages are on the shelf
// from their commit until the device acknowledges them. It is guarded by its
// owner.
//
// An entry is given its ordinal before its commit and arrives after it; what
// fails leaves a hole. Arrivals go straight into memory while nothing older is
// on the shelf only, and else wait there for the reader (readahead.go).
type backlog struct {
	store *store
	owner uint64
	next  uint64 // last ordinal given
	count int    // entries, those in flight and those to be committed included
	bytes int64  // what they count

	pending []uint64 // given an ordinal and not arrived, ascending
	again   []sent   // in flight when the last connection ended: first to be read
	skip    []uint64 // of again, ascending: the lanes pass over them
	old     lane     // stored while the device was away, when that is paced
	live    lane     // the rest; its end is open
	stored  uint64   // entries up to here were stored while the device was away

	soonest uint32        // no entry that is on the shelf only expires before; 0: none does
	looks   time.Duration // age before which it is not looked through for expired ones

	restored uint64 // entries up to here are of an earlier start
	begun    int    // how many of them may have been sent by it

	epoch   int // a reading that began in another one is void
	reading bool
	gone    bool // the owner has ended
}

// lane is a range of ordinals, left of which are in it on the shelf only.
type lane struct {
	from, to uint64
	left     int
}

// sent is a delivery that waits for a PUBACK which may never come.
type sent struct {
	ordinal uint64
	id      uint16 // packet id
}

func newBacklog(s *store, owner uint64) *backlog {
	return &backlog{store: s, owner: owner, live: lane{from: 1}}
}

// fits reports whether one more entry may be kept.
func (k *backlog) fits(size int, l LimitOptions, total int64) bool {
	return k.count < l.QueueMessages &&
		k.bytes+int64(size) <= int64(l.QueueSize) &&
		k.store.bytes.Load()+int64(size) <= total
}

// reserve gives d its place.
func (k *backlog) reserve(d *delivery) {
	k.next++
	d.kept = entry{owner: k.owner, ordinal: k.next, size: uint32(d.size), expires: expiryOf(d)}
	k.due(d.kept.expires)
	k.pending = append(k.pending, k.next)
	k.charge(d, 1)
}

func (k *backlog) charge(d *delivery, sign int) {
	if k.gone {
		return
	}
	k.count += sign
	k.bytes += int64(sign) * int64(d.kept.size)
	k.store.bytes.Add(int64(sign) * int64(d.kept.size))
}

// settle notes that the place of an ordinal is decided.
func (k *backlog) settle(ordinal uint64) {
	if i, found := slices.BinarySearch(k.pending, ordinal); found {
		k.pending = slices.Delete(k.pending, i, i+1)
	}
}

// undo takes back a place whose commit failed.
func (k *backlog) undo(d *delivery) {
	k.settle(d.kept.ordinal)
	k.charge(d, -1)
}

// arrive says where a committed entry is to be found: in memory, if there is
// room and its turn has come, else on the shelf.
func (k *backlog) arrive(d *delivery, present, room bool) (memory bool) {
	o := d.kept.ordinal
	k.settle(o)
	switch {
	case !present:
		k.live.from = min(k.live.from, o)
		k.live.left++
		return false
	case o >= k.old.from && o < k.old.to:
		k.old.left++
		return false
	case o >= k.live.from:
		if k.live.left > 0 || len(k.again) > 0 || !room {
			k.live.left++
			return false
		}
		k.live.from = o + 1
	}
	return true // what the reader has passed goes the short way
}

// remove forgets an entry that is done with.
func (k *backlog) remove(d *delivery) {
	k.charge(d, -1)
	k.store.drop(d.kept)
}

// end gives up the whole backlog. What is on the shelf is for erase.
func (k *backlog) end() {
	k.store.bytes.Add(-k.bytes)
	k.count, k.bytes, k.gone = 0, 0, true
	k.epoch++
}

// attach prepares for a new connection: with pace, what is there is a lane of
// its own beside what comes.
func (k *backlog) attach(paced bool) {
	k.epoch++
	k.skip = k.skip[:0]
	for _, s := range k.again {
		k.skip = append(k.skip, s.ordinal)
	}
	slices.Sort(k.skip)
	k.old, k.stored = lane{}, 0
	if k.live.left > 0 {
		k.stored = k.next
	}
	if paced && k.live.left > 0 {
		k.old = lane{from: k.live.from, to: k.next + 1, left: k.live.left}
		k.live = lane{from: k.next + 1}
	}
}

// wasStored reports whether d waited for its device, and was not merely read
// from the shelf because it came faster than it could leave.
func (k *backlog) wasStored(d *delivery) bool { return d.kept.ordinal <= k.stored }

// detach gives back what memory holds when a connection ends: flight in the
// order of sending, waiting in no order.
func (k *backlog) detach(flight, waiting []*delivery) {
	k.epoch++
	from, left := k.next+1, k.old.left+k.live.left
	if k.old.left > 0 {
		from = k.old.from
	} else if k.live.left > 0 {
		from = k.live.from
	}
	unread := k.again
	k.again = nil
	for _, d := range flight {
		if d.kept.ordinal > 0 && d.from == nil {
			k.again = append(k.again, sent{d.kept.ordinal, d.id})
		}
	}
	for _, d := range waiting {
		switch {
		case d.kept.ordinal == 0 || d.from != nil:
		case d.id != 0: // was in flight on an earlier connection already
			k.again = append(k.again, sent{d.kept.ordinal, d.id})
		default:
			from = min(from, d.kept.ordinal)
			left++
		}
	}
	k.again = append(k.again, unread...)
	slices.SortStableFunc(k.again, func(a, b sent) int {
		switch {
		case a.ordinal < b.ordinal:
			return -1
		case a.ordinal > b.ordinal:
			return 1
		default:
			return 0
		}
	})
	k.old, k.live = lane{}, lane{from: from, left: left}
	if left > 0 {
		k.due(1) // what memory had was not looked at
	}
}

// behind reports whether anything is on the shelf only.
func (k *backlog) behind() bool { return len(k.again)+k.old.left+k.live.left > 0 }

// readable is where a lane's reading must stop: before what is not committed.
func (k *backlog) readable(l lane) uint64 {
	end := k.next + 1
	if l.to > 0 {
		end = l.to
	}
	if i, _ := slices.BinarySearch(k.pending, l.from); i < len(k.pending) {
		end = min(end, k.pending[i])
	}
	return end
}
