package policy

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/ebbgate/ebbgate/bridge"
)

// verdict is what both speeds must agree on: the outcome and the statement.
type verdict struct {
	outcome string
	policy  string
	index   int
}

// plainRules are the rules with the queries of plain evaluation.
type plainRules struct {
	*rules
	compiled, decisions rego.PreparedEvalQuery
}

// mustRules are the gateway's own rules: one for all tests, for none changes them.
func mustRules(t testing.TB) *plainRules {
	t.Helper()
	r, err := embeddedPlain()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var embeddedPlain = sync.OnceValues(func() (*plainRules, error) {
	r, err := embeddedRules()
	if err != nil {
		return nil, err
	}
	return newPlain(r)
})

func newPlain(r *rules) (*plainRules, error) {
	p := &plainRules{rules: r}
	var err error
	if p.compiled, err = r.query(context.Background(), "data.ebbgate.iot.compiled"); err != nil {
		return nil, err
	}
	p.decisions, err = r.query(context.Background(), "data.ebbgate.iot.decisions")
	return p, err
}

// fastDecision goes the way of a packet: session.rego, program, match.
func fastDecision(t testing.TB, rules *plainRules, documents []*document, g gateway, s session, r *request) (verdict, string) {
	t.Helper()
	h, err := rules.holdings(t.Context(), documents, g)
	if err != nil {
		t.Fatal(err)
	}
	p := compileFor(t, h, documents, g, s)[0]
	d := p.decide(r)
	return verdictOf(d), d.Reason
}

// askFor lets the rules say what sessions hold by documents.
func askFor(t testing.TB, h *holdings, documents []*document, sessions ...session) []held {
	t.Helper()
	var used uses
	var names []string
	for _, d := range documents {
		names = append(names, d.name)
		used = used.and(d.uses)
	}
	holders := make([]holder, len(sessions))
	for i, s := range sessions {
		holders[i] = holder{s.project(used), names}
	}
	held, err := h.ask(t.Context(), holders)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// compileFor compiles what sessions hold by documents.
func compileFor(t testing.TB, h *holdings, documents []*document, g gateway, sessions ...session) []*program {
	t.Helper()
	held := askFor(t, h, documents, sessions...)
	programs := make([]*program, len(sessions))
	for i := range held {
		var err error
		if programs[i], err = newProgram(g, documents, held[i]); err != nil {
			t.Fatal(err)
		}
	}
	return programs
}

func verdictOf(d bridge.Decision) verdict {
	switch {
	case d.Allowed:
		return verdict{"allow", d.Policy, d.Index}
	case d.Explicit:
		return verdict{"explicit_deny", d.Policy, d.Index}
	default:
		return verdict{outcome: "implicit_deny"}
	}
}

// plainDecision lets decision.rego decide from the raw documents.
func plainDecision(t testing.TB, rules *plainRules, documents []*document, g gateway, s session, r *request) verdict {
	t.Helper()
	return rules.decide(t, rules.compile(t, documents, g).statements, g, s, []*request{r})[0]
}

// compiledSet is a document set as the rules prepare it for both speeds.
type compiledSet struct{ statements, prepared, gateway, switches *ast.Term }

// compile prepares a document set once for many contexts and requests.
func (p *plainRules) compile(t testing.TB, documents []*document, g gateway) *compiledSet {
	t.Helper()
	input, err := object(documentsInput(documents, g))
	if err != nil {
		t.Fatal(err)
	}
	term, err := answer(t.Context(), p.compiled, input)
	if err != nil {
		t.Fatal(err)
	}
	get := func(o ast.Value, name string) *ast.Term { return o.(ast.Object).Get(ast.InternedTerm(name)) }
	return &compiledSet{get(term.Value, "statements"), get(term.Value, "prepared"), get(input, "gateway"), get(input, "switches")}
}

func (c *compiledSet) holdings(p *plainRules) *holdings {
	return &holdings{query: p.sessions, prepared: c.prepared, gateway: c.gateway, switches: c.switches}
}

// decide lets decision.rego decide requests of one context.
func (p *plainRules) decide(t testing.TB, statements *ast.Term, g gateway, s session, requests []*request) []verdict {
	t.Helper()
	asks := make([]any, len(requests))
	for i, r := range requests {
		ask := (&inquiry{gateway: g, session: s, request: *r}).input()["request"].(map[string]any)
		ask["current_time"] = r.clock().UTC().Truncate(time.Second).Format(time.RFC3339)
		asks[i] = ask
	}
	input, err := object(map[string]any{"statements": statements, "gateway": g.input(), "switches": g.switched(), "context": s.context(), "requests": asks})
	if err != nil {
		t.Fatal(err)
	}
	term, err := answer(t.Context(), p.decisions, input)
	if err != nil {
		t.Fatal(err)
	}
	answers := term.Value.(*ast.Array)
	out := make([]verdict, answers.Len())
	for i := range out {
		out[i] = verdictIn(t, answers.Elem(i))
	}
	return out
}

func verdictIn(t testing.TB, term *ast.Term) verdict {
	t.Helper()
	fields := term.Value.(ast.Object)
	outcome, _ := valueOf[ast.String](fields, "outcome")
	v := verdict{outcome: string(outcome)}
	deciding := map[string]string{"allow": "allowing", "explicit_deny": "denying"}[v.outcome]
	if deciding == "" {
		return v
	}
	list, _ := valueOf[*ast.Array](fields, deciding)
	if list == nil || list.Len() == 0 {
		return v // rules with a bug in them
	}
	first := list.Elem(0).Value.(*ast.Array)
	v.policy = string(first.Elem(0).Value.(ast.String))
	v.index, _ = first.Elem(1).Value.(ast.Number).Int()
	return v
}
