package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// cloud is one upstream: its uplink with the forwarder that feeds it, and, when
// routes come down from it, its downlink with the forwarder that hands its
// messages to the local broker.
type cloud struct {
	name       string
	uplink     uplink
	up         *bridge.Forwarder
	upQueues   []bridge.QueueRef
	downlink   *mqtt.Downlink // nil without routes down
	down       *bridge.Forwarder
	downQueues []bridge.QueueRef
	limit      float64      // messages a second that may go up, 0 for no limit
	stop       func() error // ends a sandbox in this process; nil for none
}

func (c *cloud) close() error {
	if c.stop == nil {
		return nil
	}
	return c.stop()
}

func isDead(queue string) bool { return strings.HasPrefix(queue, "dead/") }

// openClouds makes the senders of the present configuration. Nothing connects
// before it runs.
func (g *gateway) openClouds() ([]*cloud, error) {
	var out []*cloud
	for _, name := range slices.Sorted(maps.Keys(g.cfg.Upstreams)) {
		c, err := g.openCloud(name, g.cfg.Upstreams[name])
		if err != nil {
			return out, err
		}
		out = append(out, c)
	}
	return out, nil
}

// queuesOf lists an upstream's queues: those of its routes, and those that
// earlier routes have left behind, which go last.
func (g *gateway) queuesOf(name string) (up, down []bridge.QueueRef) {
	known := map[string]bool{}
	for _, q := range g.table.Queues() {
		known[q.Name] = true
		if q.Upstream != name {
			continue
		}
		if q.Direction == "up" {
			up = append(up, bridge.QueueRef{Name: q.Name, Priority: q.Priority, Requests: q.Route == rules.PassThroughRoute})
		} else {
			down = append(down, bridge.QueueRef{Name: q.Name, Priority: q.Priority})
		}
	}
	for _, q := range g.spool.Queues() {
		if known[q] || g.spool.Depth(q).Records == 0 {
			continue
		}
		if strings.HasPrefix(q, "up/"+name+"/") {
			up = append(up, bridge.QueueRef{Name: q, Priority: -1})
		}
		if strings.HasPrefix(q, "down/"+name+"/") {
			down = append(down, bridge.QueueRef{Name: q, Priority: -1})
		}
	}
	return up, down
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
		g.retired = nil
		g.mu.Unlock()
		if err := closeClouds(retired, nil); err != nil {
			return err
		}
		round, end := context.WithCancel(ctx)
		group, round := errgroup.WithContext(round)
		for _, c := range clouds {
			group.Go(func() error { return c.up.Run(round) })
			if c.downlink != nil {
				group.Go(func() error { return c.downlink.Run(round) })
			}
			if c.down != nil {
				group.Go(func() error { return c.down.Run(round) })
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

// unmetered is the meter of what stays on this side.
type unmetered struct{}

func (unmetered) Delivered(*bridge.Batch, string, *bridge.Stored, bridge.Outcome) {}
func (unmetered) Uncertain(*bridge.Batch, string, *bridge.Stored)                 {}
func (unmetered) Received(*bridge.Batch, string, *bridge.Message, int)            {}
