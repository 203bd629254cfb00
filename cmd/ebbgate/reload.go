package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/metered"
)

// reloads reads everything again at each signal, and puts policies into force
// that have waited for their time.
func (g *gateway) reloads(ctx context.Context, hup <-chan os.Signal, load func() (*configs.Config, error)) {
	var waiting queue
	for {
		var due <-chan time.Time
		if len(waiting) > 0 {
			due = time.After(time.Until(waiting[0].at))
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
			g.applyLater(waiting[0].staged, len(waiting) == 1)
			waiting = waiting[1:]
			continue
		case <-hup:
		}
		cfg, err := load()
		var staged *policy.Staged
		if err == nil {
			staged, err = g.reload(cfg)
		}
		if err != nil {
			g.health.Raise(bridge.Warning{Code: "reload", Severity: bridge.Degraded, Text: fmt.Sprintf("the last reload was refused and changed nothing: %v", err)})
			g.log.Error("reload refused; what ran goes on", "error", err)
			continue
		}
		g.health.Clear("reload")
		g.log.Info("reloaded")
		if o := cfg.Policy.Changes; o.Change == policy.ChangeAWS {
			waiting = waiting.add(delayed{time.Now().Add(o.Delay), staged}, o.Delay)
			g.announceDelay(o.Delay)
		} else {
			g.applyNow(staged)
		}
	}
}

// delayed are policies that take effect as AWS's do, after a while.
type delayed struct {
	at     time.Time
	staged *policy.Staged
}

// queue is what waits for its time, the earliest first. Each state holds all
// documents and things, so that reloads which follow each other closely share one.
type queue []delayed

// apart is into how many parts of the delay states are kept apart.
const apart = 16

// add queues a state. It takes the place of the last one, if that came closely
// behind the one before: what was read then takes effect with it, later by that
// part of the delay at most. So there are never many more than apart.
func (q queue) add(d delayed, delay time.Duration) queue {
	if n := len(q); n > 1 && q[n-1].at.Sub(q[n-2].at) < max(delay/apart, time.Second) {
		q[n-1] = d
		return q
	}
	return append(q, d)
}

// applyNow puts policies into force, and ends what they no longer allow.
func (g *gateway) applyNow(staged *policy.Staged) {
	staged.Apply()
	c := g.broker.Enforce()
	g.log.Info(fmt.Sprintf("policy changed: %d of %d sessions ended", c.Ended, c.Sessions), "subscriptions", c.Subscriptions, "took", c.Took.Round(time.Millisecond))
}

// pendingPolicies is the warning that what is in the files is not in force yet.
const pendingPolicies = "policy-pending"

func (g *gateway) announceDelay(d time.Duration) {
	text := fmt.Sprintf("policies and things that were reloaded take effect at %s (policy_change: aws)", time.Now().Add(d).Format(time.TimeOnly))
	g.health.Raise(bridge.Warning{Code: pendingPolicies, Severity: bridge.Notice, Text: text})
	g.log.Info(text)
}

// applyLater puts policies into force as AWS does: whoever is connected stays,
// and meets them with the next message.
func (g *gateway) applyLater(staged *policy.Staged, last bool) {
	staged.Apply()
	g.broker.PolicyChanged()
	if last {
		g.health.Clear(pendingPolicies)
	}
	g.log.Info("policy changed; connections and subscriptions stay (policy_change: aws)")
}

// reload takes a new configuration: users, certificates, limits, routes and
// upstreams, and policies and things, which it returns: the caller puts them
// into force. The error names what only a restart can change.
func (g *gateway) reload(cfg *configs.Config) (*policy.Staged, error) {
	g.ingest.Settle() // the reload before this may have been a moment ago, see bridge.Inherited
	g.mu.Lock()
	defer g.mu.Unlock()
	if what := needsRestart(g.cfg, cfg); what != "" {
		return nil, fmt.Errorf("%s changed: restart the gateway; until then nothing of this configuration is in force", what)
	}
	// Everything that can be refused is tried before anything takes effect.
	priced, err := g.reprice(billingOf(cfg))
	if err != nil {
		return nil, err
	}
	table, err := rules.Compile(cfg.Routes)
	if err != nil {
		return nil, err
	}
	g.goThrough(table, g.table)
	staged, err := g.engine.Stage()
	if err != nil {
		return nil, err
	}
	repace, err := g.files.repace(g, g.cfg.FileTransfer.Export, cfg.FileTransfer.Export)
	if err != nil {
		return nil, err
	}
	was, wasTable := g.cfg, g.table
	same := reflect.DeepEqual(was.Upstreams, cfg.Upstreams) && reflect.DeepEqual(was.Routes, cfg.Routes)
	clouds := g.clouds
	g.cfg, g.table = cfg, table
	if !same {
		clouds, err = g.openClouds()
	}
	if err == nil {
		err = g.broker.Reload(cfg.Broker) // all or nothing
	}
	if err != nil {
		g.cfg, g.table = was, wasTable
		return nil, errors.Join(err, closeClouds(clouds, g.clouds))
	}
	if !same && g.endRound != nil {
		// What a thing sends to another queue from now on must not overtake what the
		// connections that end here still have of it.
		g.endRound()
	}
	repace()
	priced()
	g.router.Swap(table)
	g.broker.PassThrough(passThrough(cfg.Routes.PassThrough))
	g.health.Clear(localbroker.WarningNoRuleRoute)
	if !same {
		g.retired = append(g.retired, g.clouds...)
		g.clouds = clouds
		g.notePriorities()
		g.link()
		g.warnOrphans()
		g.meter.Reached(billingOf(cfg))
		g.meter.Routes(routesOf(cfg, billing.DefaultUnit))
		g.stats.changeClouds()
	}
	for _, c := range g.clouds { // those that go on, too
		c.refresh()
	}
	return staged, nil
}

// closeClouds closes those that do not run.
func closeClouds(opened, running []*cloud) error {
	var errs []error
	for _, c := range opened {
		if !slices.Contains(running, c) {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(errs...)
}

// changedKeys names the keys of a section that differ, the first few of them.
func changedKeys(section string, old, new any) string {
	const most = 5
	keys := configs.Changed(section, old, new)
	if len(keys) > most {
		keys = append(keys[:most:most], fmt.Sprintf("and %d more below %s", len(keys)-most, section))
	}
	return cmp.Or(strings.Join(keys, ", "), section)
}

// howBilled is what of the upstreams the bill goes by. One may be reached elsewhere, in
// the same region and account, without a restart (billing.Meter.Reached).
func howBilled(cfg *configs.Config) map[string]billing.Options {
	all := billingOf(cfg)
	for name, o := range all {
		o.Endpoint = ""
		all[name] = o
	}
	return all
}

// changedUpstreams names what of the upstreams differs in how they are billed, of the
// first of them.
func changedUpstreams(old, new *configs.Config) string {
	was, is := howBilled(old), howBilled(new)
	names := slices.Concat(slices.Collect(maps.Keys(was)), slices.Collect(maps.Keys(is)))
	slices.Sort(names)
	for _, name := range names {
		at := "upstreams." + name
		a, before := was[name]
		b, after := is[name]
		switch {
		case !before || !after:
			return at
		case reflect.DeepEqual(a, b):
		case a.HTTP != b.HTTP:
			return at + ".endpoint or .way (to HTTPS, or from it)"
		case a.MQTT3 != b.MQTT3:
			return at + ".protocol"
		case a.Region != b.Region && old.Upstreams[name].Billing.Region == new.Upstreams[name].Billing.Region:
			return at + ".endpoint (another region)"
		default:
			return changedKeys(at+".billing", a, b)
		}
	}
	return "upstreams"
}

// ofRestart is file transfer without what a reload takes: the pace of exports.
func ofRestart(o configs.FileTransfer) configs.FileTransfer {
	o.Export.Bandwidth, o.Export.Metered = 0, metered.Options{}
	return o
}

// needsRestart names the first setting that differs and cannot be changed while
// running.
func needsRestart(old, new *configs.Config) string {
	switch {
	case old.Spool != new.Spool:
		return changedKeys("spool", old.Spool, new.Spool)
	case !reflect.DeepEqual(ofRestart(old.FileTransfer), ofRestart(new.FileTransfer)):
		return changedKeys("file_transfer", ofRestart(old.FileTransfer), ofRestart(new.FileTransfer))
	case old.Admin != new.Admin:
		return changedKeys("admin", old.Admin, new.Admin)
	case old.Log != new.Log:
		return changedKeys("log", old.Log, new.Log)
	case old.Streams != new.Streams:
		return changedKeys("streams", old.Streams, new.Streams)
	case !reflect.DeepEqual(old.Gateway, new.Gateway):
		return "gateway"
	case !reflect.DeepEqual(howBilled(old), howBilled(new)):
		return changedUpstreams(old, new)
	case old.Policy != new.Policy:
		return "policy (its folders and switches; what is in the folders may change)"
	}
	return ""
}
