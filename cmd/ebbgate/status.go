package main

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/spool"
)

type counter = atomic.Int64

// statusBuilder makes the gateway's status of its parts. What is dear to
// measure is measured once a second.
type statusBuilder struct {
	g        *gateway
	ready    atomic.Bool
	accepted counter
	in, out  telemetry.Rate
	rates    sync.Map // upstream → *inOut

	mu      sync.Mutex
	usage   spool.Usage
	usageAt time.Time
	bill    telemetry.BillState
	units   map[string][2]int64 // upstream → units and uncertain units of today
	undated int64               // certificates let in without dates before the clock was set
	changed chan struct{}
}

const measured = time.Second

// inOut are the rates of one upstream.
type inOut struct{ in, out telemetry.Rate }

func newStatusBuilder(g *gateway) *statusBuilder {
	return &statusBuilder{g: g, changed: make(chan struct{})}
}

// cloudsChanged is closed when a reload has replaced the clouds.
func (b *statusBuilder) cloudsChanged() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *statusBuilder) changeClouds() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
}

// kernelClock knows whether the clock is synchronised. Every message asks, so
// the kernel is asked once a second.
type kernelClock struct {
	asked  atomic.Int64 // monotonic nanoseconds since the start
	synced atomic.Bool
	start  time.Time
}

func newKernelClock() *kernelClock {
	c := &kernelClock{start: time.Now()}
	c.ask()
	return c
}

func (c *kernelClock) ask() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	c.synced.Store(err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0)
}

// synchronised is safe for concurrent use.
func (c *kernelClock) synchronised() bool {
	now, asked := int64(time.Since(c.start)), c.asked.Load()
	if now-asked > int64(measured) && c.asked.CompareAndSwap(asked, now) {
		c.ask()
	}
	return c.synced.Load()
}

// status is the whole of it; safe for concurrent use.
func (b *statusBuilder) status() telemetry.Status {
	g, now := b.g, time.Now()
	b.measure(now)
	g.mu.Lock()
	clouds, id := g.clouds, g.cfg.Gateway.ID
	g.mu.Unlock()
	local := g.broker.Status()
	b.mu.Lock()
	usage, bill, units := b.usage, b.bill, b.units
	b.mu.Unlock()
	s := telemetry.Status{
		Gateway: id, Version: version, PID: os.Getpid(), Started: g.started, Uptime: now.Sub(g.started).Seconds(),
		Ready: b.ready.Load() && usage.Full == "", Clock: g.clock.Now().Quality(),
		Devices: telemetry.Devices{Connected: local.Connections, Sessions: local.Sessions},
		Spool:   telemetry.SpoolState{DiskUsed: usage.Disk, DiskFree: usage.Free, Full: usage.Full != ""},
		Rates:   telemetry.Rates{In: b.in.Observe(now, b.accepted.Load())},
		Steps:   g.stepStates(),
		Bill:    bill,
		Files:   g.files.state(),
		Policy:  telemetry.PolicyState{AuthErrors: local.AuthErrors, SessionsEnded: local.PolicyEnded},
	}
	acked, stuck := int64(0), false
	for _, c := range clouds {
		u := b.upstream(c, now)
		u.Units, u.Uncertain = units[c.name][0], units[c.name][1]
		acked += c.stats().Acked
		s.Spool.Depth += u.Depth
		s.Spool.Bytes += u.Bytes
		s.Spool.OldestAge = max(s.Spool.OldestAge, u.OldestAge)
		if s.Spool.Drain = max(s.Spool.Drain, u.Drain); u.Drain < 0 || stuck {
			stuck, s.Spool.Drain = true, -1
		}
		s.Upstreams = append(s.Upstreams, u)
	}
	s.Queues = g.queueStates(s.Upstreams)
	s.Rates.Out = b.out.Observe(now, acked)
	for _, w := range g.health.Warnings() {
		s.Warnings = append(s.Warnings, telemetry.Warning{Code: w.Code, Severity: w.Severity.String(), Text: w.Text})
	}
	for _, q := range local.Quotas {
		s.Quotas = append(s.Quotas, telemetry.Quota{Quota: q.Quota, Key: q.Key, Warned: q.Warned, Enforced: q.Enforced})
	}
	for _, c := range local.SilentCloses {
		s.SilentCloses = append(s.SilentCloses, telemetry.SilentClose{Reason: c.Reason, MQTT5: c.Said(), Count: c.Count})
	}
	for _, r := range local.Requests {
		s.Requests = append(s.Requests, telemetry.Requests{Operation: r.Operation, Status: r.Status, Count: r.Count})
	}
	for _, d := range g.drops.All() {
		s.Drops = append(s.Drops, telemetry.Drop{Reason: d.Reason, Count: d.Count, Logged: d.Logged, Last: d.Last, Device: d.Device, Topic: d.Topic, Detail: d.Detail})
	}
	return s
}

func (b *statusBuilder) upstream(c *cloud, now time.Time) telemetry.Upstream {
	stats, link := c.stats(), c.status()
	u := telemetry.Upstream{Name: c.name, Link: telemetry.LinkConnecting, Since: link.Since, InFlight: int(stats.InFlight), Drain: -1,
		Connections: link.up, Wanted: link.wanted, Connects: stats.Connects, Allowed: link.Pace.Rate, Slowed: link.Pace.Slowed, Throttled: link.Pace.Throttled}
	switch {
	case link.Up:
		u.Link = telemetry.LinkUp
	case c.standby:
		u.Link = telemetry.LinkStandby
	}
	if link.Err != nil {
		u.LastError = link.Err.Error()
	}
	u.Way = link.Way
	for _, w := range link.Ways {
		one := telemetry.Way{Endpoint: w.Way}
		if w.Err != nil {
			one.Error, one.At = w.Err.Error(), w.At
		}
		u.Ways = append(u.Ways, one)
	}
	given := int64(0)
	// First what waits for steps: what becomes a product meanwhile is seen twice, and
	// not left out.
	var f flow
	for _, q := range c.rawQueues {
		d := b.g.spool.Depth(q)
		f.raw(d, b.g.patience(q))
		u.Depth += d.Records
		u.Bytes += d.Bytes
		u.OldestAge = max(u.OldestAge, d.Oldest.Seconds())
	}
	for _, q := range c.allUpQueues() {
		given += b.g.spool.Ledger(q.Name).Accepted
		d := b.g.spool.Depth(q.Name)
		f.depth += d.Records
		u.Depth += d.Records
		u.Bytes += d.Bytes
		u.OldestAge = max(u.OldestAge, d.Oldest.Seconds())
		u.Dead += b.g.spool.Depth(bridge.DeadQueue(q.Name)).Records
	}
	rates, _ := b.rates.LoadOrStore(c.name, new(inOut))
	r := rates.(*inOut)
	u.InRate, u.OutRate = r.in.Observe(now, given), r.out.Observe(now, stats.Acked)
	limit := c.limit * float64(max(link.wanted, 1))
	if link.Up && u.Allowed > 0 {
		limit = u.Allowed
	}
	f.in, f.out, f.limit, f.up, f.fresh = u.InRate, u.OutRate, limit, link.Up, now.Sub(link.Since) < settling
	u.Drain, u.Outlook = f.estimate()
	u.Metered, u.Things = c.metered(), b.g.thingStates(c)
	if text, _ := c.held(); text != "" && u.Depth > 0 {
		u.Drain, u.Outlook = -1, text
	}
	return u
}

// stepStates lists what the steps of the routes have kept back: those that look at
// a message when it comes, and those that have it from the spool. A state that
// cannot be read is the spool's to warn of.
func (g *gateway) stepStates() (out []telemetry.Step) {
	shaped, err := bridge.ReadShaped(g.spool)
	doors, failed := bridge.ReadDoors(g.spool)
	if err != nil || failed != nil {
		return nil
	}
	held := map[telemetry.Step]int64{}
	for queue, s := range shaped {
		for step, n := range s.Steps {
			held[telemetry.Step{Queue: queue, Step: step}] += n
		}
	}
	for queue, d := range doors {
		if products, raw := bridge.IsRaw(queue); raw {
			queue = products
		}
		for step, n := range d.Steps {
			held[telemetry.Step{Queue: queue, Step: step}] += n
		}
	}
	for s, n := range held {
		s.Held = n
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b telemetry.Step) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Step, b.Step))
	})
	return out
}

// measure refreshes what is measured once a second.
func (b *statusBuilder) measure(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.usageAt) < measured {
		return
	}
	b.usageAt = now
	if u, err := b.g.spool.Usage(); err == nil {
		b.usage = u
	}
	b.bill, b.units = b.g.billState(now)
	b.warnDates(b.g.engine.DatesUnchecked(), now)
}

// warnDates warns while certificates were let in by a clock that has not been
// set (unchecked counts them since the start), and takes the warning back once
// the clock is set.
func (b *statusBuilder) warnDates(unchecked int64, now time.Time) {
	const code = "certificate-dates-unchecked"
	switch {
	case now.UTC().Year() >= clockSince:
		b.undated = unchecked
		b.g.health.Clear(code)
	case unchecked > b.undated:
		b.g.health.Raise(bridge.Warning{Code: code, Severity: bridge.Degraded,
			Text: "the clock has not been set: certificates of devices were accepted without looking at their first day; set the clock"})
	}
}

// clockSince is the year before which policy takes the clock for not set.
const clockSince = 2024
