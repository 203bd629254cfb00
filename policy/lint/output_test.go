package lint

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write docs/lint.md")

// TestReference keeps docs/lint.md equal to the rules.
func TestReference(t *testing.T) {
	const file = "../../docs/lint.md"
	if *update {
		if err := os.WriteFile(file, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != Reference() {
		t.Error("docs/lint.md is not what the rules say; run go test ./policy/lint -run Reference -update")
	}
}

// TestReferenceExample keeps the page's example true.
func TestReferenceExample(t *testing.T) {
	report, err := Files([]string{"testdata/rules/L02.json"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteText(&b, report, Low); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(b.String(), "testdata/rules/L02.json", "policies/room.json")
	if !strings.Contains(referenceHead, want) {
		t.Errorf("the page does not have\n%s", want)
	}
}

func all(t *testing.T) *Report {
	t.Helper()
	report, err := Files([]string{"testdata/rules"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestText shows that lines keep to 80 columns where words allow, and that the
// last one counts.
func TestText(t *testing.T) {
	report := all(t)
	var b bytes.Buffer
	if err := WriteText(&b, report, High); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for _, l := range lines {
		words := strings.Fields(l)
		if utf8.RuneCountInString(l) > width && len(words) > 2 && strings.HasPrefix(l, "    ") && utf8.RuneCountInString(words[len(words)-1]) < 60 {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(l), l)
		}
		if strings.Contains(l, " medium: ") || strings.Contains(l, " low: ") {
			t.Errorf("not asked for: %s", l)
		}
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "34 documents, ") || !strings.Contains(last, "less severe not shown") {
		t.Errorf("the last line is %q", last)
	}
	b.Reset()
	hostile := &Report{Documents: 1, Findings: []Finding{{File: "a\x1b[31m", Line: 1, Column: 1, Message: "\x07\u009b", Severity: Low, Rule: "L01"}}}
	if err := WriteText(&b, hostile, Low); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\x07\u009b") {
		t.Errorf("control characters reach the terminal: %q", b.String())
	}
}

func TestJSON(t *testing.T) {
	report := all(t)
	var b bytes.Buffer
	if err := WriteJSON(&b, report, Low); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != len(report.Findings) {
		t.Errorf("%d lines for %d findings", len(lines), len(report.Findings))
	}
	for _, l := range lines {
		var f struct {
			ID, Severity, File, Message, Fix string
			Line, Column                     int
		}
		if err := json.Unmarshal([]byte(l), &f); err != nil {
			t.Fatal(err)
		}
		if f.ID == "" || f.Severity == "" || f.File == "" || f.Message == "" || f.Fix == "" || f.Line < 1 || f.Column < 1 {
			t.Errorf("a field is missing: %s", l)
		}
	}
}

// TestSARIF checks what the schema of SARIF 2.1.0 demands and what code
// scanning reads.
func TestSARIF(t *testing.T) {
	report := all(t)
	report.Suppressed = []Finding{{Rule: "L17", File: "a b/ü.json", Line: 2, Column: 3, EndLine: 2, EndColumn: 9, Severity: Low, Suppressed: "wanted"}}
	var b bytes.Buffer
	if err := WriteSARIF(&b, report, Low, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	dec := json.NewDecoder(&b)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 {
		t.Fatalf("version %s, %d runs", log.Version, len(log.Runs))
	}
	run := log.Runs[0]
	if len(run.Results) != len(report.Findings)+1 || len(run.Tool.Driver.Rules) != 37 {
		t.Errorf("%d results, %d rules", len(run.Results), len(run.Tool.Driver.Rules))
	}
	for _, r := range run.Results {
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("%s points at rule %d", r.RuleID, r.RuleIndex)
		}
		if !strings.Contains("none note warning error", r.Level) || r.Message.Text == "" || len(r.Locations) != 1 {
			t.Errorf("%+v is not whole", r)
		}
		region := r.Locations[0].Physical.Region
		if region == nil || region.StartLine < 1 || region.StartColumn < 1 || region.EndLine < region.StartLine {
			t.Errorf("%s: region %+v", r.RuleID, region)
		}
	}
	last := run.Results[len(run.Results)-1]
	if len(last.Suppressions) != 1 || last.Suppressions[0].Justification != "wanted" || last.Locations[0].Physical.Artifact.URI != "a%20b/%C3%BC.json" {
		t.Errorf("the suppressed one is %+v", last)
	}
}

func TestParseSeverity(t *testing.T) {
	for text, want := range map[string]Severity{"critical": Critical, "C": Critical, "h": High, "High": High, "M": Medium, "low": Low} {
		if got, err := ParseSeverity(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "critica"} {
		if _, err := ParseSeverity(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
