package metered

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// doubt is what a period was given while nobody vouched for the clock: that may
// have stood in another year. When the clock is right, the monotonic one tells which
// period it was.
type doubt struct {
	period string
	at     bridge.Instant // of the first of its bytes; those of an hour are one
	bytes  int64
}

// transfer is what one period gives to another.
type transfer struct {
	from, to string
	bytes    int64
}

const (
	maxDoubts = 1000             // some six weeks of hours; older ones stay as they were told
	leastStep = 10 * time.Minute // what a clock may be off
	drift     = 1000             // and one part in so many of the time since
	firstYear = 2026             // no clock is believed that it is an earlier one
)

// doubtLocked notes bytes that are counted in the present period.
func (g *Gate) doubtLocked(now bridge.Instant, n int64) {
	if now.Synced || n == 0 {
		return
	}
	if i := len(g.doubts) - 1; i >= 0 && g.doubts[i].period == g.period && now.Mono-g.doubts[i].at.Mono < time.Hour {
		g.doubts[i].bytes += n
		return
	}
	if len(g.doubts) >= maxDoubts {
		g.doubts = g.doubts[1:]
	}
	g.doubts = append(g.doubts, doubt{g.period, now, n})
}

// correctLocked finds what was counted in wrong periods. A clock that is not
// synchronised now either is only believed that it stood ahead: somebody has put it
// back. Who puts it ahead may err.
func (g *Gate) correctLocked(now bridge.Instant) {
	kept := g.doubts[:0]
	for _, d := range g.doubts {
		wall := now.Wall.Add(d.at.Mono - now.Mono)
		ahead, least := d.at.Wall.Sub(wall), leastStep+(now.Mono-d.at.Mono)/drift
		stepped := ahead >= least || now.Synced && ahead <= -least
		if to, _ := g.periodOf(wall); stepped && to != d.period && wall.Year() >= firstYear {
			g.transfers = append(g.transfers, transfer{d.period, to, d.bytes})
			d.period, d.at.Wall = to, wall
		}
		if !now.Synced {
			kept = append(kept, d) // it may be put right once more
		}
	}
	clear(g.doubts[len(kept):])
	g.doubts = kept
}

// owedLocked is what transfers that are not written yet add to a period.
func (g *Gate) owedLocked(period string) (n int64) {
	for _, t := range g.transfers {
		if t.to == period {
			n += t.bytes
		}
		if t.from == period {
			n -= t.bytes
		}
	}
	return n
}

// writeLocked puts the transfers into a batch: each is in one commit.
func (g *Gate) writeLocked(b *bridge.Batch) {
	for _, t := range g.transfers {
		b.Add(namespace, g.key(t.from), -t.bytes)
		b.Add(namespace, g.key(t.to), t.bytes)
	}
	g.transfers = nil
}
