package lint

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRegistry judges the documents of testdata/registry in the sets that
// things.yaml makes of them.
func TestRegistry(t *testing.T) {
	report, err := Files([]string{"testdata/registry"}, Options{Things: "testdata/registry/things.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Finding{}
	for _, f := range report.Findings {
		got[strings.TrimSuffix(filepath.Base(f.File), ".json")+" "+f.Rule+"/"+f.Severity.String()[:1]] = f
	}
	for want, why := range map[string]string{
		"named L34/m":       "the certificate of press-1 and press-2 is one",
		"silent L06/m":      "pump-1 has no iot:Receive, and nothing else",
		"silent L32/m":      "pump-1 has no iot:Connect",
		"noSecrets L10/h":   "press-1 escapes the group's Deny as press-2: its client ids are listed, not bound",
		"nobody L32/l":      "attached to nobody, so judged alone",
		"things.yaml L27/l": "crane-1 has 11 policies, the group line 3",
	} {
		if _, ok := got[want]; !ok {
			t.Errorf("%s is not found: %s", want, why)
		}
	}
	for unwanted, why := range map[string]string{
		"heard L06/l": "lamp-1 has the partner", "heard L32/m": "and the way in", "door L32/m": "it is the way in",
	} {
		if f, ok := got[unwanted]; ok {
			t.Errorf("%s is found, though %s: %+v", unwanted, why, f)
		}
	}
	if f := got["silent L32/m"]; !strings.Contains(f.Attached, "pump-1") {
		t.Errorf("it is not said that pump-1 makes the finding: %q", f.Attached)
	}
	lines := map[int]bool{}
	for _, f := range report.Findings {
		if f.Rule == "L27" {
			lines[f.Line] = true
		}
	}
	if len(lines) != 2 || !lines[15] || !lines[21] {
		t.Errorf("L27 is at lines %v, want 15 (crane-1) and 21 (line)", lines)
	}
}

// TestRegistryErrors are registries that cannot be used.
func TestRegistryErrors(t *testing.T) {
	dir := t.TempDir()
	document := strings.Replace(open, "%ID%", "", 1)
	write(t, filepath.Join(dir, "p.json"), document)
	tests := []struct{ name, yaml, want string }{
		{"no YAML", "things: [", ":1:1: not YAML: "},
		{"a second document", "users: {u: {policies: [p]}}\n---\nusers: {}", ":3:1: a second YAML document begins here"},
		{"things as a list", "things: [a]", "things"},
		{"certificates as text", "certificates: x", "certificates"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "things.yaml")
			write(t, file, test.yaml)
			_, err := Files([]string{dir}, Options{Things: file})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v, want one with %q and the file", err, test.want)
			}
		})
	}
	for _, text := range []string{"", "things: {a: }", "groups: {g: {parent: g}, h: }\nthings: {a: {groups: [g, h, none], certificates: [c], policies: [p]}}", "users: {u: {thing: none}}"} {
		file := filepath.Join(t.TempDir(), "things.yaml")
		write(t, file, text)
		if _, err := Files([]string{dir}, Options{Things: file}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	write(t, filepath.Join(t.TempDir(), "p.json"), document)
	if _, err := Files([]string{filepath.Join(dir, "none")}, Options{}); err == nil {
		t.Error("a path that is not there is no error")
	}
	if _, err := Files([]string{t.TempDir()}, Options{}); err == nil || !strings.Contains(err.Error(), "*.json") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Files([]string{dir}, Options{Things: filepath.Join(dir, "none.yaml")}); err == nil {
		t.Error("a registry that is not there is no error")
	}
}

// TestTwins shows that two documents of one name are no guess with a registry.
func TestTwins(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	document := strings.Replace(open, "%ID%", "", 1)
	write(t, filepath.Join(a, "p.json"), document)
	write(t, filepath.Join(b, "p.json"), document)
	things := filepath.Join(a, "things.yaml")
	write(t, things, "users: {u: {policies: [p]}}")
	if _, err := Files([]string{a, b}, Options{Things: things}); err == nil || !strings.Contains(err.Error(), "both policy p") {
		t.Errorf("error %v", err)
	}
	if _, err := Files([]string{a, b}, Options{}); err != nil {
		t.Errorf("without a registry: %v", err)
	}
}

func FuzzRegistry(f *testing.F) {
	f.Add([]byte("things: {a: {certificates: [c], groups: [g]}}\ngroups: {g: {parent: g, policies: [p]}}"))
	f.Add([]byte("users: {u: {policies: [p], thing: t}}\ncertificates: {c: }"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		r, err := parseRegistry("things.yaml", raw)
		if err != nil {
			return
		}
		d, _ := parseDocument(Source{Name: "p", Text: []byte(odd[20])})
		r.sets(map[string]*document{"p": d})
		r.crowded()
	})
}
