package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/decisions"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// gateway is the composition root: it opens the rooms in the order spool →
// policy → rules → senders → bridge → listeners, runs them under one errgroup,
// and closes them in reverse. Listeners open last, so that nobody is answered
// before everything is there.
type gateway struct {
	log     *slog.Logger
	started time.Time

	health  *bridge.Health
	drops   *bridge.DropLog
	spool   *spool.Spool
	clock   *bridge.Clock
	meter   *billing.Meter
	ledger  atomic.Pointer[billing.Ledger] // another after a reload, which reads the price lists again
	engine  *policy.Engine
	asked   *decisions.Log // between broker and engine
	router  *rules.Router
	budgets *budgets // between ingest and router
	ingest  *bridge.Ingest
	streams *streams // nil without
	broker  *localbroker.Broker
	files   *files // nil: devices cannot send any
	backlog *backlog
	admin   *telemetry.Server
	stats   *statusBuilder
	links   atomic.Pointer[map[string]*cloud] // the upstreams in force, for those that must not wait

	mu       sync.Mutex // reload replaces what follows
	cfg      *configs.Config
	table    *rules.Table
	clouds   []*cloud
	ways     map[string]*upstream.Ways // by upstream: what is known of the ways there
	gates    map[string]*upstream.Gate // likewise: whose turn it is to connect
	running  map[string]*cloud         // likewise: those that ran last
	endRound context.CancelFunc        // ends those that run now; nil before the first
	retired  []*cloud                  // replaced by a reload and not closed yet: one may still run
}

// openGateway opens everything that a gateway needs. On error nothing is left
// open.
func openGateway(cfg *configs.Config, log *slog.Logger) (_ *gateway, err error) {
	g := &gateway{cfg: cfg, log: log, started: time.Now(), health: new(bridge.Health)}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.engine, err = policy.Load(cfg.Policy); err != nil {
		return nil, &exitError{exitInvalid, err}
	}
	if g.spool, err = takeSpool(cfg.Spool, spool.Deps{Log: log, Health: g.health}); err != nil {
		return nil, err
	}
	g.clock = bridge.NewClock(g.spool.Age, newKernelClock().synchronised)
	if err = g.clock.Note(g.spool); err != nil {
		g.log.Warn("this start cannot be written to the spool: ebbgate spool why will not know of it", "error", err)
	}
	if g.drops, err = bridge.OpenDropLog(g.spool, g.clock.Now, bridge.DefaultDropLimits()); err != nil {
		return nil, err
	}
	bills := billingOf(cfg)
	if g.meter, err = billing.NewMeter(g.spool, bills, g.clock.Now); err != nil {
		return nil, err
	}
	g.meter.Routes(routesOf(cfg, billing.DefaultUnit))
	g.warnCrowded()
	if err = g.openLedger(bills); err != nil {
		return nil, err
	}
	if g.table, err = rules.Compile(cfg.Routes); err != nil {
		return nil, &exitError{exitInvalid, err}
	}
	g.goThrough(g.table, nil)
	g.router = rules.NewRouter(g.table)
	g.router.OnUndecided(g.undecided)
	g.budgets = &budgets{Router: g.router, spool: g.spool, health: g.health, of: bills, now: g.clock.Now, totals: func(now time.Time) (map[string]billing.Totals, error) {
		return g.ledger.Load().Totals(now, g.meter.Pace)
	}}
	if err = g.budgets.open(); err != nil {
		return nil, err
	}
	g.ingest = bridge.NewIngest(g.spool, g.budgets, g.clock, g.meter, g.drops)
	g.ingest.Trust(bridge.Behind{Gateways: cfg.Gateway.Behind})
	g.asked = decisions.NewLog(g.engine, decisions.Options{Entries: cfg.Policy.Changes.Entries, Sample: cfg.Policy.Changes.Sample})
	g.stats = newStatusBuilder(g)
	g.backlog = &backlog{g: g}
	g.streams = g.openStreams()
	if g.files, err = g.openFiles(); err != nil {
		return nil, err
	}
	g.broker, err = localbroker.New(cfg.Broker, localbroker.Deps{
		Ingest: counted{g.ingest, &g.stats.accepted}, Shelf: g.spool, Identities: g.engine, Authorizer: g.asked, DropLog: g.drops, Log: log,
		WillCheck: cfg.Policy.WillCheck, Version: version, Cloud: g.cloudOf, Health: g.health,
		Families: g.families(),
		Events:   localbroker.Events{Subscribed: func(localbroker.SessionInfo) { g.retryDown() }},
	})
	if e, ok := errors.AsType[*bridge.Error](err); ok && e.Kind == bridge.PayloadInvalid { // a file that the configuration names
		return nil, &exitError{exitInvalid, err}
	}
	if err != nil {
		return nil, err
	}
	g.streams.reach(g.broker)
	g.broker.PassThrough(passThrough(cfg.Routes.PassThrough))
	if g.clouds, err = g.openClouds(); err != nil {
		return nil, err
	}
	g.notePriorities()
	g.link()
	g.warnOrphans()
	g.accountForOrphans()
	if cfg.Admin.Address != "" {
		if g.admin, err = telemetry.Listen(cfg.Admin.Address, g.stats.status, g.adminRoutes(), log); err != nil {
			return nil, err
		}
	}
	if err = g.broker.Listen(); err != nil {
		return nil, err
	}
	return g, nil
}

// run runs the gateway until ctx ends or a part of it fails, and closes it.
func (g *gateway) run(ctx context.Context, hup <-chan os.Signal, load func() (*configs.Config, error)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Senders outlive the listeners: they let what they can go to the cloud.
	sending, endSending := context.WithCancel(context.WithoutCancel(ctx))
	defer endSending()
	// The meter outlives the senders: it bills their last words.
	metering, endMetering := context.WithCancel(context.WithoutCancel(ctx))
	defer endMetering()

	var senders, front errgroup.Group
	fail := func(err error) error {
		if err != nil {
			stop(err)
		}
		return err
	}
	senders.Go(func() error { return fail(g.runClouds(sending)) })
	front.Go(func() error { return fail(g.broker.Run(ctx)) })
	front.Go(func() error { return fail(g.files.run(sending)) })
	if g.admin != nil {
		front.Go(func() error { return fail(g.admin.Run(sending)) })
	}
	front.Go(func() error { return g.meter.Run(metering) })
	front.Go(func() error { g.budgets.run(ctx); return nil })
	front.Go(func() error { g.fold(ctx); return nil })
	front.Go(func() error { g.drops.Keep(sending); return nil }) // what stopping gives up as well
	front.Go(func() error { g.stats.observe(ctx); return nil })
	g.announce()
	front.Go(func() error { g.reloads(ctx, hup, load); return nil }) // a signal may have waited for it
	<-ctx.Done()
	g.mu.Lock()
	limit := g.cfg.ShutdownTimeout
	g.mu.Unlock()
	g.log.Info("stopping", "shutdown_timeout", limit)
	g.drain(limit)
	endSending()
	sent := senders.Wait()
	endMetering()
	err := errors.Join(sent, front.Wait(), g.close())
	g.log.Info("stopped")
	return err
}

// fold keeps the ledger small. That it fails now and then costs space only, and
// no message.
func (g *gateway) fold(ctx context.Context) {
	if err := billing.Fold(ctx, g.spool, g.clock.Now); err != nil && ctx.Err() == nil {
		g.health.Raise(bridge.Warning{Code: "ledger-not-folded", Severity: bridge.Notice,
			Text: fmt.Sprintf("old hours of the ledger could not be summed up: %v; it is tried again at the next start", err)})
	}
}

// announce says what is open, once.
func (g *gateway) announce() {
	g.stats.ready.Store(true)
	g.warnDescriptors()
	for _, o := range g.cfg.Broker.Listeners {
		if addr := g.broker.Addrs()[o.Name]; addr != nil {
			g.log.Info("listening", "listener", o.Name, "type", o.Type, "address", addr.String(), "auth", o.Auth, "profile", o.Profile, "unlike_aws", unlikeAWS(o))
		}
	}
	if g.admin != nil {
		g.log.Info("admin port", "address", g.admin.Address())
	}
	g.log.Info("ready", "gateway", g.cfg.Gateway.ID, "version", version, "upstreams", len(g.clouds), "spool", g.cfg.Spool.Dir, "durability", g.cfg.Spool.Durability)
}

// unlikeAWS says what a listener's profile and quotas change, in a line.
func unlikeAWS(o localbroker.ListenerOptions) string {
	var words []string
	for _, a := range localbroker.Differences(o) {
		words = append(words, a.Name+": "+a.Value)
	}
	return cmp.Or(strings.ReplaceAll(strings.Join(words, "; "), "`", ""), "nothing")
}

// drain waits until nothing is left to send that could be sent, or until the
// time is over.
func (g *gateway) drain(limit time.Duration) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	acked, since := g.ackedByClouds(), time.Now()
	for g.draining() {
		select {
		case <-deadline.C:
			return
		case <-poll.C:
		}
		if now := g.ackedByClouds(); now != acked {
			acked, since = now, time.Now()
		} else if time.Since(since) > drainIdle {
			return // what waits is paused or held
		}
	}
}

// drainIdle is how long a stop waits for the next acknowledgement of a backlog.
const drainIdle = time.Second

func (g *gateway) ackedByClouds() (n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clouds {
		n += c.stats().Acked
	}
	return n
}

// draining reports whether a connected upstream has something to send.
func (g *gateway) draining() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clouds {
		if c.up.Stats().Connected && g.holds(c.upQueues) {
			return true
		}
		for _, t := range c.things {
			if t.up.Stats().Connected && g.holds(t.queues) {
				return true
			}
		}
	}
	return false
}

// holds reports whether something waits in one of the queues.
func (g *gateway) holds(queues []bridge.QueueRef) bool {
	return slices.ContainsFunc(queues, func(q bridge.QueueRef) bool { return g.spool.Depth(q.Name).Records > 0 })
}

// close closes what is open, in reverse. It is safe on a gateway that is open
// in part.
func (g *gateway) close() error {
	var errs []error
	if g.admin != nil {
		errs = append(errs, g.admin.Close())
	}
	g.streams.close()
	errs = append(errs, closeClouds(g.retired, nil), closeClouds(g.clouds, nil))
	errs = append(errs, g.files.close())
	if g.spool != nil {
		errs = append(errs, g.spool.Close())
	}
	return errors.Join(errs...)
}

// warnOrphans tells of queues that hold records and that no route sends.
func (g *gateway) warnOrphans() {
	for _, q := range g.orphans() {
		text := fmt.Sprintf("%d messages wait in %s, which no route sends any more: bring the route back, or move them with ebbgate spool requeue %s --to QUEUE", g.spool.Depth(q).Records, q, q)
		g.health.Raise(bridge.Warning{Code: "orphaned-queue-" + q, Severity: bridge.Degraded, Text: text})
		g.log.Warn(text)
	}
}

// accountForOrphans meters what a crash has left on the way to an upstream that is called
// otherwise now, or by a route that is gone.
func (g *gateway) accountForOrphans() {
	for _, q := range g.orphans() {
		if name, up := strings.CutPrefix(q, "up/"); up {
			name, _, _ = strings.Cut(name, "/")
			bridge.AccountForGone(g.spool, g.meter, name, q)
		}
	}
}

// orphans are the queues in which messages wait that nobody sends.
func (g *gateway) orphans() (out []string) {
	sent := map[string]bool{}
	for _, c := range g.clouds {
		for _, q := range append(c.allUpQueues(), c.downQueues...) {
			sent[q.Name] = true
		}
		for _, q := range c.rawQueues {
			sent[q] = true
		}
	}
	for _, q := range g.spool.Queues() {
		if g.spool.Depth(q).Records > 0 && !sent[q] && !isDead(q) {
			out = append(out, q)
		}
	}
	return out
}

// warnCrowded tells of upstreams whose places the ledger does not tell apart any more.
func (g *gateway) warnCrowded() {
	for _, name := range g.meter.Crowded() {
		g.health.Raise(bridge.Warning{Code: "places-" + name, Severity: bridge.Degraded,
			Text: fmt.Sprintf("upstream %s has been in more regions and accounts than the ledger tells apart: what it sends is billed by the region and account that are set, also when they change again; give it a new name", name)})
	}
}

// undecided warns of a route whose condition asks for what messages do not have.
func (g *gateway) undecided(route string, err error) {
	g.health.Raise(bridge.Warning{Code: "where-undecided-" + route, Severity: bridge.Notice,
		Text: fmt.Sprintf("messages of route %s cannot be decided by its where, on_error decides (such as: %v): test with has(), or narrow from", route, err)})
}

// counted counts what the walk has accepted.
type counted struct {
	*bridge.Ingest
	n *counter
}

func (c counted) Up(p *bridge.Principal, gr bridge.Grants, m *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	c.Ingest.Up(p, gr, m, extend, func(err error) {
		if err == nil {
			c.n.Add(1)
		}
		done(err)
	})
}

func (c counted) Authorized(p *bridge.Principal, m *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	c.Ingest.Authorized(p, m, extend, func(err error) {
		if err == nil {
			c.n.Add(1)
		}
		done(err)
	})
}
