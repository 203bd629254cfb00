package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The shape of the drawing: so many contexts for a policy set, and requests
// for a context. What the rules do once for a set or a context they do once.
const (
	contextsPerSet     = 4
	requestsPerContext = 64
)

// TestSpeedsAgree draws policy sets, contexts and requests and decides each by
// the compiled path and by plain Rego from the raw documents. EBBGATE_TRIPLES
// sets how many are drawn, EBBGATE_SEED where the drawing starts. Under the race
// detector, which is there for what the goroutines share, it draws a fortieth; make
// test runs the whole without it.
func TestSpeedsAgree(t *testing.T) {
	t.Parallel()
	draw := 200_000
	if raced {
		draw /= 40
	}
	want := fromEnv(t, "EBBGATE_TRIPLES", draw)
	seed := fromEnv(t, "EBBGATE_SEED", 1)
	rules := mustRules(t)
	var mu sync.Mutex
	outcomes := map[string]int{}
	triples := 0
	var sets atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				n := sets.Add(1) - 1
				if int(n)*contextsPerSet*requestsPerContext >= want || t.Failed() {
					return
				}
				drawn := drawSet(t, rules, uint64(seed), n)
				if d := drawn.disagreement(t, askFor(t, drawn.compiled.holdings(rules), drawn.documents, drawn.sessions()...), nil); d != "" {
					t.Errorf("EBBGATE_SEED=%d, set %d: %s", seed, n, d)
				}
				mu.Lock()
				for _, c := range drawn.contexts {
					for _, v := range c.plain {
						outcomes[v.outcome]++
						triples++
					}
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d random (policy set, context, request) triples, %d policy sets, both speeds equal: %v", triples, triples/contextsPerSet/requestsPerContext, outcomes)
	for _, outcome := range []string{"allow", "explicit_deny", "implicit_deny"} {
		if outcomes[outcome] < triples/50 {
			t.Errorf("only %d of %d triples end in %s: the drawing has become blind", outcomes[outcome], triples, outcome)
		}
	}
}

// drawn is a policy set with contexts and requests, and what plain Rego says.
type drawn struct {
	gateway   gateway
	documents []*document
	compiled  *compiledSet
	contexts  []drawnContext
}

type drawnContext struct {
	session  session
	requests []*request
	plain    []verdict
}

// drawSet draws set n of a seed and lets plain Rego decide.
func drawSet(t testing.TB, rules *plainRules, seed, n uint64) *drawn {
	t.Helper()
	g := generator{rand.New(rand.NewPCG(seed, n))}
	d := &drawn{gateway: g.gateway()}
	d.documents = g.documents(d.gateway)
	d.compiled = rules.compile(t, d.documents, d.gateway)
	for range contextsPerSet {
		c := drawnContext{session: g.session()}
		for range requestsPerContext {
			c.requests = append(c.requests, g.request(d.documents, c.session))
		}
		c.plain = rules.decide(t, d.compiled.statements, d.gateway, c.session, c.requests)
		d.contexts = append(d.contexts, c)
	}
	return d
}

func (d *drawn) sessions() []session {
	var out []session
	for _, c := range d.contexts {
		out = append(out, c.session)
	}
	return out
}

// disagreement describes the first request about which the compiled path says
// something else, empty when there is none. A bug may be in the compiled path.
func (d *drawn) disagreement(t testing.TB, held []held, bug *bug) string {
	t.Helper()
	for i, c := range d.contexts {
		p := bug.compile(t, d.documents, d.gateway, held[i])
		for k, r := range c.requests {
			if fast := verdictOf(bug.decide(p, r)); fast != c.plain[k] {
				return fmt.Sprintf("compiled %v, Rego %v\n%s", fast, c.plain[k], describe(d.documents, d.gateway, c.session, r))
			}
		}
	}
	return ""
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
