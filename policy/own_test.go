package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestOwnRulesAtTheDesk asks engine and desk the same, under rules that look at
// all that they are told: what the gateway denies the desk denies, for the same
// reason.
func TestOwnRulesAtTheDesk(t *testing.T) {
	dir := t.TempDir()
	folder, things := filepath.Join(dir, "policies"), filepath.Join(dir, "things.yaml")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		filepath.Join(folder, "device.json"): `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "NotResource": "arn:aws:iot:*:*:topic/never"}}`,
		filepath.Join(folder, "own.rego"): `package ebbgate.site

deny contains json.marshal(json.remove(input, ["principal/certificate"])) if {
	not endswith(input.name, "free")
}
`,
		things: `things: {t1: {type: press, attributes: {line: a}, groups: [g], certificates: [` + someID + `], policies: [device]}}
groups: {g: {}}
users: {u: {policies: [device]}}
`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Load(Options{Policies: folder, Things: things})
	if err != nil {
		t.Fatal(err)
	}
	own, err := ReadOwnRules(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	desk := newDesk(t, Options{}).Under(own)
	plain, err := desk.Plain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "device.json"))
	if err != nil {
		t.Fatal(err)
	}
	docs := []Document{{Name: "device", Text: text}}
	will := "w"
	for _, c := range []struct {
		who     Who
		request bridge.Request
		ask     Question
	}{
		{Who{ClientID: "t1"}, bridge.Request{Action: bridge.ActionPublish, Name: "a"}, Question{Action: "iot:Publish", Resource: "topic/a"}},
		{Who{ClientID: "t1"}, bridge.Request{Action: bridge.ActionPublish, Name: "a/free"}, Question{Action: "iot:Publish", Resource: "topic/a/free"}},
		{Who{ClientID: "t1"}, bridge.Request{Action: bridge.ActionPublish, Name: "never"}, Question{Action: "iot:Publish", Resource: "topic/never"}},
		{Who{ClientID: "other", Thing: "t1"}, bridge.Request{Action: bridge.ActionSubscribe, Name: "a/#"}, Question{Action: "iot:Subscribe", Resource: "topicfilter/a/#"}},
		{Who{ClientID: "t1"}, bridge.Request{Action: bridge.ActionReceive, Name: "a", Share: "s"}, Question{Action: "iot:Receive", Resource: "topic/a", Share: "s"}},
		{Who{ClientID: "c", User: "u"}, bridge.Request{Action: bridge.ActionConnect, Name: "c", Persistent: true, Will: true, WillTopic: will}, Question{Action: "iot:Connect", Resource: "client/c", ConnectAttributes: []string{"PersistentConnect", "LastWill"}, LastWillTopic: &will}},
	} {
		standing, err := e.Standing(c.who)
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.current.Load().principal(c.who)
		if err != nil {
			t.Fatal(err)
		}
		g, err := e.Grants(&p)
		if err != nil {
			t.Fatal(err)
		}
		want := g.Decide(c.request)
		answer, err := desk.Ask(t.Context(), docs, standing.Context, c.ask)
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := desk.Compiled(t.Context(), docs, standing.Context, c.ask)
		if err != nil {
			t.Fatal(err)
		}
		quick, err := plain.Compiled(t.Context(), docs, standing.Context, c.ask)
		if err != nil {
			t.Fatal(err)
		}
		outcome, err := plain.Outcome(t.Context(), docs, standing.Context, c.ask)
		if err != nil {
			t.Fatal(err)
		}
		if v := verdictOf(want); outcomes[v.outcome] != answer.Outcome || outcome != answer.Outcome {
			t.Errorf("%+v: the gateway says %+v, the desk %s and %s", c.ask, want, answer.Outcome, outcome)
		}
		for _, d := range []bridge.Decision{compiled, quick} {
			if d.Allowed != want.Allowed || d.Explicit != want.Explicit || d.Policy != want.Policy {
				t.Errorf("%+v: the gateway says %+v, the desk's matchers %+v", c.ask, want, d)
			}
		}
		explained, err := e.Explain(t.Context(), &p, c.request)
		if err != nil {
			t.Fatal(err)
		}
		// The reason is all that the rules were told, but for the certificate, of
		// which a registry has the id alone.
		if !slices.Equal(answer.Site, explained.Site) || len(answer.Site) > 0 != (want.Policy == SitePolicy) {
			t.Errorf("%+v: the gateway's reasons are\n%s\nthe desk's\n%s", c.ask, explained.Site, answer.Site)
		}
	}
}

func TestOwnRulesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	wrong := filepath.Join(dir, "wrong.rego")
	if err := os.WriteFile(wrong, []byte("package other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.rego"): "none.rego: no such file or directory; name a file of Rego",
		wrong:                           "the package is data.other",
		dir:                             "the package is data.other",
	} {
		if own, err := ReadOwnRules(t.Context(), path); own != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if own, err := ReadOwnRules(t.Context(), t.TempDir()); own != nil || err != nil {
		t.Errorf("an empty folder: %v %v", own, err)
	}
}
