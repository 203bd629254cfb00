package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// outline is where the elements of a document stand in its text.
type outline struct{ statements []statementOutline }

type statementOutline struct {
	line               int
	actions, resources []placed
	conditions         []placedCondition
}

// placed is a text with its line, from 1.
type placed struct {
	text string
	line int
}

type placedCondition struct {
	operator, key string
	line          int
}

// value is JSON with lines. Package policy has accepted the text, so that it
// is short, shallow, and without keys that are there twice.
type value struct {
	line   int
	text   string // of a string
	object bool
	names  []placed // the members' names, in step with items
	items  []*value // members or elements
}

func (v *value) member(names ...string) *value {
	for i, n := range v.names {
		for _, name := range names {
			if n.text == name {
				return v.items[i]
			}
		}
	}
	return nil
}

// list is the value's elements, or the value itself where one stands alone.
func (v *value) list() []*value {
	switch {
	case v == nil:
		return nil
	case v.items != nil && !v.object:
		return v.items
	default:
		return []*value{v}
	}
}

// readOutline finds the elements of a document.
func readOutline(text []byte) (outline, error) {
	r := &outlineReader{text: text, decoder: json.NewDecoder(bytes.NewReader(text))}
	root, err := r.value(0)
	if err != nil {
		return outline{}, err
	}
	var o outline
	for _, s := range root.member("Statement").list() {
		at := statementOutline{line: s.line}
		for _, v := range s.member("Action", "NotAction").list() {
			at.actions = append(at.actions, placed{v.text, v.line})
		}
		for _, v := range s.member("Resource", "NotResource").list() {
			at.resources = append(at.resources, placed{v.text, v.line})
		}
		if c := s.member("Condition"); c != nil {
			for i, operator := range c.names {
				for _, key := range c.items[i].names {
					at.conditions = append(at.conditions, placedCondition{operator.text, key.text, key.line})
				}
			}
		}
		o.statements = append(o.statements, at)
	}
	return o, nil
}

type outlineReader struct {
	text    []byte
	decoder *json.Decoder
	offset  int // up to which lines are counted
	lines   int
}

// line is where the token that was just read begins; no token of JSON has a
// line break in it.
func (r *outlineReader) line() int {
	end := int(r.decoder.InputOffset())
	r.lines += bytes.Count(r.text[r.offset:end], []byte("\n"))
	r.offset = end
	return r.lines + 1
}

var errDeep = errors.New("the document nests too deep")

func (r *outlineReader) value(depth int) (*value, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	v := &value{line: r.line()}
	if v.text, _ = token.(string); depth > 32 {
		return nil, errDeep
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return v, nil
	}
	v.object, v.items = delim == '{', []*value{}
	for r.decoder.More() {
		if v.object {
			name, err := r.decoder.Token()
			if err != nil {
				return nil, err
			}
			v.names = append(v.names, placed{fmt.Sprint(name), r.line()})
		}
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
	}
	_, err = r.decoder.Token()
	r.line()
	return v, err
}
