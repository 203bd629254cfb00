package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// fleetOptions are the flags of the commands that look at what was sent in a
// span: of one upstream, or of all.
type fleetOptions struct {
	billOptions
	upstream string
}

func (o *fleetOptions) flags(cmd *cobra.Command) {
	o.configFlags(cmd)
	o.periodFlags(cmd, "this month")
	cmd.Flags().StringVar(&o.upstream, "upstream", "", "only this upstream (default all)")
}

// each gives fn the fleet of each upstream.
func (o *fleetOptions) each(cmd *cobra.Command, fn func(cfg *configs.Config, f *billing.Fleet) error) error {
	if o.period == "" && o.at == "" {
		o.period = "month"
	}
	now := time.Now()
	spans, err := o.spans(now)
	if err == nil && o.period == "hour" {
		err = errors.New("--period hour: sizes are recorded by the day: choose a day or a month")
	}
	if err != nil {
		return &exitError{exitInvalid, err}
	}
	cfg, err := configs.LoadToAsk(o.config, os.Environ(), o.sets)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(cfg.Upstreams))
	if o.upstream != "" {
		if !slices.Contains(names, o.upstream) {
			return &exitError{exitInvalid, fmt.Errorf("--upstream %s: the configuration has %s", o.upstream, strings.Join(names, ", "))}
		}
		names = []string{o.upstream}
	}
	return withLedger(cmd.Context(), cfg, func(l *billing.Ledger) error {
		for _, name := range names {
			f, err := l.Fleet(name, spans[0].from, spans[0].to, now)
			if err == nil {
				err = fn(cfg, f)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func newAdviseCommand() *cobra.Command {
	var o fleetOptions
	var least string
	cmd := &cobra.Command{
		Use:   "advise",
		Short: "Rank what would save most, with its risk and what the consumer must change",
		Long: `Rank what would save most a year, from the sizes of what was sent: batching,
Basic Ingest, retain, origin, QoS of what comes down. Each measure comes on top of
those before it and of what the configuration does already, as which all of the span
is taken, with what it risks and what whoever reads the messages must change. What saves less than --least a year is not worth the bother.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			threshold, ok := new(big.Rat).SetString(least)
			if !ok || threshold.Sign() < 0 {
				return &exitError{exitInvalid, fmt.Errorf("--least %s: write dollars a year, such as 10", least)}
			}
			t := &billTable{out: cmd.OutOrStdout()}
			return errors.Join(o.each(cmd, func(cfg *configs.Config, f *billing.Fleet) error {
				f.Routes = routesOf(cfg, int(f.Options.Unit))
				printAdvice(t, f, threshold)
				return nil
			}), t.err)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&least, "least", "10", "dollars a year below which a measure is not worth the bother")
	return cmd
}

// routesOf are the routes of a configuration, with what they do, at an upstream that meters
// messages by so many bytes. Which upstream one is for does not matter: another may have
// taken over.
func routesOf(cfg *configs.Config, unit int) map[string]billing.Does {
	all := map[string]billing.Does{rules.PassThroughRoute: {Fixed: true}}
	for _, r := range cfg.Routes.Up {
		d := billing.Does{
			BasicIngest: r.BasicIngest != "" || billing.IsBasicIngest(r.Topic), ClearRetain: r.Retain == "clear",
			NoOrigin: r.Origin == "none" || r.Origin == "bare", Envelope: r.Origin == "envelope",
			Sparkplug: shape.Sparkplug(r.From), KeepLast: r.KeepLast, TTL: r.TTL, Most: mostOfBatch(r.Steps),
		}
		if b := r.Steps.Batch; b.Format != shape.None {
			limit := b.Limit(unit)
			d.Type, d.Made = billing.BatchType(b.Format), fmt.Sprintf("%s/%d/%d/%d/%v/%s/%s", b.Format, b.Size, b.Units, b.Count, b.Age, r.Steps.Compress, r.Origin)
			d.Batch, _ = billing.BatchFormat(b.Format, limit)
			d.Batch.Limit, d.Batch.Count, d.Batch.Age = limit, b.Count, b.Age
			d.Batch.Shared, d.Batch.Own = !strings.Contains(r.Topic, "${"), d.Envelope
		}
		all[r.Name] = d
	}
	return all
}

// mostOfBatch is how large a batch of a route may be that goes neither in parts nor as a
// file; 0 is without a bound.
func mostOfBatch(o shape.Options) int {
	switch split, divert := int(o.Split), int(o.Divert); {
	case split == 0 || divert == 0:
		return max(split, divert)
	default:
		return min(split, divert)
	}
}

func printAdvice(t *billTable, f *billing.Fleet, threshold *big.Rat) {
	advice, bother, ok := f.Advise(threshold)
	if !ok {
		t.paragraph("", f.Upstream+": nothing can be ranked: "+unpriced(f, f.Plan(nil)))
		return
	}
	now, _ := f.Range(f.Plan(nil))
	year := now.Times(12, 1)
	t.paragraph("", fmt.Sprintf("%s: $%s a year at the pace of the last %s%s", f.Upstream, cents(year), humanAge(f.Span), between(year)))
	t.covered(f)
	if then, _ := f.Range(f.Taken()); then.Rat().Cmp(now.Rat()) != 0 {
		then = then.Times(12, 1)
		t.paragraph("  ", fmt.Sprintf("had all of it been sent as the configuration does it by now: about $%s a year%s; what is advised comes on top of that", cents(then), between(then)))
	}
	saved := billing.Amount{}
	for i, a := range advice {
		saved = saved.Plus(a.PerYear)
		t.paragraph("  ", fmt.Sprintf("%d. %s: saves $%s a year%s", i+1, printable(a.Name), cents(a.PerYear), between(a.PerYear)))
		t.paragraph("     ", "risk: "+a.Risk)
		t.paragraph("     ", "who reads it: "+a.Consumer)
	}
	early := slices.ContainsFunc(bother, func(a billing.Advice) bool { return f.MayBeWorth(a, threshold) })
	switch {
	case len(advice) > 0:
		t.paragraph("  ", fmt.Sprintf("all of them together: $%s a year less", cents(saved)))
	case early:
		t.paragraph("  ", fmt.Sprintf("too early to tell whether anything saves $%s a year: of the first hour only what came in it is known, not when it began; ask again in some hours", threshold.FloatString(2)))
	default:
		t.paragraph("  ", fmt.Sprintf("don't bother: nothing saves $%s a year", threshold.FloatString(2)))
	}
	for _, a := range f.Past() {
		if a.PerYear.Rat().Cmp(threshold) >= 0 {
			t.paragraph("  ", fmt.Sprintf("not advised: %s ($%s a year): %s; --period day tells what is sent now", printable(a.Name), cents(a.PerYear), printable(a.Past)))
		}
	}
	for _, m := range f.Maybe(threshold) {
		t.paragraph("  ", fmt.Sprintf("may save something, nobody can tell how much: %s: %s", printable(m.Name), printable(m.Unknown)))
	}
	for _, a := range bother {
		if f.MayBeWorth(a, threshold) {
			t.paragraph("  ", fmt.Sprintf("too early to tell: %s ($%s a year, or more)", printable(a.Name), cents(a.PerYear)))
			continue
		}
		t.paragraph("  ", fmt.Sprintf("don't bother: %s ($%s a year)", printable(a.Name), cents(a.PerYear)))
	}
}

// covered says how much of the bill the sizes know of, and what becomes of the rest.
func (t *billTable) covered(f *billing.Fleet) {
	if f.Span < shortPast {
		t.paragraph("  ", fmt.Sprintf("%s are a short past: a day's rhythm is not in them, and the first minutes of a start are", humanAge(f.Span)))
	}
	if len(f.Elsewhere) > 0 {
		t.paragraph("  ", fmt.Sprintf("what the bill has as %s is in it as if it had gone where %s is now: %s", strings.Join(f.Elsewhere, ", "), f.Upstream, cmp.Or(f.Region, "no region")))
	}
	c := f.Covered
	if c.Untold > 0 {
		t.paragraph("  ", fmt.Sprintf("the sizes of %s of %s messages are recorded by an earlier version, which did not tell requests, Sparkplug under other topics, and batches from single messages", thousands(c.Untold), thousands(c.Recorded)))
	}
	if c.Whole() {
		return
	}
	share := func(part, all int64) string {
		if all == 0 {
			return "all"
		}
		return big.NewRat(100*min(part, all), all).FloatString(1) + " %"
	}
	text := fmt.Sprintf("sizes are recorded of %s of %s messages (%s) and %s of %s metered ones (%s)", thousands(c.Recorded), thousands(c.Messages), share(c.Recorded, c.Messages),
		thousands(c.RecordedUnits), thousands(c.Units), share(c.RecordedUnits, c.Units))
	if c.Processed > 0 {
		text += fmt.Sprintf(", and %s of %s by Basic Ingest", thousands(c.RecordedRule), thousands(c.Processed))
	}
	t.paragraph("  ", text+"; the rest is taken as it was billed, whatever is changed: the last minute before a kill, or before now, answers to requests that failed, what the ledger knows only as (other), or what is older than the sizes are kept")
}

// unpriced says why there are no dollars.
func unpriced(f *billing.Fleet, p billing.Plan) string {
	for _, region := range []string{p.Region, f.Region} {
		if region == "" {
			continue
		}
		for _, list := range []*billing.PriceList{p.Prices, f.Prices} {
			if list == nil {
				continue
			}
			if why, missing := list.Unpriced(region); missing {
				return "no prices: " + why
			}
		}
	}
	return "no prices: its endpoint is not AWS's, and names no region; set billing.region if it is billed as one"
}

// shortPast is how much of a past says little of a year.
const shortPast = 24 * time.Hour

func cents(a billing.Amount) string { return a.Rat().FloatString(2) }

func between(a billing.Amount) string {
	if !a.Ranged() {
		return ""
	}
	low, high := a.Low, a.High
	if low.Cmp(high) > 0 { // of a difference, as of what is saved
		low, high = high, low
	}
	from, to := low.FloatString(2), high.FloatString(2)
	if from == to {
		return ""
	}
	return fmt.Sprintf(", between $%s and $%s as certain as its prices are", from, to)
}

// whatIfOptions are the flags of what-if.
type whatIfOptions struct {
	fleetOptions
	routes   string
	region   string
	unit     string
	protocol string
	batches  []string
	format   string
	age      time.Duration
	basic    []string

	then  string                      // the protocol of the plan; empty: as it was
	quiet map[[2]string]time.Duration // how long a deadband may be silent, by route and topic
}

func newWhatIfCommand() *cobra.Command {
	var o whatIfOptions
	cmd := &cobra.Command{
		Use:   "what-if",
		Short: "Say what other routes would have cost, from the sizes of what was sent",
		Long: `Replay the recorded sizes of what was sent through other routes: those of another
configuration file (topic, sample, window, batch, Basic Ingest, retain, origin, protocol,
region, unit and prices), or of the flags. Batches hold messages of one topic; how many
topics there were below each prefix of the ledger is recorded. What the ledger has and
the sizes do not stands in both columns as it was billed, and is said.`,
		Example: `  ebbgate bill what-if --routes new.yaml
  ebbgate bill what-if --batch telemetry=5120B --batch-age 30s --basic-ingest telemetry
  ebbgate bill what-if --region us-east-1 --unit 5000B --protocol mqtt3`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := &billTable{out: cmd.OutOrStdout()}
			return errors.Join(o.each(cmd, func(cfg *configs.Config, f *billing.Fleet) error { return o.print(t, cfg, f) }), t.err)
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.routes, "routes", "", "configuration file whose routes and billing are tried")
	f.StringVar(&o.region, "region", "", "region of the price list")
	f.StringVar(&o.unit, "unit", "", "size of a metered message, such as 5000B")
	f.StringVar(&o.protocol, "protocol", "", "mqtt5, mqtt3, which carries no properties, or https, whose answers are metered (default as it was)")
	f.StringArrayVar(&o.batches, "batch", nil, "ROUTE=SIZE: batch the route's messages up to SIZE, topic included; * is every route")
	f.StringVar(&o.format, "batch-format", "json", "json, ndjson, length_prefixed or raw")
	f.DurationVar(&o.age, "batch-age", time.Minute, "how long a message waits for others")
	f.StringArrayVar(&o.basic, "basic-ingest", nil, "ROUTE: send it straight to a rule; * is every route")
	return cmd
}

// print compares a fleet as it is with the plan of the flags.
func (o *whatIfOptions) print(t *billTable, cfg *configs.Config, f *billing.Fleet) error {
	o.then, o.quiet = "", nil
	plan, notes, err := o.plan(cfg, f)
	if err != nil {
		return err
	}
	was := f.Plan(nil)
	if f.Region == "" && plan.Region != "" { // what the flags name is all that is known of where it is billed
		was.Region, was.Prices = plan.Region, plan.Prices
		notes = append(notes, "the configuration names no region: as it is, it is priced as in "+plan.Region+" too")
	}
	before, priced := f.Range(was)
	after, pricedThen := f.Range(plan)
	if least, ok := f.Range(o.fewest(f, plan)); ok && len(o.quiet) > 0 {
		notes = append(notes, fmt.Sprintf("were the values always the same, and the deadbands left out all that they can: %s metered messages, and $%s a month, which the range of what if holds",
			thousands(f.Usage(o.fewest(f, plan)).Messages), least))
		after = after.Spanning(least)
	}
	t.paragraph("", fmt.Sprintf("%s: a month of 30 days at the pace of the last %s", f.Upstream, humanAge(f.Span)))
	t.covered(f)
	t.printf("  %-24s %18s %20s\n", "", "as it is", "what if")
	a, b, rest, restThen := f.Usage(was), f.Usage(plan), f.Unsized(was), f.Unsized(plan)
	for _, r := range []struct {
		name string
		a, b int64
		some bool // it is shown only where there is some
	}{
		{"metered messages", a.Messages, b.Messages, false}, {"  of them without sizes", rest.Messages, restThen.Messages, true},
		{"rules triggered", a.Rules, b.Rules, false}, {"actions", a.Actions, b.Actions, false},
		{"minutes", a.Minutes, b.Minutes, false}, {"shadow operations", a.Shadow, b.Shadow, true},
	} {
		if !r.some || r.a != 0 || r.b != 0 {
			t.printf("  %-24s %18s %20s\n", r.name, thousands(r.a), thousands(r.b))
		}
	}
	switch {
	case !priced || !pricedThen:
		t.paragraph("  ", unpriced(f, plan))
	default:
		t.printf("  %-24s %18s %20s\n", "USD a month", before, after)
		t.printf("  %-24s %18s %20s\n", "USD a year", cents(before.Times(12, 1)), cents(after.Times(12, 1)))
		if before.Rat().Sign() > 0 {
			change := new(big.Rat).Quo(after.Minus(before).Rat(), before.Rat())
			t.printf("  %-24s %39s\n", "", change.Mul(change, big.NewRat(100, 1)).FloatString(1)+" %")
		}
		for _, r := range []struct {
			name string
			a    billing.Amount
		}{{"as it is", before}, {"what if", after}} {
			why := "not all prices are sourced, or 5 KB is the other number"
			if r.name == "what if" && len(o.quiet) > 0 {
				why += ", or deadbands leave out much"
			}
			if r.a.Ranged() {
				t.paragraph("  ", r.name+": between $"+strings.Replace(r.a.Range(), " to ", " and $", 1)+" a month: "+why)
			}
		}
	}
	for _, n := range notes {
		t.paragraph("  ", n)
	}
	return nil
}
