package policytest

import (
	"bytes"
	"encoding/json"

	"github.com/ebbgate/ebbgate/policy"
)

// Coverage collects what of the documents cases have reached. The zero value
// is empty and ready.
type Coverage struct {
	order []*DocumentCoverage
	known map[string]*DocumentCoverage
}

// Report is what cases have reached.
type Report struct {
	Statements Ratio               `json:"statements"`
	Actions    Ratio               `json:"actions"`
	Resources  Ratio               `json:"resources"`
	Conditions Ratio               `json:"conditions"`
	Percent    float64             `json:"percent"` // of all four together
	Documents  []*DocumentCoverage `json:"documents"`
}

// Ratio is a part of a number.
type Ratio struct {
	Reached int `json:"reached"`
	Of      int `json:"of"`
}

func (r *Ratio) count(reached bool) {
	r.Of++
	if reached {
		r.Reached++
	}
}

// DocumentCoverage is what cases have reached of one document.
type DocumentCoverage struct {
	Policy     string               `json:"policy"`
	File       string               `json:"file"`
	Line       int                  `json:"line,omitempty"` // where the text begins in File
	Text       string               `json:"-"`
	Attached   int                  `json:"attached"` // cases that it applied to
	Statements []*StatementCoverage `json:"statements"`
}

// StatementCoverage is what cases have reached of one statement. Lines are
// those of the document, from 1.
type StatementCoverage struct {
	Index      int                  `json:"index"`
	Sid        string               `json:"sid,omitempty"`
	Line       int                  `json:"line"`
	Applied    int                  `json:"applied"` // decisions in which all of it held
	Actions    []*ElementCoverage   `json:"actions"`
	Resources  []*ElementCoverage   `json:"resources"`
	Conditions []*ConditionCoverage `json:"conditions"`
}

// ElementCoverage counts the requests that one action or resource fitted while
// the rest of the statement was about them.
type ElementCoverage struct {
	Text    string `json:"text"`
	Line    int    `json:"line"`
	Matched int    `json:"matched"`
}

// ConditionCoverage counts how often a condition was what mattered.
type ConditionCoverage struct {
	Operator string `json:"operator"`
	Key      string `json:"key"`
	Line     int    `json:"line"`
	Held     int    `json:"held"`
	Failed   int    `json:"failed"`
}

// Add counts a result in.
func (c *Coverage) Add(r Result) {
	if r.Skipped || r.Got == Invalid || r.Error != "" {
		return
	}
	for _, s := range r.Case.Site {
		c.document(s)
	}
	documents := map[string]*DocumentCoverage{}
	for _, s := range r.Case.Documents {
		if d := c.document(s); d != nil {
			documents[s.Name] = d
			d.Attached++
		}
	}
	for _, answer := range r.Answers {
		for i := range answer.Statements {
			trace := &answer.Statements[i]
			d := documents[trace.Policy]
			if d == nil || trace.Index >= len(d.Statements) {
				continue
			}
			d.Statements[trace.Index].add(trace)
		}
	}
}

// document finds a document, or begins one. Cases that bring the same text
// under the same name share it. What is no document has nothing to reach.
func (c *Coverage) document(s Source) *DocumentCoverage {
	key := s.Name + "\x00" + string(s.Text)
	if d, ok := c.known[key]; ok {
		return d
	}
	if c.known == nil {
		c.known = map[string]*DocumentCoverage{}
	}
	c.known[key] = nil
	text, line := s.Text, s.Line
	if bytes.IndexByte(bytes.TrimSpace(text), '\n') < 0 {
		var indented bytes.Buffer
		if json.Indent(&indented, text, "", "  ") == nil {
			text, line = indented.Bytes(), 0
		}
	}
	o, err := readOutline(text)
	if err != nil {
		return nil
	}
	d := &DocumentCoverage{Policy: s.Name, File: s.File, Line: line, Text: string(text)}
	for i, at := range o.statements {
		st := &StatementCoverage{Index: i, Line: at.line}
		for _, a := range at.actions {
			st.Actions = append(st.Actions, &ElementCoverage{Text: a.text, Line: a.line})
		}
		for _, a := range at.resources {
			st.Resources = append(st.Resources, &ElementCoverage{Text: a.text, Line: a.line})
		}
		for _, a := range at.conditions {
			st.Conditions = append(st.Conditions, &ConditionCoverage{Operator: a.operator, Key: a.key, Line: a.line})
		}
		d.Statements = append(d.Statements, st)
	}
	c.known[key] = d
	c.order = append(c.order, d)
	return d
}

func (s *StatementCoverage) add(t *policy.StatementTrace) {
	s.Sid = t.Sid
	if t.Applies {
		s.Applied++
	}
	// What is listed under NotAction or NotResource is reached by what it
	// leaves out.
	count := func(to []*ElementCoverage, l policy.ListTrace, rest bool) {
		for i, e := range l.Elements {
			if e.Matches && rest && i < len(to) {
				to[i].Matched++
			}
		}
	}
	count(s.Actions, t.Action, t.Resource.Holds)
	count(s.Resources, t.Resource, t.Action.Holds)
	if !t.Action.Holds || !t.Resource.Holds {
		return
	}
	for _, have := range t.Conditions {
		for _, c := range s.Conditions {
			if c.Operator != have.Operator || c.Key != have.Key {
				continue
			}
			if have.Holds {
				c.Held++
			} else {
				c.Failed++
			}
		}
	}
}

// Report sums up.
func (c *Coverage) Report() *Report {
	r := &Report{Documents: c.order}
	for _, d := range c.order {
		for _, s := range d.Statements {
			r.Statements.count(s.Applied > 0)
			for _, e := range s.Actions {
				r.Actions.count(e.Matched > 0)
			}
			for _, e := range s.Resources {
				r.Resources.count(e.Matched > 0)
			}
			for _, e := range s.Conditions {
				r.Conditions.count(e.Held+e.Failed > 0)
			}
		}
	}
	reached := r.Statements.Reached + r.Actions.Reached + r.Resources.Reached + r.Conditions.Reached
	of := r.Statements.Of + r.Actions.Of + r.Resources.Of + r.Conditions.Of
	if r.Percent = 100; of > 0 {
		r.Percent = 100 * float64(reached) / float64(of)
	}
	return r
}
