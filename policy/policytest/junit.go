package policytest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// JUnit collects results and writes them as the XML that CI systems read: a
// testsuite a file, a testcase a case.
type JUnit struct {
	suites []junitSuite
	open   junitSuite
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	Class     string        `xml:"classname,attr"`
	File      string        `xml:"file,attr,omitempty"`
	Line      int           `xml:"line,attr,omitempty"`
	Time      string        `xml:"time,attr"`
	Failure   *junitMessage `xml:"failure"`
	Error     *junitMessage `xml:"error"`
	Skipped   *junitMessage `xml:"skipped"`
	SystemOut string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// Case takes a result.
func (j *JUnit) Case(r Result) error {
	c := junitCase{
		Name: clean(r.Case.ID), Class: clean(r.Case.File), File: clean(r.Case.File), Line: r.Case.Line,
		Time: fmt.Sprintf("%.6f", r.Elapsed.Seconds()), SystemOut: clean(r.Case.Why),
	}
	switch {
	case r.Skipped:
		c.Skipped = &junitMessage{Message: clean(r.Case.Skip)}
		j.open.Skipped++
	case r.Error != "":
		c.Error = &junitMessage{Message: clean(r.Error), Type: "error", Text: clean(r.Detail())}
		j.open.Errors++
	case !r.Passed:
		c.Failure = &junitMessage{Message: fmt.Sprintf("expected %s, got %s", r.Case.Want, r.Got), Type: string(r.Got), Text: clean(r.Detail())}
		j.open.Failures++
	}
	j.open.Cases = append(j.open.Cases, c)
	return nil
}

// Broken takes rows that are no cases.
func (j *JUnit) Broken(file string, err error) error {
	faults, ok := errors.AsType[policy.Faults](err)
	if !ok {
		faults = policy.Faults{{File: file, Text: err.Error()}}
	}
	for _, f := range faults {
		text := clean(f.Error())
		j.open.Cases = append(j.open.Cases, junitCase{
			Name: clean(fmt.Sprintf("%s:%d", f.File, f.Line)), Class: clean(file), File: clean(f.File), Line: f.Line, Time: "0",
			Error: &junitMessage{Message: text, Type: "broken", Text: text},
		})
		j.open.Errors++
	}
	return nil
}

// File ends a file.
func (j *JUnit) File(file string, sum Summary) error {
	j.open.Name, j.open.Tests = clean(file), len(j.open.Cases)
	j.open.Time = fmt.Sprintf("%.6f", sum.Elapsed.Seconds())
	j.suites = append(j.suites, j.open)
	j.open = junitSuite{}
	return nil
}

// End has nothing to add; [JUnit.Write] writes.
func (j *JUnit) End(Summary) error { return nil }

// Write writes the XML.
func (j *JUnit) Write(w io.Writer, total Summary) error {
	all := junitSuites{Name: "ebbgate policy test", Suites: j.suites, Time: fmt.Sprintf("%.6f", total.Elapsed.Seconds())}
	for _, s := range j.suites {
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// clean leaves out what XML cannot hold.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r >= ' ' && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD && r != 0xFFFE || r >= 0x10000 {
			return r
		}
		return '\uFFFD'
	}, text)
}
