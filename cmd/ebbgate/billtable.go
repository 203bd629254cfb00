package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

// The values of bill's flag --by.
const (
	byDevice = "device"
	byTopic  = "topic"
)

// billRows bounds a table; what is below is summed in one row.
const billRows = 20

// printBills prints a table per period, upstream and grouping.
func printBills(w io.Writer, b *bills, by string) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, p := range []struct {
		title  string
		layout string
		bill   *billing.Bill
	}{{"Today", "2006-01-02", b.Today}, {"This month", "2006-01", b.Month}} {
		if p.bill == nil {
			continue
		}
		fmt.Fprintf(out, "%s, %s (UTC)\n", p.title, p.bill.From.Format(p.layout))
		for _, t := range p.bill.Totals {
			printTotal(out, p.bill, t, by)
		}
		if n := p.bill.Unknown.Units; n > 0 {
			fmt.Fprintf(out, "%s metered messages were counted while the clock was wrong, and belong to no day.\n", thousands(n))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

func printTotal(out *tabwriter.Writer, b *billing.Bill, t billing.Total, by string) {
	fmt.Fprintf(out, "%s: %s\n", t.Upstream, priced(t))
	for _, group := range []string{byDevice, byTopic} {
		if by != "" && by != group {
			continue
		}
		fmt.Fprintf(out, "%s\tmetered\tuncertain\tmessages\twire bytes\tUSD\t\n", group)
		for _, r := range rows(b, t.Upstream, group) {
			printRow(out, r.Name, r.Counts, cmp.Or(r.USD, "-"))
		}
		printRow(out, "total", t.Counts, cmp.Or(t.USD, "-"))
	}
	if t.Unsynchronised > 0 {
		fmt.Fprintf(out, "%s of them in hours that an unsynchronised clock told.\n", thousands(t.Unsynchronised))
	}
}

func printRow(out *tabwriter.Writer, name string, c billing.Counts, usd string) {
	fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, thousands(c.Units), thousands(c.Uncertain), thousands(c.Messages), thousands(c.Wire), usd)
}

func priced(t billing.Total) string {
	if t.USD == "" {
		return fmt.Sprintf("metered in units of %d bytes, no prices", t.Unit)
	}
	s := fmt.Sprintf("prices of %s as of %s (%s), metered in units of %d bytes", t.Region, t.PricesAsOf, t.PriceStatus, t.Unit)
	if t.Uncertain > 0 {
		s += fmt.Sprintf("; $%s more if every uncertain one was billed", t.USDUncertain)
	}
	return s
}

// rows sums an upstream's lines by device or topic.
func rows(b *billing.Bill, upstream, by string) []billing.Sum {
	lines := slices.DeleteFunc(slices.Clone(b.Lines), func(n billing.Line) bool { return n.Upstream != upstream })
	return billing.Group(lines, billRows, func(n billing.Line) string {
		switch {
		case by == byTopic:
			return n.Topic
		case n.Direction == billing.Down:
			return "(from the cloud)"
		}
		return n.Device
	})
}

// thousands writes a number as people read it: 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
