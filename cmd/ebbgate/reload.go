package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/rules"
)

// reloads reads everything again at each signal.
func (g *gateway) reloads(ctx context.Context, hup <-chan os.Signal, load func() (*configs.Config, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		cfg, err := load()
		if err == nil {
			err = g.reload(cfg)
		}
		if err != nil {
			g.health.Raise(bridge.Warning{Code: "reload", Severity: bridge.Degraded, Text: fmt.Sprintf("the last reload was refused and changed nothing: %v", err)})
			g.log.Error("reload refused; what ran goes on", "error", err)
			continue
		}
		g.health.Clear("reload")
		g.log.Info("reloaded")
	}
}

// reload takes a new configuration: policies, things, users, certificates,
// limits, routes and upstreams. The error names what only a restart can change.
func (g *gateway) reload(cfg *configs.Config) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if what := needsRestart(g.cfg, cfg); what != "" {
		return fmt.Errorf("%s changed: restart the gateway", what)
	}
	// Everything that can be refused is tried before anything takes effect.
	table, err := rules.Compile(cfg.Routes)
	if err != nil {
		return err
	}
	if _, err := policy.Load(cfg.Policy); err != nil {
		return err
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
		return errors.Join(err, closeClouds(clouds, g.clouds))
	}
	g.router.Swap(table)
	if !same {
		g.retired = append(g.retired, g.clouds...)
		g.clouds = clouds
		g.warnOrphans()
		g.stats.changeClouds()
	}
	return g.engine.Reload() // it was valid a moment ago
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

// needsRestart names the first setting that differs and cannot be changed while
// running.
func needsRestart(old, new *configs.Config) string {
	switch {
	case old.Spool != new.Spool:
		return "spool"
	case old.Admin != new.Admin:
		return "admin"
	case old.Log != new.Log:
		return "log"
	case old.Gateway != new.Gateway:
		return "gateway"
	case !reflect.DeepEqual(billingOf(old), billingOf(new)):
		return "which upstreams there are, or how one bills,"
	case old.Policy != new.Policy:
		return "policy (its folders; their content may change)"
	}
	return ""
}
