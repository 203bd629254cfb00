package main

import (
	"context"
	"fmt"
	"os"
	"reflect"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
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
	table, err := rules.Compile(cfg.Routes)
	if err != nil {
		return err
	}
	if err := g.engine.Reload(); err != nil {
		return err
	}
	if err := g.broker.Reload(cfg.Broker); err != nil {
		return err
	}
	same := reflect.DeepEqual(g.cfg.Upstreams, cfg.Upstreams) && reflect.DeepEqual(g.cfg.Routes, cfg.Routes)
	g.cfg, g.table = cfg, table
	g.router.Swap(table)
	if same {
		return nil
	}
	clouds, err := g.openClouds()
	if err != nil {
		return err
	}
	g.clouds = clouds
	g.warnOrphans()
	g.stats.changeClouds()
	return nil
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
