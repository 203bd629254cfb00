package policytest

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/policy/policytest/explain"
)

// Reporter is told what came of the cases, file by file.
type Reporter interface {
	Case(Result) error
	// Broken tells of a file's rows that are no cases, each of which counts as
	// failed, or of a file that cannot be read.
	Broken(file string, err error) error
	File(file string, sum Summary) error
	End(total Summary) error
}

// Text prints results as "go test" does. Its last line is "N passed, M failed".
type Text struct {
	W       io.Writer
	Verbose bool // passed and skipped cases too
}

// Case prints a failure, with what was asked and why the answer is what it is.
func (t *Text) Case(r Result) error {
	id := explain.Brief(r.Case.ID)
	name := id
	if r.Case.Why != "" {
		name += " (" + explain.Brief(r.Case.Why) + ")"
	}
	switch {
	case r.Skipped && t.Verbose:
		return t.print("--- SKIP: %s\n    %s: %s\n", name, r.Case.place(), r.Case.Skip)
	case r.Passed && t.Verbose:
		note := ""
		if r.Case.Confidence == uncertain {
			note = indent(r.doubt())
		}
		return t.print("--- PASS: %s (%s)\n%s", id, seconds(r.Elapsed), note)
	case r.Skipped || r.Passed:
		return nil
	}
	return t.print("--- FAIL: %s\n%s", name, indent(r.Detail()))
}

const uncertain = "uncertain"

// Detail says what was expected and what came, and explains that.
func (r Result) Detail() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", r.Case.place())
	if r.Error != "" {
		fmt.Fprintf(&b, "expected %s, but it cannot be said: %s\n", r.Case.Want, r.Error)
		return b.String()
	}
	fmt.Fprintf(&b, "expected %s, got %s\n", r.Case.Want, r.Got)
	if r.Got == Invalid {
		for _, f := range r.Faults {
			fmt.Fprintf(&b, "%s\n", f.Error())
		}
		return b.String()
	}
	_ = explain.Write(&b, r.Explained()) // a Builder takes everything
	if r.Case.Confidence == uncertain {
		b.WriteString(r.doubt())
	}
	return b.String()
}

// doubt says which switches decide an uncertain case.
func (r Result) doubt() string {
	const uncertain = "AWS does not say this for certain; "
	if len(r.Decides) == 0 {
		return uncertain + "no switch makes a difference (docs/policy.md tells why)\n"
	}
	return uncertain + "--switch " + strings.Join(r.Decides, ", --switch ") + "\n"
}

// Explained is the deciding answer with what it was made from.
func (r Result) Explained() explain.Case {
	c := explain.Case{Context: r.Case.Context, Question: r.Asked, Answer: r.Answer, Place: Places(r.Case.Documents)}
	for _, d := range r.Case.Documents {
		c.Documents = append(c.Documents, d.Document)
	}
	return c
}

// Places finds where policies are read.
func Places(sources []Source) func(string) (string, int) {
	return func(name string) (string, int) {
		for _, s := range sources {
			if s.Name == name {
				return s.File, s.Line
			}
		}
		return "", 0
	}
}

// Broken prints what is wrong with rows or a file.
func (t *Text) Broken(file string, err error) error {
	if faults, ok := err.(policy.Faults); ok { //nolint:errorlint // ReadFile returns them bare
		var b strings.Builder
		for _, f := range faults {
			fmt.Fprintf(&b, "--- FAIL: %s:%d (this is no case)\n    %s\n", f.File, f.Line, f.Error())
		}
		return t.print("%s", b.String())
	}
	return t.print("--- FAIL: %s (no cases)\n    %v\n", file, err)
}

// File prints the line of a file.
func (t *Text) File(file string, sum Summary) error {
	if sum.Failed > 0 {
		return t.print("FAIL\t%s\t%s\n", file, seconds(sum.Elapsed))
	}
	if sum.Passed+sum.Skipped == 0 {
		return t.print("ok  \t%s\t%s [no tests to run]\n", file, seconds(sum.Elapsed))
	}
	return t.print("ok  \t%s\t%s\n", file, seconds(sum.Elapsed))
}

// End prints the totals.
func (t *Text) End(total Summary) error {
	if total.Uncertain > 0 {
		if err := t.print("of these AWS does not say %d for certain; -v names the switch that decides each\n", total.Uncertain); err != nil {
			return err
		}
	}
	if total.Skipped > 0 {
		if err := t.print("%d skipped\n", total.Skipped); err != nil {
			return err
		}
	}
	return t.print("%s\n", total)
}

// String is "N passed, M failed".
func (s Summary) String() string { return fmt.Sprintf("%d passed, %d failed", s.Passed, s.Failed) }

func (t *Text) print(format string, args ...any) error {
	_, err := io.WriteString(t.W, strings.Map(printable, fmt.Sprintf(format, args...)))
	return err
}

// printable keeps control characters of ids and reasons out of terminals, and
// what turns the order of text around.
func printable(r rune) rune {
	if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)) {
		return '\uFFFD'
	}
	return r
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String()
}
