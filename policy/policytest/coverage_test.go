package policytest

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// covered runs a suite over the device policy of testdata.
func covered(t *testing.T, tests string) *Report {
	t.Helper()
	text := "policies: site/policies/device.json\nthings: {press-1: {}, press-2: {attached: false}}\ntests:\n" + tests
	cases, faults := ReadYAML("testdata/f.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	r := newRunner()
	r.Explain = true
	coverage := &Coverage{}
	if _, err := r.Test(t.Context(), cases, func(r Result) error { coverage.Add(r); return nil }); err != nil {
		t.Fatal(err)
	}
	return coverage.Report()
}

// TestCoverage shows in the text of the policy what no case reached.
func TestCoverage(t *testing.T) {
	report := covered(t, `
  - {client: press-1, may: connect}
  - {client: press-1, may: publish dt/press-1/x, may not: publish dt/press-2/x}
  - {client: press-1, may: receive cmd/press-1/x}
`)
	var out bytes.Buffer
	if err := report.Write(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/coverage.txt", out.Bytes())
	if s := report.Statements; s.Reached != 3 || s.Of != 3 {
		t.Errorf("statements %s", s)
	}
	if r := report.Resources; r.Reached != 3 || r.Of != 4 {
		t.Errorf("resources %s", r)
	}
	first := report.Documents[0].Statements[0]
	if first.Applied != 1 || first.Line != 4 || first.Conditions[0].Held != 1 || first.Conditions[0].Failed != 0 || first.Conditions[0].Line != 10 {
		t.Errorf("first statement %+v, condition %+v", first, first.Conditions[0])
	}
}

// TestCoverageWhole has nothing to list when all was reached, both ways.
func TestCoverageWhole(t *testing.T) {
	report := covered(t, `
  - {client: press-1, may: connect}
  - {client: press-1, with: {will: x}, may not: connect}
  - {client: press-1, may: [publish retained dt/press-1/x, subscribe cmd/press-1/x, receive cmd/press-1/x]}
`)
	var out bytes.Buffer
	if err := report.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"device.json:10: Statement[0] (Connect) Bool iot:Connection.Thing.IsAttached never fails\n", "\ncoverage: 100.0%: 3/3 of statements"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("printed\n%s\nwant %s", out.String(), want)
		}
	}
	if strings.Contains(out.String(), "ConnectAttributes never") {
		t.Errorf("a condition seen both ways is listed:\n%s", out.String())
	}
}

// TestCoverageOfRows prints documents of one line indented, and lists those of
// a suite that no case attaches.
func TestCoverageOfRows(t *testing.T) {
	cases, _ := ReadJSONL("f.jsonl", []byte(goodRow+"\n"+strings.Replace(goodRow, `"iot:Publish","resource`, `"iot:Receive","resource`, 1)))
	coverage := &Coverage{}
	r := newRunner()
	r.Explain = true
	if _, err := r.Test(t.Context(), cases[1:], func(r Result) error { coverage.Add(r); return nil }); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := coverage.Report().Write(&out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "f.jsonl:2, policy policies[0]\n") || !strings.Contains(got, "\n     6 -        \"Action\": \"iot:Publish\",\n") {
		t.Errorf("printed\n%s", got)
	}
	text, err := json.Marshal(coverage.Report())
	if err != nil || !strings.Contains(string(text), `"resources":{"reached":0,"of":1}`) {
		t.Errorf("JSON %s, %v", text, err)
	}

	suite := "policies: [site/policies/device.json, site/policies/panel.json]\nattach: panel\ntests: [{client: c, may: connect}]"
	cases, faults := ReadYAML("testdata/f.yaml", []byte(suite))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	coverage = &Coverage{}
	if _, err := r.Test(t.Context(), cases, func(r Result) error { coverage.Add(r); return nil }); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := coverage.Report().Write(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "device.json: no case attaches it\n") || strings.Contains(out.String(), "panel.json: no case") {
		t.Errorf("printed\n%s", out.String())
	}
}

// golden compares with a file, which EBBGATE_UPDATE=1 writes.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("EBBGATE_UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func FuzzOutline(f *testing.F) {
	for _, name := range []string{"device", "line", "panel"} {
		text, err := os.ReadFile("testdata/site/policies/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"Statement":[[],{"Condition":[{}]},{"Condition":{"a":"b","c":{"d":[]}}},7]}`))
	f.Add([]byte(`{"Statement":{"Action":{"a":1},"Resource":null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := readOutline(text)
		if err != nil {
			return
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, s := range o.statements {
			if s.line < 1 || s.line > lines {
				t.Errorf("line %d of %d", s.line, lines)
			}
		}
	})
}
