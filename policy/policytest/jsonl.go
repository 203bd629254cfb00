package policytest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/policy"
)

// ReadJSONL reads cases, one JSON object a line; empty lines are passed over.
// Beside the cases come the faults of the rows that are none, all of them.
//
// A row has "id", "policies" (objects, or strings with the raw text of a
// document), "context", "request" and "expect". Others than these are for
// people and may have any name; the keys of context and request are checked,
// since one that is misspelt would silently test something else.
func ReadJSONL(file string, text []byte) ([]*Case, policy.Faults) {
	var cases []*Case
	var faults policy.Faults
	line := 0
	for row := range bytes.Lines(bytes.TrimPrefix(text, []byte("\uFEFF"))) {
		line++
		row = bytes.TrimRight(row, "\r\n")
		if len(bytes.TrimSpace(row)) == 0 {
			continue
		}
		r := &rowReader{file: file, line: line, text: row}
		c := r.row()
		if len(r.faults) == 0 {
			cases = append(cases, c)
		}
		slices.SortStableFunc(r.faults, func(a, b policy.Fault) int { return a.Column - b.Column })
		faults = append(faults, r.faults...)
	}
	number(cases)
	return cases, faults
}

// maxRow is a hundred times what documents, context and request of a case need.
const maxRow = 1 << 20

func (r *rowReader) row() *Case {
	if len(r.text) > maxRow {
		r.fault(0, "", fmt.Sprintf("the row has more than %d bytes", maxRow), "write one case a line")
		return nil
	}
	for i := 0; i < len(r.text); {
		c, size := utf8.DecodeRune(r.text[i:])
		if c == utf8.RuneError && size == 1 {
			r.fault(i, "", "the text is not valid UTF-8", "save the file as UTF-8")
			return nil
		}
		i += size
	}
	var whole json.RawMessage
	if err := json.Unmarshal(r.text, &whole); err != nil {
		r.broken(err, 0)
		return nil
	}
	members := r.object(r.text, 0, "", nil)
	if len(r.faults) > 0 {
		return nil
	}
	for _, needed := range [][2]string{
		{"policies", `add "policies": [ … ], with [] for none`},
		{"request", `add "request": {"action": "iot:Publish", "resource": "topic/a"}`},
		{"expect", wantRemedy},
	} {
		if _, ok := members[needed[0]]; !ok {
			r.fault(len(r.text), "", fmt.Sprintf("there is no %q", needed[0]), needed[1])
		}
	}
	if len(r.faults) > 0 {
		return nil
	}
	c := &Case{File: r.file, Line: r.line, ID: fmt.Sprintf("line-%d", r.line)}
	r.words(c, members)
	r.context(c, members["context"])
	r.documents(c, members["policies"])
	r.request(c, members["request"])
	return c
}

// words reads what is plain text.
func (r *rowReader) words(c *Case, members map[string]member) {
	for name, target := range map[string]*string{"id": &c.ID, "why": &c.Why, "topic": &c.Topic, "confidence": &c.Confidence, "skip": &c.Skip} {
		if m, ok := members[name]; ok {
			*target = r.string(m, name)
		}
	}
	expect := members["expect"]
	text := r.string(expect, "expect")
	want, ok := readWant(text)
	if !ok && len(r.faults) == 0 {
		r.fault(expect.at, "expect", fmt.Sprintf("%q cannot be expected", text), wantRemedy)
	}
	c.Want = want
	if m, ok := members["switches"]; ok {
		r.into(m, "switches", &c.Switches)
	}
}

// contextKeys are the names that package policy gives to what is known about a
// principal.
var contextKeys = append(jsonNames(reflect.TypeFor[policy.Context]()), "policy_targets")

// jsonNames are the names of a struct's fields in JSON.
func jsonNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "-" && f.IsExported() {
			names = append(names, cmp.Or(name, f.Name))
		}
	}
	return names
}

var targets = []string{"certificate", "thinggroup"}

func (r *rowReader) context(c *Case, m member) {
	if m.raw == nil || string(m.raw) == "null" {
		return
	}
	members := r.object(m.raw, m.at, "context", contextKeys)
	if cert, ok := members["certificate"]; ok && string(cert.raw) != "null" {
		r.object(cert.raw, cert.at, "context.certificate", certificateKeys)
	}
	if len(r.faults) > 0 {
		return
	}
	r.into(m, "context", &c.Context)
	if now, ok := members["current_time"]; ok && string(now.raw) != "null" {
		if text := r.string(now, "context.current_time"); text != "" {
			r.instant(now, text)
		}
	}
	if list, ok := members["policy_targets"]; ok {
		for i, item := range r.list(list, "context.policy_targets") {
			target := r.string(item, item.name)
			if !slices.Contains(targets, target) {
				r.fault(item.at, item.name, fmt.Sprintf("%q is no target", target), "write certificate or thinggroup")
			}
			for len(c.Documents) <= i {
				c.Documents = append(c.Documents, Source{})
			}
			c.Documents[i].Target = target
		}
	}
}

func (r *rowReader) instant(m member, text string) {
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		r.fault(m.at, "context.current_time", fmt.Sprintf("%q is no time", text), "write it as 2026-06-01T12:00:00Z")
	}
}

var certificateKeys = []string{"id", "serial", "subject", "issuer"}

func (r *rowReader) documents(c *Case, m member) {
	list := r.list(m, "policies")
	if len(c.Documents) > len(list) {
		r.fault(m.at, "context.policy_targets", "there are more targets than policies", "write one for each policy, in their order")
	}
	documents := make([]Source, len(list))
	copy(documents, c.Documents)
	for i, item := range list {
		d := &documents[i]
		d.Name, d.File = fmt.Sprintf("policies[%d]", i), c.place()
		if d.Text = item.raw; item.raw[0] == '"' {
			d.Text = []byte(r.string(item, item.name))
		}
	}
	c.Documents = documents
}

var requestKeys = jsonNames(reflect.TypeFor[policy.Question]())

func (r *rowReader) request(c *Case, m member) {
	members := r.object(m.raw, m.at, "request", requestKeys)
	if len(r.faults) > 0 {
		return
	}
	q := policy.Question{}
	for _, needed := range []struct {
		name   string
		target *string
		remedy string
	}{
		{"action", &q.Action, `write "action": "iot:Publish"`},
		{"resource", &q.Resource, `write "resource": "topic/a", or the whole ARN`},
	} {
		if member, ok := members[needed.name]; !ok {
			r.fault(m.at, "request", fmt.Sprintf("there is no %q", needed.name), needed.remedy)
		} else if *needed.target = r.string(member, "request."+needed.name); *needed.target == "" && len(r.faults) == 0 {
			r.fault(member.at, "request."+needed.name, "it is empty", needed.remedy)
		}
	}
	if len(r.faults) == 0 {
		r.into(m, "request", &q)
	}
	c.Questions = []policy.Question{q}
}
