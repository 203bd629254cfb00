package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// transferView shows transfers that run: as bars that are drawn anew in place at
// a terminal, and as a line for each change of state elsewhere.
type transferView struct {
	w       io.Writer
	size    func() (columns, rows int) // of the terminal; nil: it is none
	running map[string]*upload.Transfer
	states  map[string]upload.State
	drawn   int // lines of bars on the screen
	ended   []string
}

func viewKey(t *upload.Transfer) string { return t.ClientID + "\x00" + t.FileID }

// take takes one event, or the end of those that came together.
func (v *transferView) take(e *transferEvent) error {
	if e == nil {
		return v.draw()
	}
	t, key := &e.Transfer, viewKey(&e.Transfer)
	if e.Event == "gone" {
		was := v.running[key]
		delete(v.running, key)
		delete(v.states, key)
		if t.State == "" && was != nil {
			last := *was
			last.State = "given up"
			t = &last
		}
		return v.say(t)
	}
	v.running[key] = t
	if v.size != nil || v.states[key] == t.State {
		return nil
	}
	v.states[key] = t.State
	return v.say(t)
}

// say puts a line for good.
func (v *transferView) say(t *upload.Transfer) error {
	text := fmt.Sprintf("%s  %s (%s), %s", cmp.Or(t.State, "ended"), nameOf(t), printable(t.FileID), bytesOf(t))
	if t.Place != "" {
		text += ", " + printable(t.Place)
	}
	if v.size != nil {
		v.ended = append(v.ended, text)
		return nil
	}
	_, err := fmt.Fprintln(v.w, text)
	return err
}

// draw draws the bars in place of those before.
func (v *transferView) draw() error {
	if v.size == nil {
		return nil
	}
	columns, rows := v.size()
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	b.WriteString("\r\x1b[J")
	for _, text := range v.ended {
		b.WriteString(cutText(text, columns) + "\r\n")
	}
	v.ended, v.drawn = nil, 0
	keys := slices.Sorted(maps.Keys(v.running))
	for i, key := range keys {
		if v.drawn >= max(rows-2, 1) {
			fmt.Fprintf(&b, "and %d more\r\n", len(keys)-i)
			v.drawn++
			break
		}
		b.WriteString(cutText(barOf(v.running[key]), columns) + "\r\n")
		v.drawn++
	}
	if len(keys) == 0 {
		b.WriteString("no transfer is running\r\n")
		v.drawn++
	}
	_, err := io.WriteString(v.w, b.String())
	return err
}

// barWidth is that of a bar.
const barWidth = 20

// bar shows a part of a whole.
func bar(done, of int64) string {
	full := int(percent(done, of)) * barWidth / 100
	return strings.Repeat("#", full) + strings.Repeat("-", barWidth-full)
}

// barOf is a transfer as a bar.
func barOf(t *upload.Transfer) string {
	done := t.Received
	if t.State == upload.StateExporting {
		done = t.Sent
	}
	shown := strings.Repeat("?", barWidth)
	if t.Size != nil {
		shown = bar(done, *t.Size)
	}
	text := fmt.Sprintf("[%s] %-10s %s: %s", shown, t.State, nameOf(t), bytesOf(t))
	if t.Rate >= 1 {
		text += ", " + rateOf(t)
	}
	if t.Left > 0 {
		text += ", " + leftOf(t) + " left"
	}
	if t.Error != "" {
		text += ", " + printable(t.Error)
	}
	return text
}

// cutText keeps a line within a terminal's width: one that wraps could not be drawn
// over.
func cutText(s string, columns int) string {
	if r := []rune(s); columns > 1 && len(r) >= columns {
		return string(r[:columns-1])
	}
	return s
}
