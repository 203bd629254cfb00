package policy

import (
	"os"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestStage: what is staged decides nothing before it is applied, and what was
// read before the state in force never replaces it.
func TestStage(t *testing.T) {
	const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/NAME"}]}`
	e, g, file := oneDocument(t, allow)
	may := func(name string) bool {
		return g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: name}).Allowed
	}
	stage := func(name string) *Staged {
		t.Helper()
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/` + name + `"}]}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := e.Stage()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := stage("first"), stage("second")
	if !may("NAME") || may("first") || may("second") {
		t.Error("staged, and decides")
	}
	if !second.Apply() || !may("second") || may("NAME") {
		t.Error("applied, and does not decide")
	}
	if first.Apply() || may("first") {
		t.Error("an older state has come into force")
	}
	if second.Apply() {
		t.Error("applied twice")
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := e.Stage(); err == nil || s != nil {
		t.Errorf("a wrong document was staged: %v", err)
	}
	if !may("second") {
		t.Error("a wrong document has changed something")
	}
}

func TestChangeOptions(t *testing.T) {
	if problems := defaultChanges().validate(); len(problems) > 0 {
		t.Errorf("the defaults: %+v", problems)
	}
	for path, o := range map[string]ChangeOptions{
		"policy_change": {Change: "later"},
		"policy_delay":  {Delay: 2 * time.Hour},
		"log_entries":   {Entries: -1},
		"log_sample":    {Sample: -1},
	} {
		problems := o.validate()
		if len(problems) != 1 || problems[0].Path != path || problems[0].Remedy == "" {
			t.Errorf("%s: %+v", path, problems)
		}
	}
}
