package policy

import (
	"fmt"
	"strings"
	"unicode"
)

// Fault is something wrong in a policy document or in the registry: where,
// what, and what to do about it.
type Fault struct {
	File   string
	Line   int    // from 1; 0 when the fault is in no one line
	Column int    // from 1, in characters
	Where  string // "Statement[1].Effect", "things.press-1.groups"; may be empty
	Text   string // what is wrong
	Remedy string // what to do, imperative
}

// Error is one line: file:line:column: where: text; remedy.
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	b.WriteString(": ")
	if f.Where != "" {
		b.WriteString(f.Where + ": ")
	}
	b.WriteString(brief(f.Text))
	if f.Remedy != "" {
		b.WriteString("; " + brief(f.Remedy))
	}
	return strings.Map(printable, b.String())
}

// brief keeps a document's own text from making a fault endless.
func brief(text string) string {
	const most = 500
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Faults are all faults of one load, in the order of files and lines. No part
// of a set with faults is used.
type Faults []Fault

// Error has one line per fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lists the faults.
func (fs Faults) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// orNil keeps an empty list from becoming an error.
func (fs Faults) orNil() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

// printable keeps control characters of a document out of logs and terminals,
// and what turns the order of text around.
func printable(r rune) rune {
	if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
		return '\uFFFD'
	}
	return r
}
