package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/metered"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// cloud is one upstream: its uplink with the forwarder that feeds it, and, when
// routes come down from it, its downlink with the forwarder that hands its
// messages to the local broker.
type cloud struct {
	name       string
	uplinks    []uplink // those that may be connected
	size       *upstream.Sizer
	spread     *upstream.Sizer // of what any connection may carry; nil: the number is given
	wanted     atomic.Int64    // of uplinks
	up         *bridge.Forwarder
	standby    bool // it only takes over for others: up does not run
	upQueues   []bridge.QueueRef
	things     []*thingLink // those that are connections of their own
	trouble    *thingTrouble
	thingPrice thingPrice
	shapers    []*bridge.Shaper
	rawQueues  []string       // what waits for the shapers
	downlink   *mqtt.Downlink // nil without routes down
	talk       *mqtt.Talk     // about streams; nil for none
	files      *mqtt.Talk     // that takes files; nil for none
	down       *bridge.Forwarder
	downQueues []bridge.QueueRef
	paces      *upstream.Paces
	reached    []configs.Upstream // how: it, and those that take over
	gate       *metered.Gate      // nil for a link that may carry anything at any time
	open       bridge.Gate        // of whoever takes its messages; nil: always
	limit      float64            // messages a second that may go up, 0 for no limit
	stop       func() error       // ends a sandbox in this process; nil for none
}

func (c *cloud) close() error {
	if c.stop == nil {
		return nil
	}
	return c.stop()
}

// refresh takes new client certificates up now.
func (c *cloud) refresh() {
	for _, u := range c.uplinks {
		u.Refresh()
	}
	if c.downlink != nil {
		c.downlink.Refresh()
	}
}

// elsewhere reports whether another way, or another upstream, carries what goes
// up: there is no hurry then for what comes down.
func (c *cloud) elsewhere() bool {
	for _, u := range c.uplinks {
		if ch, ok := u.(*chain); ok && ch.beyond(0) {
			return true
		}
	}
	return false
}

// numbered tells the warnings of a pool's further connections from those of the
// first.
func numbered(h upstream.Hooks, n int) upstream.Hooks {
	raise, over := h.Raise, h.Clear
	number := fmt.Sprintf("-%d", n)
	h.Raise = func(w bridge.Warning) {
		w.Code += number
		raise(w)
	}
	h.Clear = func(code string) { over(code + number) }
	return h
}

// connections is how many of a cloud's uplinks are to be connected now. Its
// forwarder asks once a second, which is when throttling is told of, too.
func (g *gateway) connections(c *cloud) int {
	var load upstream.Load
	for _, q := range c.upQueues {
		d := g.spool.Depth(q.Name)
		load.Records, load.Bytes = load.Records+d.Records, load.Bytes+d.Bytes
	}
	if c.open != nil && !c.open.Open(0) {
		load.Records, load.Bytes = 0, 0 // connections cost, and would not be used
	}
	load.Acked = c.up.Stats().Acked
	now := time.Now()
	n := c.size.Want(now, load)
	if c.spread != nil {
		n = min(n, g.useful(c, now))
	}
	c.wanted.Store(int64(n))
	g.tellHeld(c)
	if s := c.status(); s.Pace.Slowed {
		g.health.Raise(bridge.Warning{Code: "uplink-throttled-" + c.name, Severity: bridge.Notice,
			Text: fmt.Sprintf("%s throttles us: %.0f messages a second go instead of more, and a little more every second; lower limits.messages_per_second, or look for who else uses its quota", c.name, s.Pace.Rate)})
	} else {
		g.health.Clear("uplink-throttled-" + c.name)
	}
	return n
}

// useful is how many connections can be of use: each of what goes together takes one
// at most, and the rest as many as it needs.
func (g *gateway) useful(c *cloud, now time.Time) int {
	groups := map[string]bool{}
	free := false
	var load upstream.Load
	for _, q := range c.upQueues {
		if q.Together != "" {
			groups[q.Together] = true
			continue
		}
		d := g.spool.Depth(q.Name)
		free = true
		load.Records, load.Bytes = load.Records+d.Records, load.Bytes+d.Bytes
		load.Acked += g.spool.Ledger(q.Name).Delivered
	}
	n := c.spread.Want(now, load)
	if !free {
		n = 0
	}
	return max(n+len(groups), 1)
}

// linkStatus is how a cloud's uplinks are together.
type linkStatus struct {
	upstream.Status
	up, wanted int
}

// status is up when one of the uplinks is. Its pace is that of all.
func (c *cloud) status() linkStatus {
	out := linkStatus{wanted: int(c.wanted.Load())}
	for i, u := range c.uplinks {
		s := u.Status()
		pace := out.Pace
		if s.Up {
			out.up++
		}
		if i == 0 || s.Up && !out.Up {
			out.Status = s
		}
		if i < max(out.wanted, 1) {
			pace.Rate += s.Pace.Rate
		}
		if out.Ways == nil {
			out.Ways = s.Ways // of another connection that is up
		}
		pace.Slowed, pace.Throttled = pace.Slowed || s.Pace.Slowed, pace.Throttled+s.Pace.Throttled
		out.Pace = pace
	}
	return out
}

func isDead(queue string) bool { return strings.HasPrefix(queue, "dead/") }

// openClouds makes the senders of the present configuration. Nothing connects
// before it runs.
func (g *gateway) openClouds() ([]*cloud, error) {
	g.forgetThings()
	common, err := g.openCommons()
	if err != nil {
		return nil, err
	}
	var out []*cloud
	for _, name := range slices.Sorted(maps.Keys(g.cfg.Upstreams)) {
		c, err := g.openCloud(name, g.cfg.Upstreams[name], common)
		if err != nil {
			return out, err
		}
		out = append(out, c)
	}
	return out, nil
}

// fromCloud takes what a downlink receives: an answer to the device that waits
// for it, all else into the spool, and then the cloud is acknowledged. What cannot be taken now is tried again; a broker does not
// send twice on a live connection.
func (g *gateway) fromCloud(name string) mqtt.Handler {
	return func(m *bridge.Message, wire int, ack func()) {
		if g.answered(name, m, wire, func(error) { ack() }) {
			return
		}
		var take func()
		take = func() {
			g.ingest.Down(name, m, wire, func(err error) {
				switch bridge.KindOf(err) {
				case bridge.Internal, bridge.Full, bridge.Unavailable:
					if err != nil && m.QoS > 0 {
						time.AfterFunc(downRetry, take)
						return
					}
				}
				ack() // taken, or refused for good and in the drop log
			})
		}
		take()
	}
}

const downRetry = time.Second

// retryDown hands to the local broker what waited for a subscriber: there may
// be one now.
func (g *gateway) retryDown() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clouds {
		if c.down != nil {
			c.down.Retry()
		}
	}
}

// runClouds runs all upstreams, and starts them anew after a reload that
// changed them. Those that a reload has replaced are closed when nothing runs:
// several reloads may have come while the first were ending, and then some have
// never run at all.
func (g *gateway) runClouds(ctx context.Context) error {
	for {
		g.mu.Lock()
		clouds, changed, retired := g.clouds, g.stats.cloudsChanged(), g.retired
		round, end := context.WithCancel(ctx)
		g.retired, g.endRound = nil, end
		g.follow(clouds)
		g.forgetSessions()
		g.mu.Unlock()
		if err := closeClouds(retired, nil); err != nil {
			end()
			return err
		}
		// What went by the routes before is in its queue before anything later of the
		// same device is read from another.
		g.ingest.Settle()
		group, round := errgroup.WithContext(round)
		for _, c := range clouds {
			if !c.standby {
				group.Go(func() error {
					c.awaitDownlink(round)
					return c.up.Run(round)
				})
			}
			for _, t := range c.things {
				group.Go(func() error {
					c.awaitDownlink(round)
					return t.up.Run(round)
				})
			}
			for _, q := range c.allUpQueues() {
				if q.Last != nil {
					group.Go(func() error { return q.Last.Run(round) })
				}
			}
			for _, s := range c.shapers {
				group.Go(func() error { return s.Run(round) })
			}
			if c.downlink != nil {
				group.Go(func() error { return c.downlink.Run(round) })
			}
			if c.down != nil {
				group.Go(func() error { return c.down.Run(round) })
			}
			for _, t := range []*mqtt.Talk{c.talk, c.files} {
				if t != nil {
					group.Go(func() error { return t.Run(round) })
				}
			}
		}
		select {
		case <-changed:
		case <-round.Done():
		}
		end()
		if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if ctx.Err() != nil {
			return nil // the gateway closes what is left
		}
	}
}

// awaitDownlink lets the downlink subscribe before the first message goes up, for a
// moment: a cloud that has no session for it yet would throw the answers away.
func (c *cloud) awaitDownlink(ctx context.Context) {
	if c.downlink == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, earsFirst)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !c.downlink.Status().Up {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

// earsFirst is how long the uplink waits for the downlink at a start.
const earsFirst = 2 * time.Second

// unmetered is the meter of what stays on this side.
type unmetered struct{}

func (unmetered) Delivered(*bridge.Batch, string, *bridge.Stored, bridge.Outcome) {}
func (unmetered) Uncertain(*bridge.Batch, string, *bridge.Stored, bridge.Outcome) {}
func (unmetered) Received(*bridge.Batch, string, *bridge.Message, int)            {}
