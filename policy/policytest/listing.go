package policytest

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Write lists the documents that have something no case reached, line by line
// with a mark in front, and what that is.
//
//   - every element in the line was reached
//     ~  a condition in it was seen only to hold, or only to fail
//   - no case reached an element in it
func (r *Report) Write(w io.Writer) error {
	p := &lister{w: w}
	p.line("coverage: + reached, ~ a condition seen one way only, - not reached")
	for _, d := range r.Documents {
		p.document(d)
	}
	p.line("coverage: %.1f%%: %s of statements, %s of actions, %s of resources, %s of conditions",
		r.Percent, r.Statements, r.Actions, r.Resources, r.Conditions)
	return p.err
}

// String is "3 of 4".
func (r Ratio) String() string { return fmt.Sprintf("%d/%d", r.Reached, r.Of) }

type lister struct {
	w   io.Writer
	err error
}

func (p *lister) line(format string, args ...any) {
	if _, err := io.WriteString(p.w, strings.Map(printable, fmt.Sprintf(format, args...))+"\n"); p.err == nil {
		p.err = err
	}
}

// gap is something that no case reached, or reached one way only.
type gap struct {
	line int
	mark byte
	text string
}

func (p *lister) document(d *DocumentCoverage) {
	marks := map[int]byte{}
	var gaps []gap
	// The worst of a line's marks is shown: - before ~ before +.
	set := func(line int, mark byte) {
		if old, ok := marks[line]; !ok || old == '+' || mark == '-' {
			marks[line] = mark
		}
	}
	note := func(line int, mark byte, format string, args ...any) {
		set(line, mark)
		if mark != '+' {
			gaps = append(gaps, gap{line, mark, fmt.Sprintf(format, args...)})
		}
	}
	for _, s := range d.Statements {
		s.gaps(set, note)
	}
	if len(gaps) == 0 {
		return
	}
	name := d.File
	if d.Line == 0 {
		name += ", policy " + d.Policy
	}
	attached := ""
	if d.Attached == 0 {
		attached = ": no case attaches it"
	}
	p.line("%s%s", name, attached)
	number := 0
	for text := range strings.Lines(strings.TrimRight(d.Text, "\n")) {
		number++
		mark := marks[number]
		if mark == 0 {
			mark = ' '
		}
		p.line("%6d %c  %s", max(d.Line-1, 0)+number, mark, strings.TrimRight(text, "\r\n"))
	}
	for _, g := range gaps {
		where := fmt.Sprintf("%s:%d", d.File, d.Line-1+g.line)
		if d.Line == 0 {
			where = fmt.Sprintf("line %d", g.line)
		}
		p.line("%s: %s", where, g.text)
	}
	p.line("")
}

// touched reports whether any element was reached.
func (s *StatementCoverage) touched() bool {
	reached := func(e *ElementCoverage) bool { return e.Matched > 0 }
	return s.Applied > 0 || slices.ContainsFunc(s.Actions, reached) || slices.ContainsFunc(s.Resources, reached)
}

// lines are those of the elements.
func (s *StatementCoverage) lines() []int {
	var out []int
	for _, e := range slices.Concat(s.Actions, s.Resources) {
		out = append(out, e.Line)
	}
	for _, c := range s.Conditions {
		out = append(out, c.Line)
	}
	return out
}

// gaps tells of every element what came of it, the ones reached too.
func (s *StatementCoverage) gaps(mark func(line int, mark byte), note func(line int, mark byte, format string, args ...any)) {
	name := fmt.Sprintf("Statement[%d]", s.Index)
	if s.Sid != "" {
		name += " (" + s.Sid + ")"
	}
	tell := func(line int, reached bool, format string, args ...any) {
		sign := byte('-')
		if reached {
			sign = '+'
		}
		note(line, sign, name+" "+format, args...)
	}
	if !s.touched() {
		note(s.Line, '-', "%s never applies: no case is about its actions and resources", name)
		for _, line := range s.lines() {
			mark(line, '-')
		}
		return
	}
	tell(s.Line, s.Applied > 0, "never applies")
	for _, e := range s.Actions {
		tell(e.Line, e.Matched > 0, "%s is never asked", e.Text)
	}
	for _, e := range s.Resources {
		tell(e.Line, e.Matched > 0, "%s is never asked about", e.Text)
	}
	for _, c := range s.Conditions {
		switch {
		case c.Held+c.Failed == 0:
			tell(c.Line, false, "%s %s is never reached", c.Operator, c.Key)
		case c.Failed == 0:
			note(c.Line, '~', "%s %s %s never fails", name, c.Operator, c.Key)
		case c.Held == 0:
			note(c.Line, '~', "%s %s %s never holds", name, c.Operator, c.Key)
		default:
			note(c.Line, '+', "")
		}
	}
}
