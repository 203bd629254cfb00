package lint

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// corpusRow is one line of the corpus (policy §15), as far as lint reads it.
type corpusRow struct {
	ID, Source, Expect, Why string
	Lint                    []string
	Policies                []json.RawMessage
	Context                 struct {
		PolicyTargets []string `json:"policy_targets"`
	}
}

func corpus(t testing.TB) []corpusRow {
	t.Helper()
	raw, err := os.ReadFile("../testdata/policy.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var rows []corpusRow
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row corpusRow
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		t.Fatal("the corpus is empty")
	}
	return rows
}

// sources are the documents of a row; a string is a document as text.
func (r *corpusRow) sources() []Source {
	var out []Source
	for i, raw := range r.Policies {
		var text []byte
		var quoted string
		if json.Unmarshal(raw, &quoted) == nil {
			text = []byte(quoted)
		} else {
			var indented bytes.Buffer
			_ = json.Indent(&indented, raw, "", "  ")
			text = indented.Bytes()
		}
		name := fmt.Sprintf("%s-%d", r.ID, i)
		src := Source{Name: name, File: name + ".json", Text: text}
		if i < len(r.Context.PolicyTargets) {
			src.Target = r.Context.PolicyTargets[i]
		}
		out = append(out, src)
	}
	return out
}

// corpusGateway is whose ARNs the corpus has.
var corpusGateway = Gateway{Partition: "aws", Region: "us-east-1", Account: "123456789012"}

// TestCorpusLint is policy §15: a row's lint ids are reported for its policies,
// each by itself and together.
func TestCorpusLint(t *testing.T) {
	n := 0
	for _, row := range corpus(t) {
		for _, id := range row.Lint {
			n++
			t.Run(row.ID+"/"+id, func(t *testing.T) {
				for _, together := range []bool{true, false} {
					report, err := Documents(row.sources(), Options{Gateway: corpusGateway, Together: together})
					if err != nil {
						t.Fatal(err)
					}
					if !strings.Contains(ids(report.Findings), id) {
						t.Errorf("together %v: %s is not among %s", together, id, ids(report.Findings))
					}
				}
			})
		}
	}
	if n < 50 {
		t.Errorf("the corpus names %d rules, there were 53", n)
	}
}

func ids(fs []Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Rule+"/"+f.Severity.String()[:1])
	}
	return strings.Join(out, " ")
}

// accepted are findings above a remark on what AWS prints as a good example,
// by the rule and the beginning of the row's id; each is one that AWS's own
// audits or pages call wrong.
var accepted = []struct{ rule, rows, reason string }{
	{"L10", "attr-", "the page shows connect attributes and leaves the door open: AWS's audit calls iot:Connect on * critical"},
	{"L10", "lwt-", "the same page"},
	{"L10", "var-002", "client/${iot:ClientId}: AWS's audit says that it equals client/*"},
	{"L10", "ret-006", "client/*: AWS's audit calls it critical"},
	{"L10", "cert-026", "a statement made from the table of variables, with iot:Connect on *"},
	{"L10", "cond-016", "IsAttached false on *, to show that the key is there without a thing"},
	{"L10", "cond-027", "a statement made from the table of variables, with iot:Connect on *"},
	{"L10", "var-004", "printed as the example of what goes wrong with ${iot:ClientId}"},
	{"L28", "lwt-", "users saw AWS drop such clients (MQTTnet issue 1729)"},
	{"L03", "sub-023", "printed to show that a/# gets around the Deny"},
	{"L15", "cert-001", "the page says what the statement is for, and it does not do that for a certificate without an organization"},
}

// TestGoodExamples is P5: on what AWS's pages print, nothing is found above a
// remark, but what the row itself illustrates and what is accepted above.
func TestGoodExamples(t *testing.T) {
	used := map[string]bool{}
	judged := 0
	seen := map[string]bool{}
	illustrated := map[string]string{}
	for _, row := range corpus(t) {
		illustrated[fmt.Sprintf("%s", row.Policies)] += " " + strings.Join(row.Lint, " ")
	}
	for _, row := range corpus(t) {
		if strings.HasPrefix(row.Source, "derived") || row.Expect == "invalid_policy" {
			continue
		}
		key := fmt.Sprintf("%s", row.Policies)
		if seen[key] {
			continue
		}
		seen[key] = true
		judged++
		t.Run(row.ID, func(t *testing.T) {
			report, err := Documents(row.sources(), Options{Gateway: corpusGateway})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range report.From(Medium) {
				ok := strings.Contains(illustrated[fmt.Sprintf("%s", row.Policies)], f.Rule)
				for _, a := range accepted {
					if a.rule == f.Rule && strings.HasPrefix(row.ID, a.rows) {
						ok = true
						used[a.rule+a.rows] = true
					}
				}
				if !ok {
					t.Errorf("%s of %s: %s %s: %s", f.Where(), row.Source, f.Rule, f.Severity, f.Message)
				}
			}
		})
	}
	if judged < 70 {
		t.Errorf("%d sets judged, there were 77", judged)
	}
	for _, a := range accepted {
		if !used[a.rule+a.rows] {
			t.Errorf("nothing needs the exception of %s for %s any more", a.rule, a.rows)
		}
	}
}
