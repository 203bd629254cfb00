package policy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestHostileDocuments: what is too long, too deep, too much or no text is
// refused, with few faults and little memory (policy §11, §13).
func TestHostileDocuments(t *testing.T) {
	statement := `{"Effect":"Allow","Action":"iot:Publish","Resource":"*"}`
	list := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	for name, text := range map[string]string{
		"2 MB":                  `{"Version":"2012-10-17","Statement":[` + list(40_000, statement) + `]}`,
		"2 MB of white space":   strings.Repeat(" ", 2<<20) + `{}`,
		"2 MB of one string":    `"` + strings.Repeat("a", 2<<20) + `"`,
		"depth bomb":            strings.Repeat("[", 100_000),
		"depth bomb, closed":    strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"objects all the way":   strings.Repeat(`{"a":`, 9_000) + "1" + strings.Repeat("}", 9_000),
		"invalid UTF-8":         `{"Version":"2012-10-17","Statement":"` + "\xff\xfe" + `"}`,
		"half a surrogate":      `{"Version":"2012-10-17","Statement":"\ud800"}`,
		"10,000 statements":     `{"Version":"2012-10-17","Statement":[` + list(10_000, `{"Effect":"Allow"}`) + `]}`,
		"10,000 empty ones":     `{"Version":"2012-10-17","Statement":[` + list(10_000, `{}`) + `]}`,
		"10,000 duplicate keys": `{` + list(10_000, `"Version":"2012-10-17"`) + `}`,
		"10,000 Sids":           `{"Statement":[` + list(3_000, `{"Sid":"a"}`) + `]}`,
		"10,000 actions":        `{"Statement":[{"Effect":"Allow","Resource":"*","Action":[` + list(10_000, `"x"`) + `]}]}`,
		"a number":              `{"Version":` + strings.Repeat("9", 200_000) + `}`,
		"NUL":                   "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d, faults := parseDocument("p", "p.json", []byte(text), corpusGateway)
			runtime.ReadMemStats(&after)
			if d != nil || len(faults) == 0 {
				t.Fatal("taken")
			}
			if len(faults) > 100 {
				t.Errorf("%d faults", len(faults))
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
				t.Errorf("%d MB for %d KB", used>>20, len(text)>>10)
			}
			for _, f := range faults {
				if len(f.Error()) > 2000 {
					t.Errorf("a fault of %d bytes", len(f.Error()))
				}
			}
		})
	}
}

// A file is not read beyond its limit.
func TestHostileFiles(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"big.json", "big.rego"} {
		if err := os.WriteFile(filepath.Join(folder, name), bytes.Repeat([]byte(" "), 2<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(Options{Policies: folder})
	for _, name := range []string{"big.json", "big.rego"} {
		want := filepath.Join(folder, name) + ": the file has more than " + fmt.Sprint(maxFile) + " bytes"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

// TestHostileNames: long names against patterns full of wildcards cost no more
// than length times length, and nothing is allocated.
func TestHostileNames(t *testing.T) {
	pattern := "arn:aws:iot:us-east-1:123456789012:topic/" + strings.Repeat("*a?", 100) + "b"
	p, err := newProgram(corpusGateway, []*document{mustParse(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Publish","Resource":"`+pattern+`"}}`)}, held{})
	if err != nil {
		t.Fatal(err)
	}
	r := &request{action: "iot:Publish", kind: "topic/", name: strings.Repeat("a", 65_535)}
	rule := p.lookup(r).allow[0]
	names := []string{r.name}
	if n := testing.AllocsPerRun(10, func() {
		if rule.applies(r, names, p.gateway) {
			t.Fatal("allowed")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func mustParse(t testing.TB, text string) *document {
	t.Helper()
	d, faults := parseDocument("p", "p.json", []byte(text), corpusGateway)
	if d == nil {
		t.Fatal(faults)
	}
	return d
}
