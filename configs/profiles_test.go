package configs

import (
	"os"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/localbroker"
)

// The marks between which docs/profiles.md has the table of profiles.
const (
	profilesPage = "../docs/profiles.md"
	profilesHead = "<!-- profiles: made by go test ./configs -update -->\n"
	profilesTail = "<!-- end of profiles -->\n"
)

// profileTable is what a listener that says only its profile does, as the
// broker itself says it; bold where it is not as on AWS.
func profileTable() string {
	var b strings.Builder
	b.WriteString("\n| | `aws` | `aws-edge` | `mqtt` |\n|---|---|---|---|\n")
	aws := localbroker.Aspects(localbroker.DefaultListenerOf("aws"))
	edge := localbroker.Aspects(localbroker.DefaultListenerOf("aws-edge"))
	plain := localbroker.Aspects(localbroker.DefaultListenerOf("mqtt"))
	for i, a := range aws {
		b.WriteString("| " + a.Name + " | " + a.Value)
		for _, other := range []localbroker.Aspect{edge[i], plain[i]} {
			value := other.Value
			if other != a {
				value = "**" + value + "**"
			}
			b.WriteString(" | " + value)
		}
		b.WriteString(" |\n")
	}
	return b.String() + "\n"
}

// The page's table of profiles is what the broker says.
func TestProfilesPage(t *testing.T) {
	text, err := os.ReadFile(profilesPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), profilesHead)
	got, after, closed := strings.Cut(rest, profilesTail)
	if !found || !closed {
		t.Fatalf("%s has lost the marks of its table: %q and %q", profilesPage, profilesHead, profilesTail)
	}
	want := profileTable()
	if *update {
		if err := os.WriteFile(profilesPage, []byte(before+profilesHead+want+profilesTail+after), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if got != want {
		t.Errorf("the table of %s is not what the broker says: go test ./configs -update", profilesPage)
	}
}
