package policytest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blocks are the fenced blocks of a page in one language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	return out
}

// TestHowTo runs the example of "Test your AWS IoT policies in CI", and makes
// the mistake that the page makes.
func TestHowTo(t *testing.T) {
	const page = "../../docs/how-to/test-policies-in-ci.md"
	yamls, jsons, consoles := blocks(t, page, "yaml"), blocks(t, page, "json"), blocks(t, page, "console")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("tests/sensors.yaml", yamls[0])
	write("policies/device.json", jsons[0])
	write("cases.jsonl", jsons[1])
	t.Chdir(dir)
	run := func(coverage *Coverage, files ...string) string {
		t.Helper()
		var out bytes.Buffer
		r := newRunner()
		r.Explain = coverage != nil
		text := &Text{W: &out}
		total, _, err := r.Files(t.Context(), files, coverage, text)
		if coverage != nil {
			err = errors.Join(err, coverage.Report().Write(&out))
		}
		if err := errors.Join(err, text.End(total)); err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`\d+\.\d\ds`).ReplaceAllString(out.String(), "TIME")
	}
	// printed checks that all lines of a block are printed, in their order.
	printed := func(block, out string) {
		t.Helper()
		_, block, _ = strings.Cut(block, "\n")
		rest := out
		for line := range strings.Lines(regexp.MustCompile(`\d+\.\d\ds`).ReplaceAllString(block, "TIME")) {
			if line == "…\n" {
				continue
			}
			_, behind, ok := strings.Cut(rest, line)
			if !ok {
				t.Fatalf("the page says\n%s\nbut printed is\n%s", line, out)
			}
			rest = behind
		}
	}
	printed(consoles[0], run(nil, "tests/sensors.yaml"))
	if out := run(nil, "cases.jsonl"); !strings.HasSuffix(out, "\n1 passed, 0 failed\n") {
		t.Errorf("the .jsonl example: %s", out)
	}
	printed(consoles[2], run(&Coverage{}, "tests/sensors.yaml"))
	write("policies/device.json", strings.Replace(jsons[0], "dt/${iot:Connection.Thing.ThingName}/*", "dt/${iot:Connection.Thing.ThingName}/+", 1))
	printed(consoles[1], run(nil, "tests/sensors.yaml"))
}
