package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// statements makes documents with n statements in all, each of which lets a
// thing publish on one branch of its own.
func statements(b *testing.B, n int) []*document {
	b.Helper()
	var documents []*document
	for first := 0; first < n; first += 10 {
		var list []string
		for i := first; i < min(first+10, n); i++ {
			list = append(list, fmt.Sprintf(`{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/dt/%d/${iot:Connection.Thing.ThingName}/*"}`, i))
		}
		name := fmt.Sprintf("p%d", first)
		d, faults := parseDocument(name, name, []byte(`{"Version":"2012-10-17","Statement":[`+strings.Join(list, ",")+`]}`), corpusGateway)
		if d == nil {
			b.Fatal(faults)
		}
		documents = append(documents, d)
	}
	return documents
}

// BenchmarkDecision compares the compiled path with plain Rego, on topics that
// the last statement allows.
func BenchmarkDecision(b *testing.B) {
	rules := mustRules(b)
	s := session{clientID: "dev1", thing: "dev1", attached: true}
	for _, n := range []int{1, 10, 100} {
		documents := statements(b, n)
		h, err := rules.holdings(b.Context(), documents, corpusGateway)
		if err != nil {
			b.Fatal(err)
		}
		p := compileFor(b, h, documents, corpusGateway, s)[0]
		topics := make([]string, 100_000)
		for i := range topics {
			topics[i] = fmt.Sprintf("dt/%d/dev1/t/%d", n-1, i)
		}
		r := request{action: string(bridge.ActionPublish), kind: "topic/", name: topics[0], clock: at(fixed)}
		b.Run(fmt.Sprintf("compiled/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.name = topics[i%len(topics)]
				if !p.decide(&r).Allowed {
					b.Fatal("denied")
				}
			}
		})
		b.Run(fmt.Sprintf("rego/%d", n), func(b *testing.B) {
			for b.Loop() {
				plainDecision(b, rules, documents, corpusGateway, s, &r)
			}
		})
	}
}

// BenchmarkSession is what a new client id costs before its first packet: what
// OPA takes to decide what it holds, and what compiling that takes.
func BenchmarkSession(b *testing.B) {
	rules := mustRules(b)
	s := session{clientID: "dev1", thing: "dev1", attached: true}
	for _, n := range []int{1, 10, 100} {
		documents := statements(b, n)
		h, err := rules.holdings(b.Context(), documents, corpusGateway)
		if err != nil {
			b.Fatal(err)
		}
		var names []string
		for _, d := range documents {
			names = append(names, d.name)
		}
		answer, err := h.ask(b.Context(), []holder{{s, names}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("opa/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.ask(b.Context(), []holder{{s, names}}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("compile/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := newProgram(corpusGateway, documents, answer[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConnect is Grants for clients that all differ, as when 1,000
// sessions come back at once.
func BenchmarkConnect(b *testing.B) {
	e, cert := loadExample(b), exampleCertificate(b)
	for i := 0; b.Loop(); i++ {
		p, err := e.Certificate(cert, fmt.Sprintf("c%d", i), fixed)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.Grants(&p); err != nil {
			b.Fatal(err)
		}
	}
}
