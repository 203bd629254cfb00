package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

// press is the client that the examples are about.
func press() policy.Context {
	return policy.Context{
		ClientID: "press-1", ThingName: "press-1", ThingAttached: true, ThingType: "press",
		Certificate: &policy.CertificateContext{ID: "c0ffee", Serial: "0A1B"}, SourceIP: "192.0.2.7", DomainName: "gw.example.com",
	}
}

// TestExamples asks the engine about every example that a message gives, for
// the rules' cases and the whole corpus: it must say what the message says.
func TestExamples(t *testing.T) {
	desk, err := policy.NewDesk(policy.Options{Partition: "aws", Region: "us-east-1", Account: "123456789012"})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	check := func(t *testing.T, sources []Source) {
		report, err := Documents(sources, Options{Gateway: corpusGateway, Together: true})
		if err != nil {
			t.Fatal(err)
		}
		var docs []policy.Document
		for _, s := range sources {
			docs = append(docs, policy.Document{Name: s.Name, Text: s.Text, Target: s.Target})
		}
		for _, f := range report.Findings {
			for _, e := range f.Examples {
				asked++
				answer, err := desk.Ask(t.Context(), docs, press(), policy.Question{Action: e.Action, Resource: e.Resource})
				if err != nil {
					t.Fatal(err)
				}
				if (answer.Outcome == "ALLOWED") != e.Allowed {
					t.Errorf("%s %s: the message says %q, the engine %s", f.Where(), f.Rule, e, answer.Outcome)
				}
				if e.By != "" && len(answer.Allowing) > 0 && len(docs) == 1 {
					found := false
					for _, a := range answer.Allowing {
						found = found || e.By == fmt.Sprintf("Statement[%d]", a.Index) || e.By == fmt.Sprintf("Statement[%d] (%s)", a.Index, a.Sid)
					}
					if !found {
						t.Errorf("%s %s: %q, but the engine names %v", f.Where(), f.Rule, e, answer.Allowing)
					}
				}
			}
		}
	}
	files, err := filepath.Glob("testdata/rules/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases: ", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(file), func(t *testing.T) { check(t, []Source{{Name: "p", File: file, Text: raw}}) })
	}
	seen := map[string]bool{}
	for _, row := range corpus(t) {
		if key := fmt.Sprintf("%s", row.Policies); !seen[key] && row.Expect != "invalid_policy" {
			seen[key] = true
			t.Run(row.ID, func(t *testing.T) { check(t, row.sources()) })
		}
	}
	if asked < 100 {
		t.Errorf("only %d examples were asked about", asked)
	}
	t.Logf("%d examples asked", asked)
}
