package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

// printExplained takes the line called which apart.
func printExplained(w io.Writer, l *billing.Ledger, b *billing.Bill, which string, name func(billing.Line) string) error {
	t := &billTable{out: w}
	found := false
	for _, total := range b.Totals {
		lines := slices.DeleteFunc(linesOf(b, total.Upstream), func(n billing.Line) bool { return name(n) != which })
		if len(lines) == 0 {
			continue
		}
		found = true
		steps, err := l.Explain(b, total.Upstream, lines)
		if err != nil {
			return err
		}
		t.printf("%s of %s, %s to %s (UTC)\n", printable(which), total.Upstream, b.From.Format("2006-01-02 15h"), b.To.Format("2006-01-02 15h"))
		for _, s := range steps {
			text := "  " + printable(s.Text)
			if s.Units > 0 {
				text += " → " + thousands(s.Units) + " metered"
			}
			if s.Sum {
				text = "= " + text[2:]
			}
			t.paragraph("  ", text)
		}
	}
	if !found {
		return &exitError{exitInvalid, fmt.Errorf("--explain %s: no such line; the table of ebbgate bill with the same flags lists them", which)}
	}
	return t.err
}

// printForecast says what the month will cost.
func printForecast(w io.Writer, l *billing.Ledger, now time.Time) error {
	all, err := l.Forecast(now)
	if err != nil {
		return err
	}
	t := &billTable{out: w}
	for _, f := range all {
		switch {
		case f.Unknown:
			t.printf("%s in %s: nothing can be told yet\n", f.Upstream, now.UTC().Format("2006-01"))
			for _, r := range f.Reasons {
				t.paragraph("  ", r)
			}
			continue
		case f.USD != "":
			t.printf("%s will cost $%s in %s, between $%s and $%s\n", f.Upstream, f.USD, now.UTC().Format("2006-01"), f.From, f.To)
		default:
			t.printf("%s in %s\n", f.Upstream, now.UTC().Format("2006-01"))
		}
		t.paragraph("  ", fmt.Sprintf("%s metered messages at the end of the month, between %s and %s", thousands(f.Likely), thousands(f.Low), thousands(f.Top)))
		for _, r := range f.Reasons {
			t.paragraph("  ", r)
		}
	}
	return t.err
}
