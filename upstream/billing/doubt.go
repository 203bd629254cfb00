package billing

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A clock that nobody vouches for may stand years ahead, and be put right. What was
// metered meanwhile would be in a month that nobody looks at until it comes. So the
// meter remembers the hours that such a clock has told while this process ran, and
// when that was by the monotonic clock: when the wall clock is right, it knows which
// hours they were, and moves what they have. They keep the mark of unsynchronised
// hours. What a synchronised clock told stays, and so does [hourUnknown], which is
// of no hour.

// doubt is an hour of the ledger that an unsynchronised clock told, and when it did
// so first.
type doubt struct {
	hour string
	at   bridge.Instant
	seen time.Duration // on the monotonic clock: when it was first found wrong; 0: it was not
}

const (
	maxDoubts    = 1000 // some six weeks of hours; older ones stay as they were told
	correctEvery = 10 * time.Second
	leastStep    = 10 * time.Minute // a clock that is this little off tells the hour well enough
	drift        = 1000             // and one part in so many of the time since: who sets a bad clock every hour has put none right
	doubtLasts   = 10 * time.Minute // that what is still to be committed may come to a wrong hour
)

// keyMoves counts the moves, so that sums which were kept are summed again. No
// series has such a key.
const keyMoves = "moves"

// doubtLocked notes the present hour when nobody vouches for it.
func (m *Meter) doubtLocked(hour string, at bridge.Instant) {
	if at.Synced || hour == hourUnknown || slices.ContainsFunc(m.doubts, func(d doubt) bool { return d.hour == hour }) {
		return
	}
	if len(m.doubts) >= maxDoubts {
		m.doubts = slices.Delete(m.doubts, 0, 1)
	}
	m.doubts = append(m.doubts, doubt{hour: hour, at: at})
}

// was is when a doubt's hour was told first, by what the clock tells now, and
// whether that is another hour. A clock that is not synchronised now either is only
// believed that it stood ahead: somebody has put it back. Who puts it ahead may err.
func (d doubt) was(now bridge.Instant) (wall time.Time, wrong bool) {
	wall = now.Wall.Add(d.at.Mono - now.Mono)
	ahead, least := d.at.Wall.Sub(wall), leastStep+(now.Mono-d.at.Mono)/drift
	if ahead < least && (!now.Synced || ahead > -least) {
		return wall, false
	}
	hour := hourOf(wall, false)
	return wall, hour != d.hour && hour != hourUnknown
}

// correct moves what is in hours that turn out to be wrong. What fails is tried
// again.
func (m *Meter) correct(ctx context.Context) {
	now := m.now()
	m.mu.Lock()
	all := slices.Clone(m.doubts)
	m.mu.Unlock()
	for _, d := range all {
		wall, wrong := d.was(now)
		switch {
		case !wrong && now.Synced:
			m.forget(d.hour)
		case wrong:
			to := hourOf(wall, false)
			if !now.Synced { // it may be put right once more
				m.mu.Lock()
				m.doubtLocked(to, bridge.Instant{Wall: wall, Mono: d.at.Mono})
				m.mu.Unlock()
			}
			if m.move(ctx, d.hour, to) != nil {
				return // the disk fails, and others say so
			}
			if d.seen > 0 && now.Mono-d.seen > doubtLasts {
				m.forget(d.hour)
			} else if d.seen == 0 {
				m.found(d.hour, now.Mono)
			}
		}
	}
}

// forget drops a doubt.
func (m *Meter) forget(hour string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubts = slices.DeleteFunc(m.doubts, func(d doubt) bool { return d.hour == hour })
}

// found notes when a doubt was first found wrong.
func (m *Meter) found(hour string, now time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.doubts {
		if m.doubts[i].hour == hour {
			m.doubts[i].seen = now
		}
	}
}

// move takes what an hour has to another one. Each commit takes from the one what
// it gives to the other: no crash counts anything twice, and what is added
// meanwhile stays for the next time.
func (m *Meter) move(ctx context.Context, from, to string) error {
	for last := ""; ; {
		var b bridge.Batch
		err := m.spool.Scan(Namespace, from+sep, func(key string, value []byte) bool {
			_, s, kind, ok := parseKey(key)
			if !ok || len(value) != 8 || key <= last {
				return true
			}
			last = key
			if n := int64(binary.BigEndian.Uint64(value)); n != 0 {
				b.Add(Namespace, key, -n)
				b.Add(Namespace, s.key(to)+string(kind), n)
			}
			return len(b.Adds) < 2*foldBatch
		})
		if err != nil || b.Empty() || ctx.Err() != nil {
			return err
		}
		b.Add(Namespace, keyMoves, 1)
		if err := commit(ctx, m.spool, &b); err != nil {
			return err
		}
	}
}
