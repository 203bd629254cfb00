package main

import (
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/internal/decisions"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// adminRoutes are what the admin port serves beside health and metrics.
func (g *gateway) adminRoutes() telemetry.Routes {
	routes := telemetry.Routes{
		"GET /api/v1/bill":   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.ledger.Load().ServeHTTP(w, r) }),
		"GET /api/v1/ledger": g.exportLedger(),
		"POST /api/v1/spool": spoolHandler{g},

		"POST /api/v1/streams/{id}/prefetch": prefetchHandler{g},
		"GET /api/v1/streams/{id}/prefetch":  planHandler{g},
		"GET /api/v1/streams/cached":         cachedHandler{g},

		"GET /api/v1/policy/log":      g.asked,
		"POST /api/v1/policy/dry-run": decisions.DryRunHandler{Log: g.asked, Load: g.candidate, Standing: g.broker.Standing},
	}
	maps.Copy(routes, g.transferRoutes())
	return routes
}

// exportLedger gives the ledger to ebbgate bill, with the sizes of what was sent until
// it is asked for.
func (g *gateway) exportLedger() http.Handler {
	export := billing.Export(g.spool)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.meter.Flush()
		export.ServeHTTP(w, r)
	})
}

// billState is the short bill of all upstreams, and the units of each of today.
func (g *gateway) billState(now time.Time) (telemetry.BillState, map[string][2]int64) {
	var out telemetry.BillState
	units := map[string][2]int64{}
	totals, err := g.ledger.Load().Totals(now, g.meter.Pace)
	if err != nil {
		return out, units
	}
	today, month := new(big.Rat), new(big.Rat)
	for name, t := range totals {
		out.UnitsToday += t.UnitsToday
		out.UncertainToday += t.UncertainToday
		today.Add(today, orZero(t.USDToday))
		month.Add(month, orZero(t.USDMonth))
		units[name] = [2]int64{t.UnitsToday, t.UncertainToday}
	}
	out.USDToday, out.USDMonth = today.FloatString(6), month.FloatString(6)
	project(&out, totals)
	return out, units
}

// project sums up what the upstreams cost in a month, if something can be said of
// each: the sum of some of them would be no projection.
func project(out *telemetry.BillState, totals map[string]billing.Totals) {
	usd, low, high := new(big.Rat), new(big.Rat), new(big.Rat)
	window := time.Duration(-1)
	for _, name := range slices.Sorted(maps.Keys(totals)) {
		if totals[name].Gone { // nothing more is to come
			continue
		}
		p := totals[name].Projected
		if p.Why != "" {
			out.ProjectedFrom = p.Why
			return
		}
		usd.Add(usd, orZero(p.USD))
		low.Add(low, orZero(p.Low))
		high.Add(high, orZero(p.High))
		if window < 0 || p.Window < window {
			window = p.Window
		}
	}
	if window < 0 {
		return // there is no upstream
	}
	out.USDProjected, out.USDProjectedLow, out.USDProjectedHigh = usd.FloatString(6), low.FloatString(6), high.FloatString(6)
	out.ProjectedFrom = fmt.Sprintf("the last %d minutes", window/time.Minute)
}

func orZero(r *big.Rat) *big.Rat {
	if r == nil {
		return new(big.Rat)
	}
	return r
}

// humanAge is an age as a person reads it: "3.2s", "14m", "6d2h".
func humanAge(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
