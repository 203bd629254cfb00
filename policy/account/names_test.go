package account

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ebbgate/ebbgate/policy"
)

func TestNamesHere(t *testing.T) {
	long := strings.Repeat("a", 127)
	got := namesHere([]string{"device", "Line", "line", ".hidden", "..", "con", "AUX.x", "a+b=c,d.e@f-g_h", long + "X", long + "x", "-rf"})
	for name, want := range map[string]string{"device": "device", "a+b=c,d.e@f-g_h": "a+b=c,d.e@f-g_h", "-rf": "-rf"} {
		if got[name] != want {
			t.Errorf("%q is %q", name, got[name])
		}
	}
	for name, want := range map[string]string{"Line": `^_Line@[0-9a-f]{8}$`, "line": `^_line@[0-9a-f]{8}$`, ".hidden": `^_\.hidden@[0-9a-f]{8}$`, "..": `^_\.\.@`, "con": "^_con@", "AUX.x": `^_AUX\.x@`, long + "x": "^_a{118}@[0-9a-f]{8}$"} {
		if !regexp.MustCompile(want).MatchString(got[name]) {
			t.Errorf("%q is %q", name, got[name])
		}
	}
	if again := namesHere([]string{"line", "LINE", "z"}); again["line"] != got["line"] {
		t.Error("a name depends on what else there is")
	}
	// Somebody has a policy of the very name that another would get.
	taken := namesHere([]string{"con", got["con"]})
	if taken["con"] == taken[got["con"]] || taken[got["con"]] != got["con"] {
		t.Error(taken)
	}
}

// TestNamesHereAlways draws names as AWS allows them: each gets one that a
// policy may have, that no file system confuses with another's, and that the
// loader does not pass over.
func TestNamesHereAlways(t *testing.T) {
	form := regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	name := rapid.OneOf(rapid.StringMatching(`[aAbB.@_]{1,3}`), rapid.StringMatching(`[\w+=,.@-]{1,128}`), rapid.SampledFrom(reserved))
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "names")
		seen := map[string]bool{}
		for from, to := range namesHere(names) {
			if !form.MatchString(to) || !bearable(to) || seen[strings.ToLower(to)] {
				t.Fatalf("%q is %q", from, to)
			}
			seen[strings.ToLower(to)] = true
		}
		if len(seen) != len(names) {
			t.Fatal("one is missing")
		}
	})
}

// TestHostileNames pulls policies whose names are no good as files.
func TestHostileNames(t *testing.T) {
	c := plant(t)
	c.policies["Device"] = &cloudPolicy{versions: []string{denySome}, targets: c.policies["device"].targets}
	c.policies[".hidden"] = &cloudPolicy{versions: []string{denySome}, targets: []string{arnRoot + "thinggroup/plant"}}
	dir := t.TempDir()
	r := mustPull(t, c.open(t, Options{}), PullOptions{Out: dir})
	here := namesHere([]string{"device", "Device", ".hidden"})
	files := tree(t, dir)
	mustContain(t, files["things.yaml"], here["device"], here["Device"], "plant: {policies: ["+here[".hidden"]+", no-secrets]}")
	if files["policies/"+here["device"]+".json"] != byThing || files["policies/"+here["Device"]+".json"] != denySome {
		t.Error("documents are confused")
	}
	if len(r.Notes) < 3 || !strings.Contains(r.Notes[len(r.Notes)-1].Subject+r.Notes[0].Subject+files["account.json"], here[".hidden"]) {
		t.Error("the new names are not reported")
	}
	e, err := policy.Load(policy.Options{Things: filepath.Join(dir, "things.yaml"), Policies: filepath.Join(dir, "policies")})
	if err != nil || e.Policies() != 4 || !e.HasPolicy(here[".hidden"]) {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "policies")); len(entries) != 4 {
		t.Error(entries)
	}
}
