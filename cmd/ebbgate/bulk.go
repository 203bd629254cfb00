package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/metered"
)

// beneath is the priority of files in a metered link's gate: nothing overrides for
// them.
const beneath = -1

// exportPace is the pace of files that leave this machine.
func (f *files) exportPace(g *gateway, o configs.Export) (*upstream.Bulk, error) {
	// No upstream is called so.
	own, err := metered.New(":exports", o.Metered, g.spool, g.clock.Now)
	if err != nil {
		return nil, err
	}
	if err := own.Forget(); err != nil {
		g.log.Warn("old counters of the budget of exports cannot be removed", "error", err)
	}
	f.gate = &exportGate{Gate: own, spool: g.spool}
	held := func() string {
		if !own.Open(beneath) {
			return "file_transfer.export.metered: " + own.State().Why
		}
		return g.heldBack(o.Link())
	}
	return upstream.NewBulk(o.Bandwidth, held, g.backlog.waits), nil
}

// exportGate is the gate of exports with the bytes that they use.
type exportGate struct {
	*metered.Gate
	spool   bridge.Spool
	unsaved atomic.Int64
}

// saveAt is how many bytes are written to the counter at once: what a kill leaves
// uncounted.
const saveAt = 64 << 10

// Carried counts bytes that exports have used.
func (e *exportGate) Carried(n int) {
	e.Gate.Carried(n)
	if e.unsaved.Add(int64(n)) < saveAt {
		return
	}
	e.unsaved.Store(0)
	b := new(bridge.Batch)
	if e.Account(b); !b.Empty() {
		e.spool.Commit(b, nil)
	}
}

// heldBack says why files must not go over the link to an upstream now, empty when
// they may.
func (g *gateway) heldBack(name string) string {
	links := g.links.Load()
	if links == nil {
		return ""
	}
	c := (*links)[name]
	switch {
	case c == nil:
	case c.gate != nil && !c.gate.Open(beneath):
		return fmt.Sprintf("upstreams.%s.metered: %s", name, c.gate.State().Why)
	case g.budgets.pausesFiles(name):
		return "a budget of " + name + " pauses files"
	}
	return ""
}

// backlog tells whether messages wait for an upstream that takes them: then files
// yield.
type backlog struct {
	g *gateway

	mu     sync.Mutex
	looked time.Time
	last   bool
	queues map[string]moved // by name
}

// moved is when something of a queue last went.
type moved struct {
	went int64
	at   time.Time
}

// A queue is behind when its oldest message has waited for longer than lag, and
// something of it went within stuck: what waits for a person, or for a device, is
// nothing that files could be in the way of.
const (
	lag       = time.Second
	stuck     = 10 * time.Second
	lookEvery = 100 * time.Millisecond
)

// waits may be asked at any time and as often as one likes.
func (b *backlog) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.looked) < lookEvery {
		return b.last
	}
	links := b.g.links.Load()
	if links == nil {
		return false
	}
	var queues []string
	for _, c := range *links {
		if c.up.Stats().Connected {
			queues = appendNames(queues, c.upQueues)
		}
		for _, t := range c.things {
			if t.up.Stats().Connected {
				queues = appendNames(queues, t.queues)
			}
		}
	}
	b.looked, b.last = now, b.behind(now, queues, b.g.spool)
	return b.last
}

func appendNames(names []string, queues []bridge.QueueRef) []string {
	for _, q := range queues {
		names = append(names, q.Name)
	}
	return names
}

// depths is what a backlog asks of the spool.
type depths interface {
	Depth(queue string) bridge.Depth
	Ledger(queue string) bridge.Ledger
}

// behind looks at the queues whose link is up.
func (b *backlog) behind(now time.Time, queues []string, in depths) (some bool) {
	seen := make(map[string]moved, len(queues))
	for _, q := range queues {
		l := in.Ledger(q)
		m, known := b.queues[q]
		if went := l.Delivered + l.Dropped; !known || went != m.went {
			m = moved{went, now}
		}
		seen[q] = m
		some = some || in.Depth(q).Oldest > lag && now.Sub(m.at) < stuck
	}
	b.queues = seen
	return some
}
