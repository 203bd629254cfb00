package policy

import (
	"encoding/json"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// bug is something wrong in the compiled path, put where it would be: into the
// documents as parsed, into what a session holds, the program, a request, or
// the last step. A nil bug is none.
type bug struct {
	name     string
	document func(*document)
	held     func([]*document, *held)
	program  func(*program)
	request  func(*request)
	last     func(*program, *request) bridge.Decision
}

// compile makes the program of what a session holds, with the bug.
func (b *bug) compile(t testing.TB, documents []*document, g gateway, h held) *program {
	t.Helper()
	if b != nil && b.document != nil {
		documents = b.spoil(t, documents, g)
	}
	if b != nil && b.held != nil {
		b.held(documents, &h)
	}
	p, err := newProgram(g, documents, h)
	if err != nil {
		t.Fatal(err)
	}
	if b != nil && b.program != nil {
		for _, action := range asked {
			p.lookup(&request{action: string(action), kind: kindOf(action)})
		}
		b.program(p)
	}
	return p
}

// spoil makes copies of documents with the bug in them.
func (b *bug) spoil(t testing.TB, documents []*document, g gateway) []*document {
	t.Helper()
	var out []*document
	for _, d := range documents {
		raw, err := json.Marshal(d.raw)
		if err != nil {
			t.Fatal(err)
		}
		again, faults := parseDocument(d.name, d.file, raw, g)
		if again == nil {
			t.Fatal(faults)
		}
		b.document(again)
		out = append(out, again)
	}
	return out
}

func (b *bug) decide(p *program, r *request) bridge.Decision {
	if b == nil {
		return p.decide(r)
	}
	if b.request != nil {
		spoilt := *r
		b.request(&spoilt)
		r = &spoilt
	}
	if b.last != nil {
		return b.last(p, r)
	}
	return p.decide(r)
}

// eachRule visits the compiled rules of the actions that packets ask about.
func eachRule(p *program, visit func(*rule)) {
	for i := range p.tables {
		t := p.tables[i].Load()
		for k := range t.deny {
			visit(&t.deny[k])
		}
		for k := range t.allow {
			visit(&t.allow[k])
		}
	}
}

// eachTail visits what resources became. They are shared: a change must be to
// a copy.
func eachTail(p *program, change func(*tail)) {
	eachRule(p, func(r *rule) {
		tails := append([]tail(nil), r.tails...)
		for i := range tails {
			parts := make([]part, len(tails[i].glob.parts))
			for k, one := range tails[i].glob.parts {
				parts[k] = append(part(nil), one...)
			}
			tails[i].glob.parts = parts
			change(&tails[i])
		}
		r.tails = tails
	})
}

// eachCheck visits the conditions left to requests, as copies.
func eachCheck(p *program, change func(*check)) {
	eachRule(p, func(r *rule) {
		checks := make([]*check, len(r.checks))
		for i, c := range r.checks {
			spoilt := *c
			spoilt.operands = append([]operand(nil), c.operands...)
			change(&spoilt)
			checks[i] = &spoilt
		}
		r.checks = checks
	})
}
