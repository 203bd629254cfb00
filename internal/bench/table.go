package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// print writes the table and what belongs beside it.
func (r *report) print(w io.Writer) {
	lines := [][]string{{"", "what", "gateway", "min to max", "compared with", "ratio", "target", "", ""}}
	for _, f := range r.Figures {
		lines = append(lines, f.cells())
	}
	printColumns(w, lines)
	say := func(key, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%-10s %s\n", key, fmt.Sprintf(format, args...))
	}
	_, _ = fmt.Fprintln(w)
	if len(r.Syncs) > 0 {
		say("one sync", "fdatasync of %d bytes in reserved space, %s a second: median %s ms, p99 %s ms (%d samples, taken between the runs)",
			syncSize, number(pacedRate), number(median(r.Syncs)), number(quantile(r.Syncs, 0.99)), len(r.Syncs))
	}
	say("runs", "medians of %d, interleaved: gateway, mosquitto, gateway, …; payloads of %d bytes, QoS 1", r.Scale.Runs, payloadSize)
	say("machine", "%s", r.Machine)
	say("disk", "%s", r.Disk)
	say("gateway", "%s", r.Gateway)
	say("mosquitto", "%s", r.Peer)
	for _, name := range []string{"all", "bridge"} {
		say("", "%s: %s", name, strings.Join(strings.Split(strings.TrimSpace(r.Config[name]), "\n"), "; "))
	}
	for _, n := range r.Notes {
		say("note", "%s", n)
	}
	for _, n := range r.Failures {
		say("FAILED", "%s", n)
	}
}

// cells are the figure's line of the table.
func (f *figure) cells() []string {
	ours, spread, with, ratio := "–", "", "", ""
	if len(f.Ours) > 0 {
		ours = number(median(f.Ours)) + " " + f.Unit
	}
	if len(f.Ours) > 1 {
		spread = number(slices.Min(f.Ours)) + " to " + number(slices.Max(f.Ours))
	}
	if len(f.Peer) > 0 {
		with = f.With + " " + number(median(f.Peer)) + " " + f.Unit
	}
	if v, ok := f.ratio(); ok {
		ratio = proportion(v)
	}
	return []string{f.Item, f.What, ours, spread, with, ratio, f.target(), f.verdict(), f.Note}
}

// printColumns aligns the cells of lines: text to the left, as terminals count
// characters.
func printColumns(w io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, l := range lines {
		var b strings.Builder
		for i, c := range l {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2))
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
