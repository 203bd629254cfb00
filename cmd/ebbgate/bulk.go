package main

import (
	"fmt"
	"reflect"
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
	own, err := g.gateOfExports(o.Metered)
	if err != nil {
		return nil, err
	}
	if err := own.Forget(); err != nil {
		g.log.Warn("old counters of the budget of exports cannot be removed", "error", err)
	}
	f.gate = &exportGate{spool: g.spool}
	f.gate.now.Store(own)
	held := func() string {
		if own := f.gate.now.Load(); !own.Open(beneath) {
			return "file_transfer.export.metered: " + own.State().Why
		}
		return g.heldBack(o.Link())
	}
	return upstream.NewBulk(o.Bandwidth, held, g.backlog.waits), nil
}

// gateOfExports makes a gate of exports. No upstream is called so.
func (g *gateway) gateOfExports(o metered.Options) (*metered.Gate, error) {
	return metered.New(":exports", o, g.spool, g.clock.Now)
}

// repace makes ready what takes another pace of exports into force, files that are on
// their way included. Nothing is done before it is called.
func (f *files) repace(g *gateway, was, is configs.Export) (apply func(), err error) {
	if f == nil || f.pace == nil {
		return func() {}, nil
	}
	var own *metered.Gate
	if !reflect.DeepEqual(was.Metered, is.Metered) {
		if own, err = g.gateOfExports(is.Metered); err != nil {
			return nil, err
		}
	}
	return func() {
		f.pace.SetRate(is.Bandwidth)
		if own != nil {
			f.gate.replace(own)
		}
	}, nil
}

// exportGate is the gate of exports with the bytes that they use.
type exportGate struct {
	now     atomic.Pointer[metered.Gate]
	spool   bridge.Spool
	unsaved atomic.Int64
}

// replace puts another gate into the place of the one that is there, whose bytes that are
// not written yet it finds in the counter.
func (e *exportGate) replace(own *metered.Gate) {
	e.save((*metered.Gate).Rest, true)
	was := e.now.Swap(own)
	b := new(bridge.Batch) // what has come between the two
	if was.Rest(b); !b.Empty() {
		e.spool.Commit(b, nil)
	}
}

// save writes what has been used to the counter.
func (e *exportGate) save(account func(*metered.Gate, *bridge.Batch), wait bool) {
	b := new(bridge.Batch)
	if account(e.now.Load(), b); b.Empty() {
		return
	}
	if !wait {
		e.spool.Commit(b, nil)
		return
	}
	done := make(chan struct{})
	e.spool.Commit(b, func(bridge.Seq, error) { close(done) }) // one that fails is counted by the gate, as ever
	<-done
}

// saveAt is how many bytes are written to the counter at once: what a kill leaves
// uncounted.
const saveAt = 64 << 10

// Carried counts bytes that exports have used.
func (e *exportGate) Carried(n int) {
	e.now.Load().Carried(n)
	if e.unsaved.Add(int64(n)) < saveAt {
		return
	}
	e.unsaved.Store(0)
	e.save((*metered.Gate).Account, false)
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
