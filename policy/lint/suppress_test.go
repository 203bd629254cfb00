package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// open is a document with L10 and L17 in Statement[0] and L33 in Statement[2];
// %ID% is its Id element.
const open = `{
  "Version": "2012-10-17",%ID%
  "Statement": [
    {"Sid": "Connect", "Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:us-east-1:123456789012:topic/a"},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:us-east-1:123456789012:topic/a"}
  ]
}
`

func TestInlineSuppressions(t *testing.T) {
	tests := []struct{ name, id, left, suppressed string }{
		{"none", ``, "L10/c L17/l L33/l", ""},
		{"an Id of the user's own", `"Id": "device; version 7",`, "L10/c L17/l L33/l", ""},
		{"the whole document", `"Id": "lint:ignore L10 a lab without devices",`, "L17/l L33/l", "a lab without devices"},
		{"two, one by Sid and one by index", `"Id": "lint:ignore L17@Connect sessions are wanted; lint:ignore L33@2 kept for the audit",`, "L10/c", "sessions are wanted|kept for the audit"},
		{"no reason", `"Id": "lint:ignore L17",`, "L91/h L10/c L17/l L33/l", ""},
		{"no reason behind a Sid", `"Id": "lint:ignore L17@Connect ; x",`, "L91/h L10/c L17/l L33/l", ""},
		{"no rule", `"Id": "lint:ignore",`, "L91/h L10/c L17/l L33/l", ""},
		{"an unknown rule", `"Id": "lint:ignore L77 because",`, "L91/h L10/c L17/l L33/l", ""},
		{"nothing there", `"Id": "lint:ignore L01 a literal filter",`, "L90/m L10/c L17/l L33/l", ""},
		{"the wrong statement", `"Id": "lint:ignore L17@1 sessions",`, "L90/m L10/c L17/l L33/l", ""},
		{"L00 cannot be", `"Id": "lint:ignore L00 it is fine",`, "L91/h L10/c L17/l L33/l", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(open, "%ID%", test.id, 1)
			report, err := Documents([]Source{{Name: "p", File: "p.json", Text: []byte(text)}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, report, test.left, test.suppressed)
			desk := newDesk(t)
			agree(t, desk, []byte(text)) // a suppression keeps the document valid
		})
	}
}

func compare(t *testing.T, r *Report, left, suppressed string) {
	t.Helper()
	want := map[string]bool{}
	for _, id := range strings.Fields(left) {
		want[id] = true
	}
	for _, id := range strings.Fields(ids(r.Findings)) {
		if !want[id] {
			t.Errorf("%s is left", id)
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("%v are missing", want)
	}
	var reasons []string
	for _, f := range r.Suppressed {
		reasons = append(reasons, f.Suppressed)
	}
	if got := strings.Join(reasons, "|"); got != suppressed {
		t.Errorf("suppressed %q, want %q", got, suppressed)
	}
}

func TestSidecar(t *testing.T) {
	tests := []struct{ name, yaml, left, suppressed string }{
		{"by policy, rule and statement", "suppressions:\n- {policy: p, rule: L17, statement: Connect, reason: sessions are wanted}", "L10/c L33/l", "sessions are wanted"},
		{"by index", "suppressions:\n- {policy: p, rule: L33, statement: 2, reason: kept}", "L10/c L17/l", "kept"},
		{"another policy", "suppressions:\n- {policy: q, rule: L17, reason: sessions}", "L90/m L10/c L17/l L33/l", ""},
		{"no reason", "suppressions:\n- {policy: p, rule: L17}", "L91/h L10/c L17/l L33/l", ""},
		{"an empty reason", "suppressions:\n- {policy: p, rule: L17, reason: '  '}", "L91/h L10/c L17/l L33/l", ""},
		{"no policy", "suppressions:\n- {rule: L17, reason: x}", "L91/h L10/c L17/l L33/l", ""},
		{"an unknown key", "suppressions:\n- {policy: p, rules: L17, rule: L17, reason: x}", "L91/h L10/c L17/l L33/l", ""},
		{"no list", "suppressions: 7", "L91/h L10/c L17/l L33/l", ""},
		{"no YAML", "a: [", "L91/h L10/c L17/l L33/l", ""},
		{"an entry that is none", "suppressions: [x]", "L91/h L10/c L17/l L33/l", ""},
		{"empty", "", "L10/c L17/l L33/l", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "p.json"), strings.Replace(open, "%ID%", "", 1))
			write(t, filepath.Join(dir, sidecarName), test.yaml)
			report, err := Files([]string{dir}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, report, test.left, test.suppressed)
			for _, f := range report.Findings {
				if f.Rule >= "L90" && (filepath.Base(f.File) != sidecarName || f.Line < 1) {
					t.Errorf("%s is at %s", f.Rule, f.Where())
				}
			}
		})
	}
}

// TestSidecarOfFile shows that a file alone has the suppressions beside it, and
// that those for its neighbours are not called unused.
func TestSidecarOfFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "p.json"), strings.Replace(open, "%ID%", "", 1))
	write(t, filepath.Join(dir, sidecarName), "suppressions:\n- {policy: q, rule: L17, reason: x}\n- {policy: p, rule: L10, reason: a lab}\n- {policy: p, rule: L02, reason: gone}")
	report, err := Files([]string{filepath.Join(dir, "p.json"), filepath.Join(dir, "p.json")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, report, "L90/m L17/l L33/l", "a lab")
	if report.Documents != 1 {
		t.Errorf("a file that is named twice is judged %d times", report.Documents)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzSidecar(f *testing.F) {
	f.Add([]byte("suppressions:\n- {policy: p, rule: L17, statement: Connect, reason: x}"), "lint:ignore L17@Connect x; y")
	f.Add([]byte("suppressions: [&a {}, *a]"), "lint:ignore L17")
	f.Fuzz(func(t *testing.T, raw []byte, id string) {
		accepted, wrong := (&sidecar{file: ".lint.yaml", raw: raw}).parse()
		for _, x := range accepted {
			if x.reason == "" || x.rule == "" {
				t.Errorf("%+v has no reason", x)
			}
		}
		for _, f := range wrong {
			if f.Rule != unusable.ID {
				t.Errorf("%+v is not L91", f)
			}
		}
		inline(&document{id: &node{kind: 's', text: id}})
	})
}
