package lint

import (
	"slices"
	"strings"
)

// set is what one principal has together, or one document alone.
type set struct {
	documents []*document
	known     bool               // the registry says that there is no more
	owner     string             // whose it is, for messages; empty when not known
	group     map[*document]bool // attached by a thing group
	shared    string             // why the certificate does not stand for one thing; empty when it does
	values    values             // what variables stand for in examples
}

func newSet(documents ...*document) *set {
	s := &set{documents: documents, group: map[*document]bool{}}
	for _, d := range documents {
		s.group[d] = d.source.Target == "thinggroup"
	}
	s.values = s.samples()
	return s
}

// statements lists the statements of all documents.
func (s *set) statements() []*statement {
	var out []*statement
	for _, d := range s.documents {
		out = append(out, d.statements...)
	}
	return out
}

// of lists the Allow or the Deny statements about an action.
func (s *set) of(deny bool, action string) []*statement {
	var out []*statement
	for _, st := range s.statements() {
		if st.deny == deny && st.acts[action] {
			out = append(out, st)
		}
	}
	return out
}

// sampleValues are what examples put in for variables. The thing has the name
// of the client id, as AWS wants it.
var sampleValues = values{
	"iot:clientid": "press-1", "iot:connection.thing.thingname": "press-1", "iot:connection.thing.thingtypename": "press",
	"iot:connection.thing.isattached": "true", "aws:sourceip": "192.0.2.7", "iot:certificateid": "c0ffee", "iot:domainname": "gw.example.com",
	"iot:certificate.serialnumber": "0A1B",
}

// samples has a value for each variable of the documents that exists.
func (s *set) samples() values {
	out := values{}
	for _, st := range s.statements() {
		for _, r := range st.resources {
			for _, v := range r.name.variables() {
				name := strings.ToLower(v.name)
				switch text, ok := sampleValues[name]; {
				case ok:
					out[name] = text
				case attributeKey.MatchString(v.name):
					out[name] = "a1"
				case certificateKey.MatchString(v.name):
					out[name] = "press"
				}
			}
		}
	}
	return out
}

// lets finds the Allow that lets a request through, one without conditions
// first; nil when there is none or a Deny is about the request, even if only
// under conditions.
func (s *set) lets(action, kind, name string) *statement {
	if s.denies(action, kind, name) != nil {
		return nil
	}
	var found *statement
	for _, st := range s.of(false, action) {
		if st.matches(action, kind, name, s.values) && (found == nil || len(st.conditions) == 0) {
			found = st
		}
	}
	return found
}

// denies finds a Deny about a request, whatever its conditions.
func (s *set) denies(action, kind, name string) *statement {
	for _, st := range s.of(true, action) {
		if st.matches(action, kind, name, s.values) {
			return st
		}
	}
	return nil
}

// refuses reports whether a request is refused for certain: no Allow is about
// it, or a Deny without conditions is.
func (s *set) refuses(action, kind, name string) bool {
	if !slices.ContainsFunc(s.of(false, action), func(st *statement) bool { return st.matches(action, kind, name, s.values) }) {
		return true
	}
	return slices.ContainsFunc(s.of(true, action), func(st *statement) bool {
		return len(st.conditions) == 0 && st.matches(action, kind, name, s.values)
	})
}

// needsThing reports whether a statement holds only for a client whose thing
// was found: by IsAttached, or by a value that only a thing has.
func needsThing(st *statement) bool {
	return slices.ContainsFunc(st.conditions, func(c *condition) bool {
		if !c.demands() || c.operator.negated {
			return false
		}
		return c.is(keyAttached) && c.says("true") && !c.says("false") || ofThing(c.key.text) && c.operator.test != "Null" ||
			ofThing(c.key.text) && c.says("false")
	})
}

// namesClient reports whether a statement's conditions pin the client id down.
func namesClient(st *statement) bool {
	return slices.ContainsFunc(st.conditions, func(c *condition) bool {
		return c.is(keyClientID) && c.demands() && !c.operator.negated && c.operator.test != "Null" && !c.says("*")
	})
}

// thingless reports whether a Deny keeps every client without a thing out.
func (s *set) thingless() bool {
	return slices.ContainsFunc(s.of(true, connect), func(st *statement) bool {
		return len(st.conditions) == 1 && st.conditions[0].is(keyAttached) && st.conditions[0].operator.test == "Bool" && st.conditions[0].says("false") &&
			!st.conditions[0].says("true") && st.coversName(kindClient, pattern{{kind: anyRun}})
	})
}

// door is how a set lets clients in.
type door int

const (
	shut  door = iota // no Allow of iot:Connect in the set
	bound             // only a client whose thing is found
	named             // client ids that the policy lists, or that have a part of their own
	loose             // any client id
)

// door says how loose the loosest Allow of iot:Connect is.
func (s *set) door() door {
	worst := shut
	for _, st := range s.of(false, connect) {
		for _, p := range st.names(kindClient) {
			worst = max(worst, s.doorOf(st, p))
		}
	}
	return worst
}

// doorOf says how loose one resource of an Allow of iot:Connect is.
func (s *set) doorOf(st *statement, p pattern) door {
	switch {
	case needsThing(st) || s.thingless() || slices.ContainsFunc(p.variables(), func(v symbol) bool { return ofThing(v.name) }):
		return bound
	case namesClient(st) || !chosen(p).covers(pattern{{kind: one}, {kind: anyRun}}):
		return named
	}
	return loose
}

// chosen is a pattern of client ids with the client's own word taken for what
// it is: anything.
func chosen(p pattern) pattern {
	out := slices.Clone(p)
	for i, s := range out {
		if s.kind == variable && strings.EqualFold(s.name, keyClientID) {
			out[i] = symbol{kind: anyRun}
		}
	}
	return out
}
