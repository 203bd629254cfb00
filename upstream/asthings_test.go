package upstream

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// A pattern finds the things and their files; what is said of one thing counts
// more.
func TestThingsAreFoundByTheirCertificates(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pump-7.crt", "pump:8.crt", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := ThingsOptions{Cert: filepath.Join(dir, "*.crt"), Key: filepath.Join(dir, "*", "key.pem")}.Resolve()
	want := []OwnThing{
		{"pump-7", filepath.Join(dir, "pump-7.crt"), filepath.Join(dir, "pump-7", "key.pem")},
		{"pump:8", filepath.Join(dir, "pump:8.crt"), filepath.Join(dir, "pump:8", "key.pem")},
	}
	if !slices.Equal(o.Things, want) || len(o.Validate(TLSOptions{})) != 0 {
		t.Errorf("found %+v (%v), want %+v", o.Things, o.Validate(TLSOptions{}), want)
	}
	if again := o.Resolve(); !slices.Equal(again.Things, want) {
		t.Errorf("once more: %+v", again.Things)
	}
	named := ThingsOptions{Cert: "c/*", Key: "k/*", Things: []OwnThing{{Name: "a"}, {Name: "b", Cert: "b.pem", Key: "b.key"}}}.Resolve()
	if want := []OwnThing{{"a", "c/a", "k/a"}, {"b", "b.pem", "b.key"}}; !slices.Equal(named.Things, want) {
		t.Errorf("named: %+v, want %+v", named.Things, want)
	}
	many := ThingsOptions{Cert: "c/*", Key: "k/*", Things: make([]OwnThing, MaxThings+1)}
	if ps := many.Validate(TLSOptions{}); len(ps) != 1 || ps[0].Path != "things" {
		t.Errorf("%d things: %v", MaxThings+1, ps)
	}
}

// A certificate that cannot be used is told of, and the others are not.
func TestUnusableThingsAreTold(t *testing.T) {
	ca := peers.CA(t)
	good, other := ca.Client("good", peers.Validity{}), ca.Client("other", peers.Validity{})
	got := ThingsOptions{Things: []OwnThing{
		{"good", good.CertFile, good.KeyFile}, {"mixed", good.CertFile, other.KeyFile}, {"missing", "/nowhere.crt", other.KeyFile},
	}}.Unusable()
	if len(got) != 2 || !strings.HasPrefix(got[0], "thing mixed: ") || !strings.HasPrefix(got[1], "thing missing: ") {
		t.Errorf("%q", got)
	}
}
