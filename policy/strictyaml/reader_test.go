package strictyaml

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// collect is a reader with what it reports, a fault a line.
func collect() (*Reader, *[]string) {
	var out []string
	return &Reader{Report: func(line, column int, where, text, remedy string) {
		out = append(out, fmt.Sprintf("%d:%d: %s: %s; %s", line, column, where, text, remedy))
	}}, &out
}

// TestDocument has what is no one document of YAML in UTF-8.
func TestDocument(t *testing.T) {
	utf16 := func(text string) string {
		out := "\xff\xfe"
		for _, c := range []byte(text) {
			out += string([]byte{c, 0})
		}
		return out
	}
	for name, c := range map[string]struct{ text, want string }{
		"broken":             {"a:\n  b: [", "2:1: : not YAML: did not find expected node content; check indentation"},
		"second document":    {"a: 1\n---\na: 2\n", "3:1: : a second YAML document begins here; write one document"},
		"an empty second":    {"a: 1\n---\n", "3:1: : a second YAML document begins here"},
		"second is broken":   {"a: 1\n---\na: [\n", "not YAML: "},
		"Latin-1":            {"a: 1\n# gr\xfcn\n", "2:5: : the text is not valid UTF-8; save the file as UTF-8"},
		"Latin-1, last line": {"a: \u00e9\xff", "1:5: : the text is not valid UTF-8"},
		"UTF-16":             {utf16("a: 1\n"), "1:1: : the text is UTF-16; save the file as UTF-8"},
		"deep":               {strings.Repeat("[", 100_000), "1:1: : not YAML: "},
	} {
		t.Run(name, func(t *testing.T) {
			r, faults := collect()
			if n := r.Document([]byte(c.text)); n != nil || len(*faults) != 1 {
				t.Fatalf("read as %v with %q", n, *faults)
			}
			if !strings.Contains((*faults)[0], c.want) {
				t.Errorf("says %s", (*faults)[0])
			}
		})
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "\ufeffa: 1\n", "a: 1\n...\n", "---\na: 1\n"} {
		r, faults := collect()
		r.Document([]byte(text))
		if len(*faults) > 0 {
			t.Errorf("%q: %s", text, *faults)
		}
	}
}

// TestValues reads each kind of value from what is none.
func TestValues(t *testing.T) {
	read := func(r *Reader, n *yaml.Node) string {
		f := r.Record(n, "", "text", "texts", "set", "flag", "values", "lists", "off")
		var texts, set []string
		for _, e := range r.Texts(f["texts"], "texts") {
			texts = append(texts, e.Text)
		}
		for _, e := range r.Set(f["set"], "set") {
			set = append(set, e.Text)
		}
		return fmt.Sprint(r.Text(f["text"], "text"), texts, set, r.Flag(f["flag"], "flag", true), r.Flag(f["off"], "off", false),
			r.Values(f["values"], "values"), r.Lists(f["lists"], "lists"))
	}
	for text, want := range map[string]string{
		"":           "[] [] true false map[] map[]",
		"text: 007":  "007[] [] true false map[] map[]",
		"texts: a":   "[a] [] true false map[] map[]",
		"texts: ":    "[] [] true false map[] map[]",
		"flag: True": "[] [] true false map[] map[]",
		"{set: [a, 1.0], off: false, flag: false}": "[] [a 1.0] false false map[] map[]",
		"{values: {a: 010}, lists: {b: [c, d]}}":   "[] [] true false map[a:010] map[b:[c d]]",
	} {
		r, faults := collect()
		if got := read(r, r.Document([]byte(text))); got != want || len(*faults) > 0 {
			t.Errorf("%q is %s %q, want %s", text, got, *faults, want)
		}
	}
	for text, want := range map[string]string{
		"[a]":                     "1:1: : names with values are needed here",
		"nope: 1":                 "1:1: nope: the key is not known; possible are text, texts",
		"text: a\ntext: b":        "2:1: text: it is here twice",
		"text: [a]":               "1:7: text: one value is needed here",
		"text: ~":                 "1:7: text: one value is needed here",
		"texts: {a: b}":           "1:8: texts: a text or a list of texts is needed here",
		"texts: [a, [b]]":         "1:12: texts[1]: one value is needed here",
		"set: a":                  "1:6: set: a list is needed here",
		"set: [a, a]":             `1:10: set[1]: "a" is in the list twice`,
		"flag: \"true\"":          "1:7: flag: true or false is needed here",
		"off: yes":                "1:6: off: true or false is needed here",
		"values: {<<: {a: b}}":    "this is no name",
		"{text: &a b, texts: *a}": "a text or a list of texts is needed here",
	} {
		r, faults := collect()
		read(r, r.Document([]byte(text)))
		if len(*faults) != 1 || !strings.Contains((*faults)[0], want) {
			t.Errorf("%q: %q, want %s", text, *faults, want)
		}
	}
}

func FuzzDocument(f *testing.F) {
	for _, text := range []string{"a: {b: [c]}", "a: 1\n---\nb: 2", "\xff", "a: &x [*x]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, faults := collect()
		n := r.Document(text)
		if n != nil && len(*faults) > 0 {
			t.Fatalf("a document and faults: %q", *faults)
		}
		r.Lists(n, "a")
		r.Set(n, "a")
		if slices.ContainsFunc(*faults, func(s string) bool { return strings.HasPrefix(s, "0:") }) {
			t.Fatalf("a fault without a line: %q", *faults)
		}
	})
}
