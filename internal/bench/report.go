package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// report is everything that was measured.
type report struct {
	Started  string            `json:"started"`
	Machine  string            `json:"machine"`
	Disk     string            `json:"disk"`
	Gateway  string            `json:"gateway"`
	Peer     string            `json:"peer"`
	Config   map[string]string `json:"mosquitto_config"`
	Scale    scale             `json:"scale"`
	Syncs    []float64         `json:"sync_ms"` // every sample of one sync, as the disk is
	Figures  []*figure         `json:"figures"`
	Notes    []string          `json:"notes,omitempty"`
	Failures []string          `json:"failures,omitempty"`
}

// figure is one line of the table: a value a run, and of what it is compared
// with.
type figure struct {
	Item  string    `json:"item"` // the letter of the issue
	What  string    `json:"what"`
	Unit  string    `json:"unit"`
	Ours  []float64 `json:"gateway"`
	Peer  []float64 `json:"peer,omitempty"`
	With  string    `json:"compared_with,omitempty"` // what Peer is
	Bound bound     `json:"bound"`
	Note  string    `json:"note,omitempty"`
}

// bound is what the design asks of a figure.
type bound struct {
	Kind  boundKind `json:"kind,omitempty"`
	Limit float64   `json:"limit,omitempty"`
}

// boundKind says what is bounded, and from where.
type boundKind string

// The kinds of bound; the zero kind asks for nothing.
const (
	ratioAtLeast boundKind = "ratio at least"
	ratioAtMost  boundKind = "ratio at most"
	valueAtMost  boundKind = "value at most"
)

// add adds a line to the table; its values come run by run.
func (r *report) add(f figure) *figure {
	r.Figures = append(r.Figures, &f)
	return &f
}

// ratio is the median of ours by that of what it is compared with.
func (f *figure) ratio() (float64, bool) {
	if len(f.Ours) == 0 || len(f.Peer) == 0 || median(f.Peer) == 0 {
		return 0, false
	}
	return median(f.Ours) / median(f.Peer), true
}

// met reports whether the figure keeps its bound; ok is false when there is
// none, or nothing was measured.
func (f *figure) met() (met, ok bool) {
	ratio, compared := f.ratio()
	switch f.Bound.Kind {
	case ratioAtLeast:
		return ratio >= f.Bound.Limit, compared
	case ratioAtMost:
		return ratio <= f.Bound.Limit, compared
	case valueAtMost:
		return median(f.Ours) <= f.Bound.Limit, len(f.Ours) > 0
	}
	return false, false
}

// verdict is the last word of a line.
func (f *figure) verdict() string {
	switch met, ok := f.met(); {
	case !ok && f.Bound.Kind != "":
		return "NOT MEASURED"
	case !ok:
		return ""
	case met:
		return "met"
	}
	return "NOT MET"
}

// target is the bound in words.
func (f *figure) target() string {
	limit := number(f.Bound.Limit)
	switch f.Bound.Kind {
	case ratioAtLeast:
		return "ratio ≥ " + limit
	case ratioAtMost:
		return "ratio ≤ " + limit
	case valueAtMost:
		return "≤ " + limit + " " + f.Unit
	}
	return ""
}

// write stores the report as JSON.
func (r *report) write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// number writes a value with three significant digits or all of its whole
// part, grouped by thousands.
func number(v float64) string {
	switch {
	case v < 0:
		return "-" + number(-v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return grouped(fmt.Sprintf("%.0f", v))
}

// proportion writes a ratio, and a very small one as a fraction: a decision takes
// a thousandth of what plain Rego takes, which is not nothing.
func proportion(v float64) string {
	if v > 0 && v < 0.01 {
		return "1/" + grouped(fmt.Sprintf("%.0f", 1/v))
	}
	return number(v)
}

func grouped(digits string) string {
	var out strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(d)
	}
	return out.String()
}
