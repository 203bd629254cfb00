package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// peak is the most that was spooled.
type peak struct{ atomic.Int64 }

// sample watches how much is spooled until ctx ends.
func (a *act) sample(ctx context.Context) error {
	for pause(ctx, sampleEvery) == nil {
		if a.waiting() > a.peak.Load() {
			a.peak.Store(max(a.peak.Load(), a.account().Lost))
		}
	}
	return nil
}

// settleTime is how long the gateway may take to release and meter what the
// cloud has acknowledged.
const settleTime = 10 * time.Second

// result takes the figures once nothing moves any more.
func (a *act) result(ctx context.Context) (*Result, error) {
	stats, counts, d := a.fleet.Stats(), a.cloud.Arrivals().Counts(), a.account()
	r := &Result{
		Sent: stats.Sent, Acked: stats.Acked, Delivered: a.cloud.Arrivals().Seen().Len(), Lost: d.Lost,
		Duplicates: counts.Duplicates, OutOfOrder: counts.OutOfOrder,
		SpooledAtKill: append([]int64{}, a.spooledAtKill...), PeakSpool: a.peak.Load(),
		Outage: seconds(a.outage), Drain: seconds(a.drain), CostUSD: "0",
	}
	if d.Lost > 0 {
		r.sample = fmt.Sprint(d.Sample)
	}
	if a.gateway == nil {
		return r, nil
	}
	if err := a.settled(ctx); err != nil {
		return nil, err
	}
	units, uncertain, usd, err := a.gateway.metered(ctx)
	if err != nil {
		return nil, fmt.Errorf("demo: reading the bill: %w", err)
	}
	r.Units, r.Uncertain = units, uncertain
	if usd != "" {
		r.CostUSD = json.Number(usd)
	}
	return r, nil
}

// audit checks the gateway's ledger against the cloud's own count: what the
// gateway took into its spool, each record once. A device that was not
// answered before a kill sends again, and pays again.
func (a *act) audit(r *Result) error {
	c := a.cloud.Arrivals().Counts()
	if r.Units != c.RecordUnits {
		return fmt.Errorf("demo: the gateway's ledger has %d metered messages, the cloud counted %d", r.Units, c.RecordUnits)
	}
	a.say("%d metered messages: %d for what was sent, %d for what devices sent again", r.Units, c.FirstUnits, r.Units-c.FirstUnits)
	return nil
}

// settled waits until the gateway has released everything.
func (a *act) settled(ctx context.Context) error {
	for deadline := time.Now().Add(settleTime); ; {
		s, err := a.gateway.status(ctx)
		if err == nil && s.Spool.Depth == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			if err != nil {
				return fmt.Errorf("demo: asking the gateway: %w", err)
			}
			return nil // what is left is lost or late, and the result says so
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// Print writes the result for a person.
func (r *Result) Print(w io.Writer) {
	_, _ = fmt.Fprintf(w, `
sent              %d
acknowledged      %d, counted in the devices
arrived           %d, counted in the cloud
lost              %d
duplicates        %d
out of order      %d
spooled at kills  %v
most spooled      %d
outage            %.1f s
drained in        %.1f s
metered messages  %d, and %d uncertain
cost              $%s
`, r.Sent, r.Acked, r.Delivered, r.Lost, r.Duplicates, r.OutOfOrder, r.SpooledAtKill, r.PeakSpool,
		time.Duration(r.Outage).Seconds(), time.Duration(r.Drain).Seconds(), r.Units, r.Uncertain, r.CostUSD)
	if r.sample != "" {
		_, _ = fmt.Fprintf(w, "lost, for example %s\n", r.sample)
	}
}
