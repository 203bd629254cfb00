package policy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ebbgate/ebbgate/bridge"
)

// withRules is the example with rules of the site's own.
func withRules(t *testing.T, text string) *site {
	t.Helper()
	s := newSite(t)
	s.write(t, "policies/own.rego", text)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const ownRules = `package ebbgate.site

# Presses of line a may not say how they are.
deny contains "presses are quiet" if {
	input.action == "iot:Publish"
	input.principal.thing.type == "press"
	startswith(input.name, "dt/press-1/quiet/")
}

deny contains sprintf("%s is a group that stays out", [group]) if {
	input.action == "iot:Connect"
	input.connect.will
	some group in input.principal.thing.groups
}

deny contains "not from here" if net.cidr_contains("192.0.2.0/24", input.principal.source_ip)
`

func TestSiteRulesNarrow(t *testing.T) {
	s := withRules(t, ownRules)
	p := s.press1(t, "press-1")
	p.Protocol = 5
	g := s.grants(t, p)
	for name, c := range map[string]struct {
		request bridge.Request
		allowed bool
		reason  string
	}{
		"untouched":      {publish("dt/press-1/t"), true, "allowed by Statement[1]"},
		"denied":         {publish("dt/press-1/quiet/t"), false, "denied by the site's rules: presses are quiet"},
		"not widened":    {publish("dt/press-2/t"), false, "denied: no statement"},
		"documents deny": {publish("dt/press-1/bar"), false, "denied by Statement[2]"},
		"connect":        {bridge.Request{Action: bridge.ActionConnect, Name: "press-1"}, true, "allowed"},
		"with a will":    {bridge.Request{Action: bridge.ActionConnect, Name: "press-1", Will: true, WillTopic: "w"}, false, "line-a is a group that stays out"},
	} {
		for range 3 { // whatever is remembered
			d := g.Decide(c.request)
			if d.Allowed != c.allowed || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("%s: %+v", name, d)
			}
			if strings.Contains(c.reason, "site's") && (!d.Explicit || d.Policy != SitePolicy) {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
	a, err := s.Explain(t.Context(), &p, publish("dt/press-1/quiet/t"))
	if err != nil || a.Outcome != ExplicitDeny || len(a.Site) != 1 || len(a.Denying) != 1 || a.Denying[0].Policy != SitePolicy || len(a.Allowing) != 1 {
		t.Errorf("%+v %v", a, err)
	}
}

func TestSiteRulesAreReloaded(t *testing.T) {
	s := withRules(t, ownRules)
	g := s.grants(t, s.press1(t, "press-1"))
	quiet := publish("dt/press-1/quiet/t")
	if g.Decide(quiet).Allowed {
		t.Fatal("allowed")
	}
	s.write(t, "policies/own.rego", "package ebbgate.site\n\ndeny contains \"no\" if { nothing }\n")
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "own.rego:3:") {
		t.Fatalf("%v", err)
	}
	if g.Decide(quiet).Allowed {
		t.Error("a bad file put the good one out of force")
	}
	if err := os.Remove(filepath.Join(s.folder, "policies/own.rego")); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if d := g.Decide(quiet); !d.Allowed {
		t.Error(d)
	}
}

// What goes wrong while it is evaluated denies, and is tried again later.
func TestSiteRulesThatFailDeny(t *testing.T) {
	for name, c := range map[string]struct{ text, reason string }{
		"error":    {`deny contains "x" if to_number(input.name) == 1`, "gave no answer"},
		"conflict": {`deny contains f(input.name) if input.action == "iot:Publish"` + "\nf(x) := 1 if startswith(x, \"dt\")\nf(x) := 2 if startswith(x, \"dt/\")", "gave no answer"},
		"no text":  {`deny contains 7 if input.action == "iot:Publish"`, "7 in deny is no text"},
		"time-out": {"deny contains \"x\" if {\n\tsome a in numbers.range(1, 3000)\n\tsome b in numbers.range(1, 3000)\n\ta * b == 1.5\n}", "within 10ms"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			now := fixed
			s.now = func() time.Time { return now }
			if name == "time-out" {
				s.opts.Site.Timeout = 10 * time.Millisecond
			}
			s.write(t, "policies/own.rego", "package ebbgate.site\n\n"+c.text+"\n")
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
			g := s.grants(t, s.press1(t, "press-1"))
			d := g.Decide(publish("dt/press-1/t"))
			if d.Allowed || !strings.Contains(d.Reason, c.reason) {
				t.Fatalf("%+v", d)
			}
			s.current.Load().site.timeout = 0 // so that another evaluation would be seen
			if again := g.Decide(publish("dt/press-1/t")); again.Reason != d.Reason {
				t.Errorf("asked again at once: %+v", again)
			}
			now = now.Add(retrySite)
			if again := g.Decide(publish("dt/press-1/t")); again.Allowed || !strings.Contains(again.Reason, "within 0s") {
				t.Errorf("not asked again: %+v", again)
			}
		})
	}
}

func TestSiteRulesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"syntax":       {"package ebbgate.site\n\ndeny contains x if {", "own.rego:3:"},
		"empty":        {"# nothing", "own.rego"},
		"package":      {"package ebbgate.iot\n\nallow := true", "own.rego:1:1: the package is data.ebbgate.iot; write \"package ebbgate.site\""},
		"no deny":      {"package ebbgate.site\n\nx := 1", "there is no deny"},
		"boolean deny": {"package ebbgate.site\n\ndeny if input.name == \"a\"", "own.rego:3:1: deny is not a set of reasons"},
		"default deny": {"package ebbgate.site\n\ndefault deny := false", "deny is not a set of reasons"},
		"clock":        {"package ebbgate.site\n\ndeny contains \"x\" if time.now_ns() > 1", "undefined function time.now_ns"},
		"network":      {"package ebbgate.site\n\ndeny contains \"x\" if http.send({\"url\": \"http://localhost\", \"method\": \"get\"}).status_code == 1", "undefined function http.send"},
		"chance":       {"package ebbgate.site\n\ndeny contains \"x\" if rand.intn(\"a\", 2) == 1", "undefined function rand.intn"},
		"schema":       {"package ebbgate.site\n\ndeny contains \"x\" if json.match_schema(input, {\"$ref\": \"http://localhost/x\"})[0]", "undefined function json.match_schema"},
		"environment":  {"package ebbgate.site\n\ndeny contains \"x\" if opa.runtime().env.HOME", "undefined function opa.runtime"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.write(t, "policies/own.rego", c.text)
			faults, ok := errors.AsType[Faults](s.Reload())
			if !ok || !strings.Contains(faults.Error(), c.want) {
				t.Fatalf("%v", faults)
			}
		})
	}
}

func TestSiteTestsArePassedOver(t *testing.T) {
	s := newSite(t)
	s.write(t, "policies/own_test.rego", "package ebbgate.site_test\n\ntest_x if true")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if s.current.Load().site != nil {
		t.Error("a test became a rule")
	}
}

// An answer is asked for once per principal, action and name.
func TestSiteAnswersAreRemembered(t *testing.T) {
	s := withRules(t, ownRules)
	g := s.grants(t, s.press1(t, "press-1"))
	rules := s.current.Load().site
	for _, topic := range []string{"dt/press-1/t", "dt/press-1/t", "dt/press-1/u", "dt/press-1/t"} {
		g.Decide(publish(topic))
	}
	if n := len(rules.answers.young); n != 2 {
		t.Errorf("%d answers", n)
	}
	s.grants(t, s.press1(t, "press-1")).Decide(publish("dt/press-1/t"))
	if n := len(rules.answers.young); n != 3 {
		t.Errorf("%d answers: another session is another principal", n)
	}
}

// What the capabilities let through says the same at all times.
func TestSiteCapabilities(t *testing.T) {
	got := map[string]bool{}
	for _, b := range siteCapabilities().Builtins {
		got[b.Name] = true
		if b.Nondeterministic {
			t.Errorf("%s is not deterministic", b.Name)
		}
	}
	for _, name := range []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "time.now_ns", "uuid.rfc4122", "trace", "print", "io.jwt.decode_verify"} {
		if got[name] {
			t.Errorf("%s is possible", name)
		}
	}
	for _, name := range []string{"startswith", "regex.match", "net.cidr_contains", "sprintf", "glob.match", "json.unmarshal", "numbers.range"} {
		if !got[name] {
			t.Errorf("%s is not possible", name)
		}
	}
	if len(ast.CapabilitiesForThisVersion().Builtins)-len(got) > 30 {
		t.Errorf("only %d functions are left", len(got))
	}
}

// A rule that takes for ever does not hold a packet up for longer than its limit.
func TestSiteRulesEndWithTheirContext(t *testing.T) {
	s := withRules(t, "package ebbgate.site\n\ndeny contains \"x\" if {\n\tsome a in numbers.range(1, 100000)\n\tsome b in numbers.range(1, 100000)\n\ta * b == 1.5\n}\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := s.current.Load().site.ask(ctx, map[string]any{}, &request{action: "iot:Publish", kind: "topic/", name: "a"})
	if len(a.reasons) != 1 || a.until.IsZero() {
		t.Errorf("%+v", a)
	}
}
