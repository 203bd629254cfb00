package policy

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

func loadExample(t testing.TB) *Engine {
	t.Helper()
	e, err := Load(Options{Things: "testdata/site/things.yaml", Policies: "testdata/site/policies"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// site is a copy of the example that a test may change.
type site struct {
	*Engine
	folder string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{folder: t.TempDir()}
	if err := os.CopyFS(s.folder, os.DirFS("testdata/site")); err != nil {
		t.Fatal(err)
	}
	var err error
	s.Engine, err = Load(Options{Things: filepath.Join(s.folder, "things.yaml"), Policies: filepath.Join(s.folder, "policies")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) replace(t *testing.T, file, old, with string) {
	t.Helper()
	path := filepath.Join(s.folder, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", file, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), old, with)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *site) grants(t *testing.T, p bridge.Principal) bridge.Grants {
	t.Helper()
	p.Protocol = 5
	g, err := s.Grants(&p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func publish(topic string) bridge.Request {
	return bridge.Request{Action: bridge.ActionPublish, Name: topic}
}

func TestDecisions(t *testing.T) {
	s := newSite(t)
	g := s.grants(t, s.press1(t, "press-1"))
	for name, c := range map[string]struct {
		request bridge.Request
		allowed bool
		reason  string
	}{
		"connect":          {bridge.Request{Action: bridge.ActionConnect, Name: "press-1"}, true, "allowed by Statement[0] of policy device, line 4"},
		"other client id":  {bridge.Request{Action: bridge.ActionConnect, Name: "press-2"}, false, "denied: no statement of policy device, line, no-secrets allows iot:Connect on client/press-2"},
		"own topic":        {publish("dt/press-1/t"), true, "allowed by Statement[1] of policy device"},
		"other's topic":    {publish("dt/press-2/t"), false, "denied: no statement"},
		"explicit":         {publish("dt/press-1/bar"), false, "denied by Statement[2] (NoBar) of policy device, line 15"},
		"not retained":     {bridge.Request{Action: bridge.ActionRetainPublish, Name: "dt/press-1/t"}, false, "denied: no statement"},
		"attribute":        {bridge.Request{Action: bridge.ActionSubscribe, Name: "line/a/#"}, true, "allowed by Statement[0] of policy line"},
		"group's ancestor": {bridge.Request{Action: bridge.ActionReceive, Name: "secret/x"}, false, "denied by Statement[0] of policy no-secrets"},
		"unknown action":   {bridge.Request{Action: "iot:PublishRetain", Name: "dt/press-1/t"}, false, "iot:PublishRetain is no action of a policy"},
		"not UTF-8":        {publish("dt/press-1/\xff"), false, "the name is not valid UTF-8"},
	} {
		d := g.Decide(c.request)
		if d.Allowed != c.allowed || !strings.Contains(d.Reason, c.reason) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	d := g.Decide(publish("dt/press-1/bar"))
	if !d.Explicit || d.Policy != "device" || d.Index != 2 {
		t.Errorf("%+v", d)
	}
}

func TestReasonNamesVariablesWithoutValue(t *testing.T) {
	s := newSite(t)
	d := s.grants(t, s.press1(t, "press-9")).Decide(publish("dt/press-9/t"))
	if !strings.HasSuffix(d.Reason, "; without a value here: ${iot:Connection.Thing.ThingName}") {
		t.Error(d.Reason)
	}
}

func TestGrantsFollowReloads(t *testing.T) {
	for name, c := range map[string]struct{ file, old, with, reason string }{
		"document changed":    {"policies/device.json", "topic/dt/${", "topic/tele/${", "no statement of policy device"},
		"certificate revoked": {"things.yaml", "certificates:\n", "certificates:\n  certs/press-1.pem: {status: REVOKED}\n", "is REVOKED"},
		"certificate gone":    {"things.yaml", "[certs/press-1.pem]\n    # Attached to each certificate of this thing.\n    policies: [device]", "[]", "is not registered"},
		"group denies":        {"policies/no-secrets.json", "topic*/secret/*", "topic/dt/*", "denied by Statement[0] of policy no-secrets"},
		"policy detached":     {"things.yaml", "policies: [device]", "policies: [line]", "no statement of policy line"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.grants(t, s.press1(t, "press-1"))
			if d := g.Decide(publish("dt/press-1/t")); !d.Allowed {
				t.Fatal(d.Reason)
			}
			s.replace(t, c.file, c.old, c.with)
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
			if d := g.Decide(publish("dt/press-1/t")); d.Allowed || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestBadReloadKeepsTheLastGoodState(t *testing.T) {
	s := newSite(t)
	g := s.grants(t, s.press1(t, "press-1"))
	s.replace(t, "policies/device.json", `"Effect": "Deny"`, `"effect": "Deny"`)
	s.replace(t, "things.yaml", "parent: plant", "parent: plan")
	err := s.Reload()
	if err == nil || strings.Count(err.Error(), "\n") != 2 { // two faults of the document, one of the registry
		t.Fatalf("%v", err)
	}
	if d := g.Decide(publish("dt/press-1/bar")); d.Allowed || !d.Explicit {
		t.Errorf("%+v", d)
	}
	s.replace(t, "policies/device.json", `"effect": "Deny"`, `"Effect": "Allow"`)
	s.replace(t, "things.yaml", "parent: plan,", "parent: plant,")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if d := g.Decide(publish("dt/press-1/bar")); !d.Allowed {
		t.Errorf("%+v", d)
	}
}

// While the documents are read again everybody goes on deciding, by the old state
// or by the new. The askers of a round come to an end: asking for as long as it
// takes, they would take the processors from what they wait for.
func TestDecisionsDuringReloads(t *testing.T) {
	s := newSite(t)
	g := s.grants(t, s.press1(t, "press-1"))
	for range 20 {
		var round sync.WaitGroup
		for range 4 {
			round.Go(func() {
				for range 100 {
					if d := g.Decide(publish("dt/press-1/t")); !d.Allowed {
						t.Error(d.Reason)
					}
					if d := g.Decide(publish("dt/press-1/bar")); d.Allowed {
						t.Error(d.Reason)
					}
				}
			})
		}
		if err := s.Reload(); err != nil {
			t.Error(err)
		}
		round.Wait()
	}
}

func TestMissingPolicyDeniesAll(t *testing.T) {
	s := newSite(t)
	if _, err := s.Named("x", "x", []string{"operator", "gone"}); bridge.KindOf(err) != bridge.NotAuthorized {
		t.Errorf("%v", err)
	}
	p, err := s.Named("x", "x", []string{"operator"})
	if err != nil {
		t.Fatal(err)
	}
	g := s.grants(t, p)
	s.replace(t, "things.yaml", "policies: [operator]", "policies: [line]")
	if err := os.Remove(filepath.Join(s.folder, "policies/operator.json")); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if d := g.Decide(publish("a")); d.Allowed || !strings.Contains(d.Reason, `there is no policy "operator"`) {
		t.Errorf("%+v", d)
	}
	if s.HasPolicy("operator") || !s.HasPolicy("line") {
		t.Error("HasPolicy")
	}
}

func TestLoadRefusesOptions(t *testing.T) {
	if _, err := Load(Options{Region: "Frankfurt"}); err == nil || !strings.Contains(err.Error(), "policy.region") {
		t.Error(err)
	}
	if got := len(Options{Partition: "x", Region: "y", Account: "1"}.Validate()); got != 3 {
		t.Errorf("%d problems", got)
	}
	if problems := DefaultOptions().Validate(); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestNothingConfiguredDeniesAll(t *testing.T) {
	e, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Named("anonymous", "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := e.Grants(&p)
	if err != nil {
		t.Fatal(err)
	}
	if d := g.Decide(publish("a")); d.Allowed || d.Reason != "denied: no policy is attached" {
		t.Errorf("%+v", d)
	}
}
