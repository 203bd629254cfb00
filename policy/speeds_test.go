package policy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// verdict is what both speeds must agree on: the outcome and the statement.
type verdict struct {
	outcome string
	policy  string
	index   int
}

// fastDecision goes the way of a packet: session.rego, program, match.
func fastDecision(t testing.TB, rules *rules, documents []*document, g gateway, s session, r *request) (verdict, string) {
	t.Helper()
	h, err := rules.holdings(t.Context(), documents, g)
	if err != nil {
		t.Fatal(err)
	}
	p := compileFor(t, h, documents, g, s)
	d := p.decide(r)
	return verdictOf(d), d.Reason
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
func plainDecision(t testing.TB, rules *rules, documents []*document, g gateway, s session, r *request) verdict {
	t.Helper()
	input := documentsInput(documents, g)
	context := s.context()
	context["current_time"] = r.clock().UTC().Truncate(time.Second).Format(time.RFC3339)
	if r.source != "" {
		context["source_ip"] = r.source
	}
	input["context"] = context
	attributes := make([]any, len(r.attributes))
	for i, a := range r.attributes {
		attributes[i] = a
	}
	ask := map[string]any{"action": r.action, "resource": r.arn(g), "connect_attributes": attributes}
	if r.hasWill {
		ask["last_will_topic"] = g.prefix() + "topic/" + r.willTopic
	}
	input["request"] = ask
	value, err := answer(t.Context(), rules.decision, input)
	if err != nil {
		t.Fatal(err)
	}
	decision := value.(map[string]any)
	v := verdict{outcome: decision["outcome"].(string)}
	deciding := map[string]string{"allow": "allowing", "explicit_deny": "denying"}[v.outcome]
	if deciding != "" {
		first := decision[deciding].([]any)[0].([]any)
		v.policy = first[0].(string)
		index, _ := first[1].(json.Number).Int64()
		v.index = int(index)
	}
	return v
}
