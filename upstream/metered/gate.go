package metered

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// namespace holds the bytes that were used: upstream/period → counter.
const namespace = "link-budget"

// unwritten is how many bytes are not worth a commit of their own: what a crash
// may leave uncounted, besides those of the last release.
const unwritten = 4 << 10

// Gate is the [bridge.Gate] of one upstream.
type Gate struct {
	upstream string
	options  Options
	loc      *time.Location
	windows  []window
	spool    bridge.Spool
	now      func() bridge.Instant

	carried atomic.Int64 // bytes not in used yet

	mu     sync.Mutex
	open   span // around the last look; or what is closed around it, when isOpen is not set
	isOpen bool
	period string // the present one
	turned time.Time
	until  time.Time // from turned to here it is this one
	used   int64     // in it, written or about to be

	doubts    []doubt    // oldest first
	transfers []transfer // that are in used, and not written
}

var _ bridge.Gate = (*Gate)(nil)

// New makes the gate of an upstream, whose options are valid, on what the spool
// knows of the bytes used. now is [bridge.Clock.Now].
func New(upstream string, o Options, spool bridge.Spool, now func() bridge.Instant) (*Gate, error) {
	loc, err := o.location()
	if err != nil {
		return nil, fmt.Errorf("gate of %s: %w", upstream, err)
	}
	g := &Gate{upstream: upstream, options: o, loc: loc, spool: spool, now: now}
	for _, text := range o.Windows {
		w, err := parseWindow(text)
		if err != nil {
			return nil, fmt.Errorf("gate of %s: %w", upstream, err)
		}
		g.windows = append(g.windows, w)
	}
	return g, nil
}

// Carried counts bytes that the link has carried.
func (g *Gate) Carried(n int) { g.carried.Add(int64(n)) }

// Open implements [bridge.Gate].
func (g *Gate) Open(priority int) bool {
	if priority >= g.options.Override {
		return true
	}
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inWindowLocked(now.Wall) && g.leftLocked(now) > 0
}

// Account implements [bridge.Gate].
func (g *Gate) Account(b *bridge.Batch) {
	g.account(b, unwritten)
}

// Rest puts all that is not written yet into a batch, however little it is: a gate that
// is replaced leaves nothing uncounted.
func (g *Gate) Rest(b *bridge.Batch) { g.account(b, 1) }

// account does so, unless there is nothing else and less than so many bytes.
func (g *Gate) account(b *bridge.Batch, least int64) {
	if g.options.Budget == 0 {
		return
	}
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.Empty() && g.carried.Load() < least && len(g.transfers) == 0 {
		return
	}
	g.turnLocked(now)
	g.writeLocked(b)
	if n := g.carried.Swap(0); n > 0 {
		b.Add(namespace, g.key(g.period), n)
		g.used += n
		g.doubtLocked(now, n)
	}
}

// State is how a gate stands.
type State struct {
	Open   bool      // for messages below Override
	Next   time.Time // when it will be otherwise, as far as windows and periods tell; zero for never
	Budget int64     // bytes of the period, 0 for no budget
	Used   int64
	Period string // "2026-11-21" or "2026-11"
	Why    string // not open: what keeps it closed
}

// State tells how the gate stands now.
func (g *Gate) State() State {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := State{Budget: int64(g.options.Budget)}
	inWindow, left := g.inWindowLocked(now.Wall), g.leftLocked(now)
	if s.Budget > 0 {
		s.Period, s.Used = g.period, g.used+g.carried.Load()
	}
	s.Open = inWindow && left > 0
	switch {
	case s.Open:
		s.Next = g.open.to
	case left > 0:
		s.Next, s.Why = g.open.to, "outside of its windows"
	default:
		s.Next, s.Why = g.until, fmt.Sprintf("the budget of this %s is used up", g.options.Per)
		if at := spans(g.windows, g.until, g.loc); len(g.windows) > 0 {
			s.Next = opening(at, g.until)
		}
	}
	return s
}

// opening is the first moment at or after t that one of the spans holds.
func opening(list []span, t time.Time) time.Time {
	for _, s := range list {
		if s.to.After(t) {
			if s.from.After(t) {
				return s.from
			}
			return t
		}
	}
	return time.Time{}
}

// inWindowLocked reports whether a window is open; what it has found it keeps for
// as long as it holds.
func (g *Gate) inWindowLocked(now time.Time) bool {
	if len(g.windows) == 0 {
		return true
	}
	if !g.open.to.IsZero() && !now.Before(g.open.from) && now.Before(g.open.to) {
		return g.isOpen
	}
	g.open, g.isOpen = span{from: now}, false
	for _, s := range spans(g.windows, now, g.loc) {
		if s.to.After(now) {
			if g.isOpen = !s.from.After(now); g.isOpen {
				g.open = s
			} else {
				g.open.to = s.from
			}
			break
		}
	}
	return g.isOpen
}

// leftLocked is how many bytes of the budget are left, something when there is
// none.
func (g *Gate) leftLocked(now bridge.Instant) int64 {
	if g.options.Budget == 0 {
		return 1
	}
	g.turnLocked(now)
	return int64(g.options.Budget) - g.used - g.carried.Load()
}

// rereadAfter is how often a gate looks at the counter of the present period:
// while a reload replaces it, the one before may still write to it.
const rereadAfter = time.Minute

// turnLocked goes to the present period, when it is another one.
func (g *Gate) turnLocked(now bridge.Instant) {
	if since := now.Wall.Sub(g.turned); since >= 0 && since < rereadAfter && now.Wall.Before(g.until) {
		return
	}
	g.turned = now.Wall
	g.correctLocked(now)
	period, until := g.periodOf(now.Wall)
	used, err := g.spool.Count(namespace, g.key(period))
	if err != nil {
		used = 0 // the disk fails, and others say so: what is used from now on counts
	}
	used += g.owedLocked(period)
	if period == g.period {
		g.used = max(g.used, used)
		return
	}
	g.period, g.until, g.used = period, until, used
}

// periodOf is the period that a moment is in, and when that ends.
func (g *Gate) periodOf(wall time.Time) (name string, end time.Time) {
	local := wall.In(g.loc)
	y, m, d := local.Date()
	if g.options.Per == perMonth {
		return local.Format("2006-01"), first(time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC), 0, g.loc)
	}
	return local.Format(time.DateOnly), first(time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC), 0, g.loc)
}

func (g *Gate) key(period string) string { return g.upstream + "/" + period }

// Forget removes the counters of all periods of an upstream but the newest ones:
// enough of them that a clock that jumps a day or a month finds what it knew.
func (g *Gate) Forget() error {
	var keys []string
	err := g.spool.Keys(namespace, g.upstream+"/", func(key string) bool {
		keys = append(keys, key)
		return true
	})
	if err != nil || len(keys) <= keptPeriods {
		return err
	}
	var b bridge.Batch
	for _, key := range keys[:len(keys)-keptPeriods] {
		b.Put(namespace, key, nil)
	}
	done := make(chan error, 1)
	g.spool.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	return <-done
}

const keptPeriods = 62
