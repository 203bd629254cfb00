package policy

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const someID = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// noFiles is a site without certificate files; one of them is someID's.
func noFiles(path string) (string, error) {
	if path == "a.pem" {
		return someID, nil
	}
	return "", errors.New(path + ": no such file or directory")
}

func readRegistry(text string) (*registry, Faults) {
	return parseRegistry("things.yaml", []byte(text), map[string]*document{"p": {}, "q": {}}, noFiles)
}

// TestBadRegistries has one file for every rejection.
func TestBadRegistries(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no YAML":            {"things:\n  a: [", "things.yaml:2:1: not YAML: did not find expected node content"},
		"second document":    {"things: {a: {certificates: [" + someID + "]}}\n---\ncertificates: {" + someID + ": {status: REVOKED}}", "things.yaml:3:1: a second YAML document begins here"}, // its revocation must not be passed over
		"Latin-1":            {"things:\n  a: {type: \"gr\xfcn\"}", "things.yaml:2:16: the text is not valid UTF-8; save the file as UTF-8"},
		"list":               {"[a]", ":1:1: names with values are needed here"},
		"unknown section":    {"thing: {}", "thing: the key is not known; possible are things, groups, certificates, users"},
		"section twice":      {"things: {}\nthings: {}", ":2:1: things: it is here twice"},
		"unknown key":        {"things:\n  a: {typ: x}", ":2:7: things.a.typ: the key is not known; possible are type, attributes, groups, certificates, policies"},
		"thing twice":        {"things:\n  a: {}\n  a: {}", ":3:3: things.a: it is here twice"},
		"thing's name":       {"things: {\"a*\": {}}", `things.a*: "a*" is not possible here`},
		"alias":              {"things:\n  a: &x {}\n  b: *x", "names with values are needed here"},
		"merge":              {"things:\n  a: {<<: {type: x}}", "this is no name"},
		"groups no list":     {"things: {a: {groups: x}}", "things.a.groups: a list is needed here"},
		"entry twice":        {"things: {a: {groups: [x, x]}}\ngroups: {x: {}}", `things.a.groups[1]: "x" is in the list twice`},
		"unknown group":      {"things: {a: {groups: [x]}}", `things.a.groups[0]: there is no group "x"`},
		"unknown parent":     {"groups: {a: {parent: x}}", `groups.a.parent: there is no group "x"`},
		"circle":             {"groups: {a: {parent: b}, b: {parent: a}}", "the group is its own ancestor"},
		"unknown policy":     {"groups: {a: {policies: [x]}}", `there is no policy "x"; put x.json into the policies folder`},
		"unknown thing":      {"users: {u: {thing: x}}", `users.u.thing: there is no thing "x"`},
		"attribute is list":  {"things: {a: {attributes: {x: [1]}}}", "things.a.attributes.x: one value is needed here"},
		"attribute's value":  {"things: {a: {attributes: {x: \"a*\"}}}", `"a*" is not possible here`},
		"policies alone":     {"things: {a: {policies: [p]}}", "a thing's policies are those of its certificates, and it has none"},
		"upper-case id":      {"things: {a: {certificates: [" + strings.ToUpper(someID) + "]}}", "is neither a certificate id nor a file"},
		"no such file":       {"things: {a: {certificates: [b.pem]}}", "b.pem: no such file or directory; name a PEM file"},
		"status":             {"certificates: {" + someID + ": {status: active}}", `"active" is no status; possible are ACTIVE, INACTIVE`},
		"certificate twice":  {"certificates: {" + someID + ": {}, a.pem: {}}", "the certificate is here twice"},
		"exclusive":          {"certificates: {" + someID + ": {exclusive: true}}", "an exclusive certificate belongs to one thing, this one to 0"},
		"exclusive is no":    {"certificates: {" + someID + ": {exclusive: \"yes\"}}", "true or false is needed here"},
		"control characters": {"things: {\"a\\e[31m\": {}}", "is not possible here"},
	} {
		t.Run(name, func(t *testing.T) {
			r, faults := readRegistry(c.text)
			if r != nil || len(faults) == 0 {
				t.Fatal("accepted")
			}
			if text := faults.Error(); !strings.Contains(text, c.want) || strings.ContainsAny(text, "\x1b") {
				t.Errorf("says %s", text)
			}
		})
	}
}

func TestRegistry(t *testing.T) {
	r, faults := readRegistry(`
things:
  t1: {certificates: [a.pem], policies: [p], groups: [line]}
  t2: {certificates: [` + someID + `]}
groups: {line: {parent: plant, policies: [q]}, plant: {policies: [p]}}
certificates: {a.pem: {policies: [q]}}
`)
	if r == nil {
		t.Fatal(faults)
	}
	c := r.certificates[someID]
	if c.status != active || !slices.Equal(c.things, []string{"t1", "t2"}) || !slices.Equal(c.policies, []string{"q", "p"}) {
		t.Errorf("certificate %+v", c)
	}
	if r.thingOf(c, "t1").Name != "t1" || r.thingOf(c, "t3") != nil {
		t.Error("the thing is the one named like the client id")
	}
	if got := r.groupPolicies(r.things["t1"], "t1"); !slices.Equal(got, []string{"q", "p"}) {
		t.Errorf("group policies %v", got)
	}
	if got := r.groupPolicies(r.things["t1"], "t2"); got != nil {
		t.Errorf("group policies %v under another client id", got)
	}
}

func TestEmptyRegistry(t *testing.T) {
	for _, text := range []string{"", "# nothing yet\n", "things:\ngroups:\n"} {
		if r, faults := readRegistry(text); r == nil {
			t.Errorf("%q: %v", text, faults)
		}
	}
}

// TestExampleRegistry keeps the annotated example right.
func TestExampleRegistry(t *testing.T) {
	s := loadExample(t).current.Load()
	if names := slices.Sorted(maps.Keys(s.registry.things)); !slices.Equal(names, []string{"press-1", "press-2"}) {
		t.Error(names)
	}
	if got := s.registry.things["press-1"].Attributes; !maps.Equal(got, map[string]string{"line": "a", "fw": "1.4"}) {
		t.Error(got)
	}
}

func TestFilesThatAreNoDocuments(t *testing.T) {
	for name, want := range map[string]string{
		"a.JSON":   "this is not a policy document",
		"a.yaml":   "this is not a policy document",
		"a b.json": "the name is not one of a policy",
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, faults := loadDocuments(folder, gateway{}); len(faults) != 1 || !strings.Contains(faults.Error(), want) {
			t.Errorf("%s: %v", name, faults)
		}
	}
	if _, _, faults := loadDocuments("testdata/none", gateway{}); !strings.Contains(faults.Error(), "no such file or directory; create the folder") {
		t.Error(faults)
	}
}

func FuzzParseRegistry(f *testing.F) {
	text, err := os.ReadFile("testdata/site/things.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("groups: {a: {parent: b}, b: {parent: c}, c: {parent: b}}"))
	f.Add([]byte("things: {a: &b {groups: [*b]}}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, faults := parseRegistry("things.yaml", raw, map[string]*document{"device": {}}, noFiles)
		if (r == nil) == (len(faults) == 0) {
			t.Fatal("neither a registry nor a fault, or both")
		}
		if r == nil {
			return
		}
		for name, thing := range r.things {
			r.groupPolicies(thing, name)
		}
		for _, c := range r.certificates {
			r.thingOf(c, "press-1")
		}
	})
}
