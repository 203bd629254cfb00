package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestSpeedsAgree draws policy sets, contexts and requests and decides each by
// the compiled path and by plain Rego from the raw documents. EBBGATE_TRIPLES
// sets how many are drawn, EBBGATE_SEED where the drawing starts.
func TestSpeedsAgree(t *testing.T) {
	want := fromEnv(t, "EBBGATE_TRIPLES", 2000)
	seed := fromEnv(t, "EBBGATE_SEED", 1)
	rules := mustRules(t)
	outcomes := map[string]int{}
	triples := 0
	for n := uint64(0); triples < want && !t.Failed(); n++ {
		g := generator{rand.New(rand.NewPCG(uint64(seed), n))}
		gw := pick(g, corpusGateway, corpusGateway, gateway{}, gateway{partition: "aws", account: "123456789012"})
		documents := g.documents(gw)
		holdings, err := rules.holdings(t.Context(), documents, gw)
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			s := g.session()
			p := compileFor(t, holdings, documents, gw, s)
			for range 4 {
				r := g.request(documents, s)
				fast, plain := verdictOf(p.decide(r)), plainDecision(t, rules, documents, gw, s, r)
				if fast != plain {
					t.Errorf("EBBGATE_SEED=%d, set %d: compiled %v, Rego %v\n%s", seed, n, fast, plain, describe(documents, gw, s, r))
				}
				outcomes[plain.outcome]++
				triples++
			}
		}
	}
	t.Logf("%d triples: %v", triples, outcomes)
	for _, outcome := range []string{"allow", "explicit_deny", "implicit_deny"} {
		if outcomes[outcome] < triples/50 {
			t.Errorf("only %d of %d triples end in %s: the drawing has become blind", outcomes[outcome], triples, outcome)
		}
	}
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func compileFor(t testing.TB, h *holdings, documents []*document, g gateway, s session) *program {
	t.Helper()
	var used uses
	var names []string
	for _, d := range documents {
		names = append(names, d.name)
		used = used.and(d.uses)
	}
	held, err := h.ask(t.Context(), names, s.project(used))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProgram(g, documents, held)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func describe(documents []*document, g gateway, s session, r *request) string {
	var raw []any
	for _, d := range documents {
		raw = append(raw, d.raw)
	}
	docs, _ := json.Marshal(raw)
	context, _ := json.Marshal(s.context())
	return fmt.Sprintf("documents %s\ncontext %s\ngateway %+v\nrequest %s on %s, attributes %v, will %v %q, from %s at %s",
		docs, context, g, r.action, r.arn(g), r.attributes, r.hasWill, r.willTopic, r.source, r.clock().UTC().Format(time.RFC3339Nano))
}
