package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/policy"
)

// member is one member of a JSON object, with the place of its value in the
// text of the row.
type member struct {
	name string
	raw  json.RawMessage
	at   int
}

// rowReader reads one line of a .jsonl file and collects what is wrong with it.
type rowReader struct {
	file   string
	line   int
	text   []byte // the whole line
	faults policy.Faults
}

func (r *rowReader) fault(at int, where, text, remedy string) {
	column := 1 + utf8.RuneCount(r.text[:max(min(at, len(r.text)), 0)])
	r.faults = append(r.faults, policy.Fault{File: r.file, Line: r.line, Column: column, Where: where, Text: text, Remedy: remedy})
}

// object reads an object, which begins at a place of the row. Names are
// compared exactly, unlike encoding/json does, and none may be there twice.
// known is nil when any name will do.
func (r *rowReader) object(raw []byte, at int, where string, known []string) map[string]member {
	out := map[string]member{}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') {
		r.fault(at, where, "a JSON object is needed here", "write { … }")
		return out
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			r.broken(err, at)
			return out
		}
		m := member{name: fmt.Sprint(name)}
		if err := decoder.Decode(&m.raw); err != nil {
			r.broken(err, at)
			return out
		}
		m.at = at + int(decoder.InputOffset()) - len(m.raw)
		path := strings.TrimPrefix(where+"."+m.name, ".")
		if _, twice := out[m.name]; twice {
			r.fault(m.at, path, "it is here twice", "keep one of the two")
		}
		if known != nil && !slices.Contains(known, m.name) {
			r.fault(m.at, path, "the key is not known", "possible are "+strings.Join(known, ", "))
		}
		out[m.name] = m
	}
	return out
}

// list reads a JSON list.
func (r *rowReader) list(m member, where string) []member {
	decoder := json.NewDecoder(bytes.NewReader(m.raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('[') {
		r.fault(m.at, where, "a list is needed here", "write [ … ]")
		return nil
	}
	var out []member
	for decoder.More() {
		item := member{name: fmt.Sprintf("%s[%d]", where, len(out))}
		if err := decoder.Decode(&item.raw); err != nil {
			r.broken(err, m.at)
			return out
		}
		item.at = m.at + int(decoder.InputOffset()) - len(item.raw)
		out = append(out, item)
	}
	return out
}

// string reads a JSON string.
func (r *rowReader) string(m member, where string) string {
	var out *string
	if err := json.Unmarshal(m.raw, &out); err != nil || out == nil {
		r.fault(m.at, where, "a string is needed here", "write it in quotes")
		return ""
	}
	return *out
}

// broken reports text that is no JSON.
func (r *rowReader) broken(err error, at int) {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at += max(int(syntax.Offset)-1, 0)
	}
	r.fault(at, "", "not JSON: "+err.Error(), "write one whole JSON object a line")
}

// into decodes a value whose names have been checked.
func (r *rowReader) into(m member, where string, out any) {
	err := json.Unmarshal(m.raw, out)
	if err == nil {
		return
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field != "" {
			where += "." + wrong.Field
		}
		r.fault(m.at+max(int(wrong.Offset)-1, 0), where, "a JSON "+wrong.Value+" is not possible here", "write a "+typeName(wrong.Type.String()))
		return
	}
	r.fault(m.at, where, err.Error(), "correct the value")
}

// typeName is a Go type in the words of JSON.
func typeName(name string) string {
	switch {
	case strings.HasPrefix(name, "[]"):
		return "list of strings"
	case strings.HasPrefix(name, "map["):
		return "object whose values are " + map[bool]string{true: "lists of strings", false: "strings"}[strings.HasSuffix(name, "[]string")]
	case strings.HasSuffix(name, "string"):
		return "string"
	case strings.HasSuffix(name, "bool"):
		return "true or false"
	default:
		return "value of another kind"
	}
}
