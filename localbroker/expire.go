package localbroker

import (
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"
)

// What waits on the shelf and has expired is looked for by time, so that a queue
// full of it takes new messages, though nobody reads it (B118). The time is in the
// entry's key: a look lists keys and reads no message. It costs as much as
// there are entries, and is made at most once in lookEvery for each queue that has
// something expired; one block of a queue is looked at at a time, and nobody waits
// for it.
const lookEvery = 5 * time.Second

// expiryOf is a time as keys have it: whole seconds of the shelf's clock, not
// before it. What a device may have begun to receive with QoS 2 is ended with it
// and does not just go.
func expiryOf(d *delivery) uint32 {
	n := (d.expires + time.Second - 1) / time.Second
	if d.qos == 2 || n > math.MaxUint32 {
		return 0
	}
	return uint32(n)
}

func (e entry) expired(now time.Duration) bool {
	return e.expires > 0 && time.Duration(e.expires)*time.Second <= now
}

// due notes when an entry expires.
func (k *backlog) due(expires uint32) {
	if expires > 0 && (k.soonest == 0 || expires < k.soonest) {
		k.soonest = expires
	}
}

// lookLocked looks for expired entries when there are some and it is time. The
// owner is locked, by mu; resume is what it does when a reading has ended.
func (k *backlog) lookLocked(b *Broker, name string, now time.Duration, mu sync.Locker, resume func()) {
	if k.reading || k.gone || now < k.looks || !(entry{expires: k.soonest}).expired(now) {
		return
	}
	k.reading, k.soonest, k.looks = true, 0, now+lookEvery // what comes meanwhile notes its own
	l := &look{backlog: k, now: now, epoch: k.epoch}
	for _, lane := range []lane{k.old, k.live} {
		if lane.left > 0 {
			l.ranges = append(l.ranges, [2]uint64{lane.from, k.readable(lane)})
		}
	}
	if len(k.pending) > 0 { // which are not looked at
		k.due(1)
	}
	go b.guard(func() {
		b.reading <- struct{}{}
		defer func() { <-b.reading }()
		n, err := l.run(mu)
		b.drops.MissedAll("expired", n, name, "")
		if err != nil {
			b.quiet.warn("shelf", "a queue cannot be looked through for what has expired, it is tried again", slog.String("queue", name), slog.String("error", err.Error()))
		}
		mu.Lock()
		defer mu.Unlock()
		k.reading = false
		resume()
	})
}

// look is one look through a backlog.
type look struct {
	*backlog
	now    time.Duration
	epoch  int
	ranges [][2]uint64 // of ordinals
}

// run forgets what has expired, and says how many that were. A connection that
// comes or goes meanwhile ends it: the rest is looked at next time.
func (l *look) run(mu sync.Locker) (n int, err error) {
	for _, r := range l.ranges {
		for at := r[0]; at < r[1]; at = (at/blockSize + 1) * blockSize {
			gone, soonest, err := l.block(at, r[1])
			mu.Lock()
			if err != nil || l.backlog.epoch != l.epoch {
				l.due(1)
				mu.Unlock()
				return n, err
			}
			for _, e := range gone {
				if l.expire(e) {
					n++
				}
			}
			l.due(soonest)
			mu.Unlock()
		}
	}
	return n, nil
}

// block lists the expired entries of a block from an ordinal on, and says when the
// next one expires. It is called without the owner's lock.
func (l *look) block(from, to uint64) (gone []entry, soonest uint32, err error) {
	l.store.flush() // what was forgotten must not be forgotten again
	err = l.store.Keys(shelfQueue, blockPrefix(l.owner, from), func(key string) bool {
		e, ok := parseEntry(key)
		switch {
		case !ok || e.ordinal < from || e.ordinal >= to || e.expires == 0:
		case e.expired(l.now):
			gone = append(gone, e)
		case soonest == 0 || e.expires < soonest:
			soonest = e.expires
		}
		return true
	})
	return gone, soonest, err
}

// expire forgets an entry that is on the shelf only. What was in flight is for
// who reads it.
func (k *backlog) expire(e entry) bool {
	if holds(k.skip, e.ordinal) || slices.ContainsFunc(k.again, func(x sent) bool { return x.ordinal == e.ordinal }) {
		return false
	}
	switch {
	case k.old.left > 0 && e.ordinal >= k.old.from && e.ordinal < k.old.to:
		k.old.left--
	case k.live.left > 0 && e.ordinal >= k.live.from:
		k.live.left--
	default:
		return false
	}
	k.remove(&delivery{kept: e})
	return true
}

// sweep looks for what has expired in the queues of share groups.
func (g *groups) sweep(now time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.byName {
		x.mu.Lock()
		if !x.ended {
			x.keep.lookLocked(g.broker, x.filter.text, now, &x.mu, x.readAheadLocked)
		}
		x.mu.Unlock()
	}
}
