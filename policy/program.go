package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// asked are the actions that packets ask about, the most frequent first.
var asked = [...]bridge.Action{bridge.ActionPublish, bridge.ActionReceive, bridge.ActionSubscribe, bridge.ActionConnect, bridge.ActionRetainPublish}

// program is what a session holds, compiled: for each action that the broker
// asks about, the statements that may decide. What it says never changes.
type program struct {
	gateway  gateway
	policies []string
	live     []*live
	// What it was compiled from, for the program after it.
	documents []*document
	held      held
	tables    [len(asked)]atomic.Pointer[table] // by the action's place in asked; made when first asked for
	missing   []string                          // variables that have no value here
}

// live is a statement that may apply to the session.
type live struct {
	*statement
	checks []*check
	values values
}

// table lists the rules of one action.
type table struct{ deny, allow []rule }

// rule is a live statement compiled for one action.
type rule struct {
	tails  []tail
	negate bool // the statement has NotResource
	checks []*check
	from   *statement
}

// newProgram compiles the statements of the named documents for a session. It
// fails when the answer of the rules does not fit the documents.
func newProgram(g gateway, documents []*document, h held) (*program, error) {
	p := &program{gateway: g, documents: documents, held: h}
	for _, d := range documents {
		p.policies = append(p.policies, d.name)
		for _, s := range d.statements {
			left, holds := h.statements[statementID{d.name, s.index}]
			if len(s.conditions) > 0 && !holds {
				continue
			}
			l := &live{statement: s, values: h.values}
			for _, id := range left {
				i := slices.IndexFunc(s.conditions, func(c *condition) bool { return c.written == id.operator && c.name == id.key })
				if i < 0 {
					return nil, errAnswer
				}
				l.checks = append(l.checks, newCheck(s.conditions[i], g, h.values))
			}
			p.live = append(p.live, l)
			p.note(s, h.values)
		}
	}
	return p, nil
}

// note remembers the variables of a statement that have no value.
func (p *program) note(s *statement, v values) {
	for _, r := range s.resources {
		for _, name := range r.needs {
			if _, ok := v[name]; !ok && !slices.Contains(p.missing, name) && len(p.missing) < 5 {
				p.missing = append(p.missing, name)
			}
		}
	}
}

// table compiles one action on one kind of resource.
func (p *program) table(action, kind string) *table {
	t := &table{}
	action = strings.ToLower(action)
	for _, l := range p.live {
		if !l.covers(action) {
			continue
		}
		r := rule{negate: l.notResource, checks: l.checks, from: l.statement}
		if action == "iot:connect" && p.gateway.attributesNamed() && !l.deny && !l.namesAttributes() {
			r.checks = append(slices.Clip(r.checks), noAttributes)
		}
		for _, res := range l.resources {
			r.tails = append(r.tails, res.tails(kind, l.values)...)
		}
		if len(r.tails) == 0 && !r.negate {
			continue
		}
		if l.deny {
			t.deny = append(t.deny, r)
		} else {
			t.allow = append(t.allow, r)
		}
	}
	return t
}

// attributesNamed reports whether the attributes of a CONNECT have to be named
// by what allows it.
func (g gateway) attributesNamed() bool {
	return g.switches != nil && g.switches.ConnectAttributesDefault == "none"
}

// noAttributes holds for a CONNECT that wants nothing in particular.
var noAttributes = &check{operator: operator{test: null}, key: keyAttributes, operands: []operand{{text: "true"}}}

func (s *statement) namesAttributes() bool {
	return slices.ContainsFunc(s.conditions, func(c *condition) bool { return keyOf(c.name) == keyAttributes })
}

// covers reports whether the statement is about an action in lower case.
func (s *statement) covers(action string) bool {
	for _, g := range s.actions {
		if g.match(action) {
			return !s.notAction
		}
	}
	return s.notAction
}

// decide answers a request: a Deny that applies wins, then an Allow.
func (p *program) decide(r *request) bridge.Decision {
	t := p.lookup(r)
	var buffer [2]string
	names := r.names(p.gateway, buffer[:0])
	for i := range t.deny {
		if t.deny[i].applies(r, names, p.gateway) {
			return t.deny[i].from.decision
		}
	}
	for i := range t.allow {
		if t.allow[i].applies(r, names, p.gateway) {
			return t.allow[i].from.decision
		}
	}
	return p.refuse(r)
}

// lookup finds the table of an action, or makes it: once for those that packets
// ask about, each time for others.
func (p *program) lookup(r *request) *table {
	for i, action := range asked {
		if string(action) == r.action && kindOf(action) == r.kind {
			t := p.tables[i].Load()
			if t == nil {
				t = p.table(r.action, r.kind)
				p.tables[i].Store(t)
			}
			return t
		}
	}
	return p.table(r.action, r.kind)
}

func (l *rule) applies(r *request, names []string, g gateway) bool {
	fits := false
	for _, name := range names {
		if l.lists(name) != l.negate {
			fits = true
			break
		}
	}
	if !fits {
		return false
	}
	for _, c := range l.checks {
		if !c.holds(r, g) {
			return false
		}
	}
	return true
}

// lists reports whether the name is one of the statement's resources.
func (l *rule) lists(name string) bool {
	colon := strings.IndexByte(name, ':') >= 0
	for i := range l.tails {
		if l.tails[i].match(name, colon) {
			return true
		}
	}
	return false
}

// refuse says why nothing allows a request.
func (p *program) refuse(r *request) bridge.Decision {
	if len(p.policies) == 0 {
		return bridge.Decision{Reason: "denied: no policy is attached"}
	}
	reason := fmt.Sprintf("denied: no statement of policy %s allows %s on %s", strings.Join(p.policies, ", "), r.action, shorten(r.kind+r.name))
	if len(p.missing) > 0 {
		reason += "; without a value here: ${" + strings.Join(p.missing, "}, ${") + "}"
	}
	return bridge.Decision{Reason: reason, Missing: p.missing}
}

// shorten keeps what a client sends out of long lines, and control characters
// out of terminals.
func shorten(text string) string {
	const most = 160
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strings.Map(printable, text)
}
