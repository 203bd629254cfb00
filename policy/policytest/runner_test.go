package policytest

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/policy"
)

// TestCorpus runs the given cases: none fails, and of those that AWS leaves
// open the deciding switch is named.
func TestCorpus(t *testing.T) {
	var out bytes.Buffer
	total, broken, err := (&Runner{Name: true, first: rules}).Files(t.Context(), []string{"../testdata/policy.jsonl", "../testdata/policy_uncertain.jsonl"}, nil, &Text{W: &out, Verbose: true})
	if err != nil || broken > 0 {
		t.Fatal(broken, err)
	}
	if total.Failed > 0 || total.Passed < 311 || total.Uncertain < 29 {
		t.Errorf("%s, %d uncertain\n%s", total, total.Uncertain, out.String())
	}
	for id, want := range map[string]string{
		"attr-100": "--switch connect_attributes_default=none makes it implicit_deny",
		"pub-008":  "--switch exclusive_thing=",
		"arn-012":  "--switch colon_wildcard=within",
		"arn-024":  "no switch makes a difference",
	} {
		_, behind, _ := strings.Cut(out.String(), "--- PASS: "+id+" ")
		_, note, _ := strings.Cut(behind, "\n")
		note, _, _ = strings.Cut(note, "\n")
		if !strings.Contains(note, want) {
			t.Errorf("%s: %q, want %q", id, note, want)
		}
	}
}

// TestOrder reports results in the order of the cases, whoever is first.
func TestOrder(t *testing.T) {
	cases, err := ReadFile("../testdata/policy.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	cases = cases[:60]
	i := 0
	_, err = (&Runner{Workers: 7, first: rules}).Test(t.Context(), cases, func(r Result) error {
		if r.Case != cases[i] {
			t.Errorf("result %d is of %s", i, r.Case.ID)
		}
		i++
		return nil
	})
	if err != nil || i != len(cases) {
		t.Errorf("%d results of %d: %v", i, len(cases), err)
	}
}

// liar is a desk whose speeds differ.
type liar struct{ err error }

func (liar) Outcome(context.Context, []policy.Document, policy.Context, policy.Question) (string, error) {
	return policy.Allowed, nil
}

func (liar) Ask(context.Context, []policy.Document, policy.Context, policy.Question) (policy.Answer, error) {
	return policy.Answer{Outcome: policy.Allowed}, nil
}

func (l liar) Compiled(context.Context, []policy.Document, policy.Context, policy.Question) (bridge.Decision, error) {
	return bridge.Decision{Explicit: true, Reason: "because"}, l.err
}

// TestSpeedsThatDiffer fails a case whose outcome is the expected one when the
// compiled matchers say something else (deliver 2).
func TestSpeedsThatDiffer(t *testing.T) {
	for _, c := range []struct {
		desk liar
		want string
	}{
		{liar{}, "the rules in Rego say allow, the compiled matchers say explicit_deny (because)"},
		{liar{errors.New("burst")}, "the compiled matchers fail where the rules answer allow: burst"},
	} {
		r := &Runner{open: func(deskKey) (asker, error) { return c.desk, nil }}
		cases, _ := ReadJSONL("f.jsonl", []byte(goodRow))
		sum, err := r.Test(t.Context(), cases, func(r Result) error {
			if r.Passed || !strings.Contains(r.Detail(), c.want) {
				t.Errorf("said %s", r.Detail())
			}
			return nil
		})
		if err != nil || sum.Failed != 1 {
			t.Error(sum, err)
		}
	}
}

// TestStopping ends with the context's error and with a reporter's.
func TestStopping(t *testing.T) {
	cases, _ := ReadJSONL("f.jsonl", []byte(strings.Repeat(goodRow+"\n", 100)))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := newRunner().Test(ctx, cases, func(Result) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	full := errors.New("the disk is full")
	if _, err := newRunner().Test(t.Context(), cases, func(Result) error { return full }); !errors.Is(err, full) {
		t.Errorf("reporter: %v", err)
	}
}

func TestSwitchesOfACase(t *testing.T) {
	row := func(switches string) string {
		return strings.Replace(strings.Replace(goodRow, `"iot:Publish","resource":"topic/a"`, `"iot:Connect","resource":"client/c","connect_attributes":["PersistentConnect"]`, 1), `"iot:Publish","Res`, `"iot:Connect","Res`, 1)[:0] +
			strings.NewReplacer(`"iot:Publish"`, `"iot:Connect"`, `"topic/a"`, `"client/c","connect_attributes":["PersistentConnect"]`, `"expect"`, `"switches":`+switches+`,"expect"`).Replace(goodRow)
	}
	for switches, want := range map[string]string{
		`{}`:                                    "",
		`{"connect_attributes_default":"none"}`: "expected allow, got implicit_deny",
		`{"connect_attributes_default":"nil"}`:  "is not \"nil\"; possible are all, none",
		`{"weather":"good"}`:                    "there is no switch \"weather\"",
	} {
		cases, faults := ReadJSONL("f.jsonl", []byte(row(switches)))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		_, err := newRunner().Test(t.Context(), cases, func(r Result) error {
			if r.Passed != (want == "") || !strings.Contains(r.Detail(), want) {
				t.Errorf("%s: %s", switches, r.Detail())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// mixed has one case of each end.
func mixed(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mixed.jsonl")
	rows := []string{
		strings.Replace(goodRow, `"id":"a"`, `"id":"passes"`, 1),
		strings.NewReplacer(`"id":"a"`, `"id":"fails","why":"<&\u0007"`, `"allow"`, `"implicit_deny"`).Replace(goodRow),
		strings.NewReplacer(`"id":"a"`, `"id":"waits","skip":"one day"`).Replace(goodRow),
		strings.NewReplacer(`"id":"a"`, `"id":"invalid"`, `"Effect":"Allow",`, ``).Replace(goodRow),
		"{",
	}
	if err := os.WriteFile(path, []byte(strings.Join(rows, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestText prints like go test; the last line is exactly "N passed, M failed".
func TestText(t *testing.T) {
	path := mixed(t)
	for _, c := range []struct {
		verbose bool
		want    string
	}{
		{false, `--- FAIL: mixed.jsonl:5 (this is no case)
    mixed.jsonl:5:1: not JSON: unexpected end of JSON input; write one whole JSON object a line
--- FAIL: fails (<&` + "\uFFFD" + `)
    mixed.jsonl:2: expected implicit_deny, got allow
    ALLOWED iot:Publish on topic/a: by Statement[0] of policy policies[0]
      by client "c", no thing

    Statement[0] of policy policies[0], mixed.jsonl:2, line 1 of the document
      action     yes  iot:Publish
      resource   yes  *
--- FAIL: invalid
    mixed.jsonl:4: expected allow, got invalid_policy
    mixed.jsonl:4, policies[0]:1:38: Statement[0]: there is no Effect; add "Effect": "Allow" or "Deny"
FAIL	mixed.jsonl	0.00s
1 skipped
1 passed, 3 failed
`},
		{true, `--- FAIL: mixed.jsonl:5 (this is no case)
    mixed.jsonl:5:1: not JSON: unexpected end of JSON input; write one whole JSON object a line
--- PASS: passes (0.00s)
`},
	} {
		var out bytes.Buffer
		text := &Text{W: &out, Verbose: c.verbose}
		total, broken, err := newRunner().Files(t.Context(), []string{path}, nil, text)
		if err := errors.Join(err, text.End(total)); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(out.String(), path, "mixed.jsonl")
		got = regexp.MustCompile(`\d+\.\d\ds`).ReplaceAllString(got, "0.00s")
		if !strings.HasPrefix(got, c.want) || broken != 1 {
			t.Errorf("%d broken, printed\n%s\nwant\n%s", broken, got, c.want)
		}
		if !strings.HasSuffix(got, "\n1 passed, 3 failed\n") {
			t.Errorf("the last line is not the totals:\n%s", got)
		}
		if c.verbose && !strings.Contains(got, "--- SKIP: waits\n    mixed.jsonl:3: one day\n") {
			t.Errorf("nothing of the skipped case:\n%s", got)
		}
	}
}

// TestEvents prints one JSON object a line, the totals last.
func TestEvents(t *testing.T) {
	var out bytes.Buffer
	events := &Events{W: &out}
	total, _, err := newRunner().Files(t.Context(), []string{mixed(t)}, nil, events)
	if err := errors.Join(err, events.End(total)); err != nil {
		t.Fatal(err)
	}
	var actions []string
	var last Event
	for line := range strings.Lines(out.String()) {
		last = Event{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(err)
		}
		actions = append(actions, last.Action+" "+last.ID)
	}
	if got := fmt.Sprint(actions); got != "[broken  pass passes fail fails skip waits fail invalid file  end ]" {
		t.Errorf("events %s", got)
	}
	if *last.Passed != 1 || *last.Failed != 3 || *last.Skipped != 1 || last.Output != "1 passed, 3 failed" {
		t.Errorf("end %+v", last)
	}
}

// TestJUnit writes XML that parses, whatever is in ids and reasons, with
// counts that fit.
func TestJUnit(t *testing.T) {
	var out bytes.Buffer
	junit := &JUnit{}
	total, _, err := newRunner().Files(t.Context(), []string{mixed(t)}, nil, junit)
	if err := errors.Join(err, junit.Write(&out, total)); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	s := got.Suites[0]
	if got.Tests != 5 || got.Failures != 2 || got.Errors != 1 || got.Skipped != 1 || s.Tests != 5 || len(s.Cases) != 5 {
		t.Errorf("counts %+v", got)
	}
	if f := s.Cases[2].Failure; f == nil || f.Message != "expected implicit_deny, got allow" || !strings.Contains(f.Text, "ALLOWED iot:Publish") {
		t.Errorf("failure %+v", s.Cases[2])
	}
	if s.Cases[0].Error == nil || s.Cases[3].Skipped == nil || s.Cases[2].SystemOut != "<&\uFFFD" {
		t.Errorf("cases %+v", s.Cases)
	}
}
