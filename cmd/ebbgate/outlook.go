package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// outlook is what a running gateway knows of the future of a queue.
type outlook struct {
	drain string // when its upstream's queues will be empty, in words
	next  string // what its oldest message waits for
}

// outlook says when a queue will be empty, and what its messages wait for.
func (g *gateway) outlook(queue string) outlook {
	g.mu.Lock()
	clouds := g.clouds
	g.mu.Unlock()
	for _, c := range clouds {
		named := func(q bridge.QueueRef) bool { return q.Name == queue }
		switch {
		case slices.ContainsFunc(c.allUpQueues(), named):
			u := g.stats.upstream(c, time.Now())
			return outlook{drain: u.Outlook, next: g.waitsFor(queue, c, u)}
		case slices.Contains(c.rawQueues, queue):
			u := g.stats.upstream(c, time.Now())
			next := "it waits for the steps of its route: in an open batch or window, or for its turn"
			if u.Link != telemetry.LinkUp {
				next += "; then " + g.waitsFor(queue, c, u)
			}
			return outlook{drain: u.Outlook, next: next}
		case slices.ContainsFunc(c.downQueues, named):
			return outlook{drain: "-", next: "it waits for a subscriber on the site, or is on its way"}
		}
	}
	if isDead(queue) {
		return outlook{drain: "when a person decides"}
	}
	return outlook{drain: "never: no route sends it", next: fmt.Sprintf("no route sends this queue any more: bring the route back, or move what it holds with ebbgate spool requeue %s --to QUEUE", queue)}
}

// waitsFor says what the messages of a queue to an upstream wait for.
func (g *gateway) waitsFor(queue string, c *cloud, u telemetry.Upstream) string {
	refused := ""
	for _, w := range g.health.Warnings() {
		switch w.Code {
		case "route-paused-" + queue:
			return w.Text
		case "refused-" + queue, "denied-" + queue:
			refused = "; " + w.Text
		}
	}
	switch text, byOther := c.held(); {
	case byOther:
		return c.heldByOther(text)
	case text != "":
		return fmt.Sprintf("the link to %s carries only what overrides its windows and budget: %s", u.Name, text)
	}
	if u.Link != telemetry.LinkUp {
		text := fmt.Sprintf("it waits for the link to %s, which is down since %s", u.Name, u.Since.UTC().Format(time.RFC3339))
		if u.LastError != "" {
			text += " (" + u.LastError + ")"
		}
		return text + "; connecting is tried again by itself"
	}
	return fmt.Sprintf("the link to %s is up, %d messages are in flight; all of its queues are empty in: %s%s", u.Name, u.InFlight, u.Outlook, refused)
}

// flow is what an estimate of a drain goes by, messages and messages a second.
type flow struct {
	depth   int64         // the backlog: what could be sent
	open    int64         // what waits besides in open batches and windows, as its routes say
	due     time.Duration // in which all of open is due
	in, out float64
	limit   float64 // what the limits allow, 0 for no limit
	up      bool
	fresh   bool // up so short that out says nothing yet
}

// raw takes in what waits for the steps of a route, which let a message wait for
// so long: what is older is backlog.
func (f *flow) raw(d bridge.Depth, patience time.Duration) {
	if d.Oldest > patience+lagging {
		f.depth += d.Records
		return
	}
	if f.open += d.Records; d.Records > 0 {
		f.due = max(f.due, patience)
	}
}

// lagging is how late the steps of a route are when they are behind.
const lagging = 10 * time.Second

// estimate says in how many seconds nothing is left, -1 for never at these
// rates, and the same in words. Without a link it goes by the limits, from when
// the link is back.
func (f flow) estimate() (left float64, text string) {
	left, text = f.backlog()
	if !f.up {
		text = "the link is down: " + text
	}
	if f.open > 0 {
		text += fmt.Sprintf("; %s wait in open batches and windows, %s at most", thousands(f.open), humanAge(f.due))
		if left >= 0 {
			left = max(left, f.due.Seconds())
		}
		if !f.up {
			left = -1
		}
	}
	return left, text
}

// backlog is estimate for what could be sent.
func (f flow) backlog() (left float64, text string) {
	out, by, back := f.out, "", ""
	if !f.up {
		back = ", once it is back"
	}
	switch {
	case f.depth == 0 && !f.up:
		return 0, "nothing waits for it"
	case f.depth == 0:
		return 0, "0s"
	case !f.up || f.fresh:
		if f.limit == 0 {
			return -1, "unknown until it flows"
		}
		out, by = f.limit, fmt.Sprintf(" at the limit of %.4g/s", f.limit)
	}
	if out <= f.in {
		return -1, fmt.Sprintf("never at this rate%s: %.1f/s come, %.1f/s go", back, f.in, out)
	}
	left = float64(f.depth) / (out - f.in)
	text = "more than a year" + by + back
	if left < math.MaxInt32/70 {
		text = humanAge(seconds(left)) + by + back
	}
	if !f.up {
		return -1, text // it does not drain now
	}
	return left, text
}

// patience is how long the steps of a raw queue's route let a message wait: a window
// and then a batch, which a budget may have made longer.
func (g *gateway) patience(queue string) time.Duration {
	g.mu.Lock()
	routes := g.cfg.Routes.Up
	g.mu.Unlock()
	products, _ := bridge.IsRaw(queue)
	shared, _, _ := bridge.OwnedBy(products)
	for _, r := range routes {
		if bridge.QueueName("up", r.Upstream, r.Name) != shared {
			continue
		}
		wait := time.Duration(0)
		if w := r.Steps.Window.Every; w > 0 {
			wait += w + windowGrace
		}
		if r.Steps.Batch.Format != "none" {
			wait += max(r.Steps.Batch.Age, g.budgets.patience(r.Upstream))
		}
		return wait
	}
	return 0
}

// windowGrace is how long a window stays open for what is being written.
const windowGrace = 2 * time.Second

// settling is how long rates say nothing yet about a link that has come up.
const settling = 5 * time.Second

// observe keeps the rates known, so that who asks once gets an answer at once.
func (b *statusBuilder) observe(ctx context.Context) {
	tick := time.NewTicker(measured)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.g.mu.Lock()
			clouds := b.g.clouds
			b.g.mu.Unlock()
			for _, c := range clouds {
				b.upstream(c, now)
			}
		}
	}
}

// queueStates are the spool's queues, with what became of all they were given or
// turned away, how old the oldest of it is, and when it will be gone. What cannot
// be read of the state is the spool's to warn of.
func (g *gateway) queueStates(upstreams []telemetry.Upstream) (out []telemetry.Queue) {
	ledgers, err := bridge.ReadLedgers(g.spool)
	if err != nil {
		return nil
	}
	drains := g.drains(upstreams)
	for _, name := range slices.Sorted(maps.Keys(ledgers)) {
		d := g.spool.Depth(name)
		q := telemetry.Queue{Name: name, Bytes: d.Bytes, OldestAge: d.Oldest.Seconds(), Drain: -1, Ledger: telemetry.Ledger(ledgers[name])}
		if q.Held == 0 {
			q.Drain = 0
		} else if drain, sent := drains[name]; sent {
			q.Drain = drain
		}
		out = append(out, q)
	}
	return out
}

// drains tells of each queue to an upstream when all of that upstream's will be
// empty.
func (g *gateway) drains(upstreams []telemetry.Upstream) map[string]float64 {
	g.mu.Lock()
	clouds := g.clouds
	g.mu.Unlock()
	out := map[string]float64{}
	for _, c := range clouds {
		i := slices.IndexFunc(upstreams, func(u telemetry.Upstream) bool { return u.Name == c.name })
		if i < 0 {
			continue
		}
		for _, q := range c.allUpQueues() {
			out[q.Name] = upstreams[i].Drain
		}
		for _, q := range c.rawQueues {
			out[q] = upstreams[i].Drain
		}
	}
	return out
}
