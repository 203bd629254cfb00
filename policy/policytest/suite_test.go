package policytest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

// TestSuites runs the files of testdata/site, in which every case passes.
func TestSuites(t *testing.T) {
	files, err := filepath.Glob("testdata/site/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Base(file) == "things.yaml" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			cases, err := ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := newRunner().Test(t.Context(), cases, func(r Result) error {
				if !r.Passed && !r.Skipped {
					t.Errorf("%s\n%s", r.Case.ID, r.Detail())
				}
				return nil
			})
			if err != nil || sum.Passed < 3 {
				t.Errorf("%s, %v", sum, err)
			}
		})
	}
}

// TestSuitesThatAreWrong names the place and the remedy.
func TestSuitesThatAreWrong(t *testing.T) {
	const tests = "\ntests:\n  - {client: c, may: connect}\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":                {"", "f.yaml:1:1: there are no tests; add tests:"},
		"no YAML":              {"a: [", "f.yaml:1:1: not YAML: did not find expected node content; check indentation"},
		"two documents":        {"tests: []\n---\na: b\n", "a second YAML document begins here"},
		"Latin-1":              {"# gr\xfcn\n" + tests, "f.yaml:1:5: the text is not valid UTF-8; save the file as UTF-8"},
		"UTF-16":               {"\xff\xfet\x00", "f.yaml:1:1: the text is UTF-16; save the file as UTF-8"},
		"unknown key":          {"polices: p" + tests, "f.yaml:1:1: polices: the key is not known; possible are policies, things"},
		"key twice":            {"tests: []" + tests, "f.yaml:2:1: tests: it is here twice"},
		"no list":              {"tests: {a: b}", "f.yaml:1:8: tests: a list is needed here"},
		"no policy there":      {"policies: nowhere.json" + tests, "nowhere.json: no such file or directory; name a policy document"},
		"empty folder":         {"policies: empty" + tests, "empty: there is no policy in the folder; put <name>.json"},
		"name twice":           {"policies: [site/policies, site/policies/line.json]" + tests, `there is a policy "line" already, in`},
		"registry, no folder":  {"policies: site/policies/line.json\nthings: site/things.yaml" + tests, "a registry needs a folder of policies"},
		"registry, inline":     {"policies: {a: '{}'}\nthings: site/things.yaml" + tests, "a registry names its policies by the files of one folder"},
		"registry wrong":       {"policies: site/policies\nthings: wrong.yaml" + tests, `wrong.yaml:1:25: things.a.policies[0]: there is no policy "b"`},
		"unknown thing key":    {"things: {a: {typ: b}}" + tests, "f.yaml:1:14: things.a.typ: the key is not known; possible are type, attributes"},
		"thing's policy":       {"things: {a: {policies: b}}" + tests, `things.a.policies: there is no policy "b"; there are none`},
		"attached":             {"things: {a: {attached: 1}}" + tests, "things.a.attached: true or false is needed here"},
		"alias":                {"policies: {a: {b: &x 1, c: *x}}" + tests, "anchors and aliases are not read"},
		"no client":            {"tests: [{may: connect}]", "f.yaml:1:9: tests[0]: there is no client; add client:"},
		"asks nothing":         {"tests: [{client: c}]", "tests[0]: the test asks nothing; add may:"},
		"test is text":         {"tests: [c]", "tests[0]: names with values are needed here"},
		"test is null":         {"tests: [null]", "tests[0]: the test is empty"},
		"phrase":               {"tests: [{client: c, may: fly}]", `tests[0].may: "fly" is nothing that a client does; write connect`},
		"comment":              {"tests:\n  - client: c\n    may: subscribe #\n", `f.yaml:3:10: tests[0].may: "subscribe" names no filter; write subscribe and the filter; one that begins with #`},
		"list of phrases":      {"tests: [{client: c, may: [connect, {a: b}]}]", "tests[0].may[1]: one value is needed here"},
		"expect":               {"tests: [{client: c, ask: connect, expect: maybe}]", `tests[0].expect: "maybe" cannot be expected; write allow`},
		"ask alone":            {"tests: [{client: c, ask: connect}]", "tests[0].ask: there is no expect"},
		"unknown policy":       {"tests: [{client: c, policies: p, may: connect}]", `tests[0].policies: there is no policy "p"`},
		"unknown thing":        {"things: {a: null}\ntests: [{client: c, thing: b, may: connect}]", `tests[0].thing: there is no thing "b"; add it under things`},
		"address":              {"tests: [{client: c, from: here, may: connect}]", `tests[0].from: "here" is no address`},
		"time":                 {"tests: [{client: c, at: noon, may: connect}]", `tests[0].at: "noon" is no time`},
		"protocol":             {"tests: [{client: c, protocol: udp, may: connect}]", `tests[0].protocol: "udp" is no protocol`},
		"will retain":          {"tests: [{client: c, with: {will_retain: true}, may: connect}]", "tests[0].with.will_retain: there is no will"},
		"certificate":          {"tests: [{client: c, certificate: no.pem, may: connect}]", "no.pem: no such file or directory; give its id"},
		"certificate, no PEM":  {"tests: [{client: c, certificate: wrong.yaml, may: connect}]", "there is none in the file; name a PEM file"},
		"not in the registry":  {"policies: site/policies\nthings: site/things.yaml\ntests: [{client: x, may: connect}]", `the registry has no thing "x"; name another thing, the certificate`},
		"certificates, many":   {"policies: site/policies\nthings: site/things.yaml\ntests: [{client: press-2, may: connect}]", "thing press-2 has 2 certificates"},
		"certificate, unknown": {"policies: site/policies\nthings: site/things.yaml\ntests: [{client: c, certificate: " + strings.Repeat("0", 64) + ", may: connect}]", "is not registered: list it at its thing in the registry; correct the test"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, err := range []error{
				os.CopyFS(filepath.Join(dir, "site"), os.DirFS("testdata/site")),
				os.Mkdir(filepath.Join(dir, "empty"), 0o700),
				os.WriteFile(filepath.Join(dir, "wrong.yaml"), []byte("things: {a: {policies: [b]}}\n"), 0o600),
				os.WriteFile(filepath.Join(dir, "f.yaml"), []byte(c.text), 0o600),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			_, err := ReadFile(filepath.Join(dir, "f.yaml"))
			if err == nil {
				t.Fatal("nothing is found wrong")
			}
			said := strings.ReplaceAll(err.Error(), dir+"/", "")
			if !strings.Contains(said, c.want) {
				t.Errorf("said\n\t%s\nwant\n\t%s", said, c.want)
			}
			faults, ok := errors.AsType[policy.Faults](err)
			for _, f := range faults {
				if f.Line < 1 || f.Remedy == "" {
					t.Errorf("fault without place or remedy: %+v", f)
				}
			}
			if !ok {
				t.Errorf("the error is %T", err)
			}
		})
	}
}

// TestFilesThatCannotBeRead are errors of the file, not of its rows.
func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.jsonl")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"no.jsonl": "no.jsonl: no such file or directory; name a file that can be read",
		"no.yaml":  "no.yaml: no such file or directory; name a file",
		"no.txt":   "no.txt: a file of tests ends in .jsonl or .yaml; rename it",
		empty:      "there is no case in it; write some",
	} {
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	folder := filepath.Join(dir, "d.jsonl")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(folder); err == nil || !strings.Contains(err.Error(), "it is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

// nothing is a disk without files.
type nothing struct{}

func (nothing) ReadFile(string) ([]byte, error)             { return nil, os.ErrNotExist }
func (nothing) ReadDir(string) ([]os.DirEntry, error)       { return nil, os.ErrNotExist }
func (nothing) Load(policy.Options) (*policy.Engine, error) { return nil, os.ErrNotExist }

func FuzzYAML(f *testing.F) {
	// Short ones: what the fuzzer finds from a long one takes it minutes to shorten.
	for _, text := range []string{
		"policies: policies\nthings: things.yaml\ntests:\n  - {client: c, user: u, may: connect}\n",
		"policies:\n  p: |\n    {}\n  q: a.json\n  r: {Version: 2012-10-17}\nattach: p\ntests: [{client: c, expect: deny, ask: connect}]\n",
		"things: {t: {attached: no, certificate: {subject: {CommonName: [n]}}}}\ntests: [{client: t, from: 10.0.0.1, may not: publish retained a}]\n",
	} {
		f.Add([]byte(text))
	}
	f.Add([]byte("policies: {a: {b: [1, 0x7, .inf, null, ~, yes]}}\nthings: {t: null}\ntests: [{client: t, may: [connect, publish x]}]"))
	f.Add([]byte("policies: &a [*a]\ntests: *a"))
	f.Add([]byte("tests:\n- ? [a]\n  : b\n- <<: {client: c}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cases, faults := readYAML(nothing{}, "f.yaml", text)
		for _, x := range faults {
			if x.Line < 1 || x.Remedy == "" || strings.Contains(x.Error(), "\n") {
				t.Errorf("fault %+v", x)
			}
		}
		if len(cases)+len(faults) == 0 && len(text) == 0 {
			t.Error("nothing is said of an empty file")
		}
		for _, c := range cases {
			if len(c.Questions) == 0 || c.Want == "" || c.Line < 1 {
				t.Errorf("case %+v", c)
			}
		}
	})
}
