package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestAnswersThatAreLost: exit code 1 says denied, failed, found. An answer that
// could not be written is none of these.
func TestAnswersThatAreLost(t *testing.T) {
	dir := t.TempDir()
	document, cases := filepath.Join(dir, "p.json"), filepath.Join(dir, "cases.jsonl")
	const text = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}}`
	row := `{"policies": [` + text + `], "request": {"action": "iot:Publish", "resource": "topic/a"}, "expect": "allow"}`
	for path, text := range map[string]string{document: text, cases: row} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eval := []string{"policy", "eval", "--policy", document, "--client-id", "c", "--action", "iot:Publish", "--resource", "topic/a"}
	for name, args := range map[string][]string{
		"eval":           eval,
		"eval --explain": append(eval[:len(eval):len(eval)], "--explain"),
		"eval --json":    append(eval[:len(eval):len(eval)], "--json"),
		"test":           {"policy", "test", cases},
		"test -v":        {"policy", "test", "-v", cases},
		"test --json":    {"policy", "test", "--json", cases},
		"test coverage":  {"policy", "test", "--coverage", cases},
		"test --schema":  {"policy", "test", "--schema"},
		"lint":           {"policy", "lint", document},
		"lint --json":    {"policy", "lint", "--json", document},
		"lint --sarif":   {"policy", "lint", "--sarif", document},
		"lint --rules":   {"policy", "lint", "--rules"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := execute(args, full{}, &stderr); code != exitInvalid {
				t.Errorf("exit code %d", code)
			}
			if got := stderr.String(); !strings.Contains(got, "ebbgate: the answer could not be written: no space left on device; make room") {
				t.Errorf("says %q", got)
			}
		})
	}
}

// TestLongResources: a resource may have thousands of characters, and a terminal
// has not.
func TestLongResources(t *testing.T) {
	document := filepath.Join(t.TempDir(), "p.json")
	const text = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["iot:Publish", "iot:Subscribe"], "Resource": ["arn:aws:iot:us-east-1:1:topic/${iot:ClientId}/+", "arn:aws:iot:us-east-1:1:topicfilter/x"]}}`
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("long/", 10_000)
	for _, question := range [][]string{{"iot:Publish", "topic/"}, {"iot:Publish", "topic/" + long[:5] + "/"}, {"iot:Subscribe", "topicfilter/$share/g/"}, {"iot:Receive", "topic/"}, {"iot:Publish", "arn:aws:iot:us-east-1:1:topic/"}} {
		var stdout, stderr bytes.Buffer
		code := execute([]string{"policy", "eval", "--policy", document, "--client-id", long, "--thing", "t", "--action", question[0], "--resource", question[1] + long, "--explain"}, &stdout, &stderr)
		if code != exitFailed || stderr.Len() > 0 {
			t.Errorf("exit code %d, %s", code, stderr.String())
		}
		if !strings.Contains(stdout.String(), " bytes)") {
			t.Errorf("does not say how long:\n%s", stdout.String())
		}
		for line := range strings.Lines(stdout.String()) {
			if len(line) > 700 {
				t.Errorf("a line of %d bytes: %.80s", len(line), line)
			}
		}
	}
}
