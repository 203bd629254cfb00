package lint

import "strings"

// document is one policy as read.
type document struct {
	source     Source
	text       []byte // the document, without an envelope
	places     []int  // of its bytes in the file, when there is an envelope
	root       *node
	version    *node // nil without one
	id         *node // nil without one
	statements []*statement
}

// language is the version that the document's variables follow.
func (d *document) language() string {
	if d.version == nil {
		return version2008
	}
	return d.version.text
}

// statement is one statement of a document.
type statement struct {
	document    *document
	index       int
	node        *node
	sid         string
	deny        bool
	actions     []*node
	notAction   *node // the name of the element; nil when it is Action
	resources   []*resource
	notResource *node
	conditions  []*condition
	acts        map[string]bool // the data-plane actions that it is about
}

// condition is one key of one operator.
type condition struct {
	operator operator
	written  *node // the operator
	key      *node
	values   []*node
}

// name is the key as keys are compared: without regard to case, except for an
// attribute's name in brackets.
func (c *condition) name() string { return canonicalKey(c.key.text) }

func canonicalKey(text string) string {
	name, rest, bracket := strings.Cut(text, "[")
	if !bracket {
		return strings.ToLower(name)
	}
	return strings.ToLower(name) + "[" + rest
}

// is reports whether the key is the one named.
func (c *condition) is(key string) bool { return c.name() == strings.ToLower(key) }

// says reports whether one of the values is text, without regard to case.
func (c *condition) says(text string) bool {
	for _, v := range c.values {
		if strings.EqualFold(v.text, text) {
			return true
		}
	}
	return false
}

// demands reports whether the condition fails when its key is absent.
func (c *condition) demands() bool {
	o := c.operator
	if o.test == "Null" {
		return !c.says("true")
	}
	return !o.ifExists && o.quantifier != forAllValues && (!o.negated || o.quantifier == forAnyValue)
}

// condition finds the statement's conditions on a key.
func (s *statement) on(key string) []*condition {
	var out []*condition
	for _, c := range s.conditions {
		if c.is(key) {
			out = append(out, c)
		}
	}
	return out
}

// presence reports whether a Null condition makes sure that the key is there.
func (s *statement) presence(key string) bool {
	for _, c := range s.conditions {
		if c.operator.test == "Null" && c.name() == canonicalKey(key) && !c.says("true") {
			return true
		}
	}
	return false
}

// names lists what the statement says about names of a kind: for NotResource
// that is everything, which is more than it says.
func (s *statement) names(kind string) []pattern {
	if s.notResource != nil {
		return []pattern{{{kind: anyRun}}}
	}
	var out []pattern
	for _, r := range s.resources {
		out = append(out, r.of(kind)...)
	}
	return out
}

// coversName reports whether the statement is about every name of the pattern,
// whatever its conditions.
func (s *statement) coversName(kind string, p pattern) bool {
	if s.notResource != nil {
		for _, r := range s.resources {
			for _, n := range r.of(kind) {
				if n.overlaps(p) {
					return false
				}
			}
		}
		return true
	}
	for _, n := range s.names(kind) {
		if n.covers(p) {
			return true
		}
	}
	return false
}

// matches reports whether the statement is about a request, whatever its
// conditions.
func (s *statement) matches(action, kind, name string, v values) bool {
	if !s.acts[action] {
		return false
	}
	found := false
	for _, r := range s.resources {
		for _, n := range r.of(kind) {
			found = found || n.matches(name, v)
		}
	}
	return found != (s.notResource != nil)
}

// ref is how messages name the statement.
func (s *statement) ref() string {
	text := "Statement[" + itoa(s.index) + "]"
	if s.sid != "" {
		text += " (" + s.sid + ")"
	}
	return text
}

// from is ref with the document's name, when it is another one.
func (s *statement) from(d *document) string {
	if s.document == d {
		return s.ref()
	}
	return s.ref() + " of policy " + s.document.source.Name
}
