package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// fleet is an engine with n sessions, each of a thing with a policy that uses
// its name and asks for an attribute.
func fleet(t testing.TB, n int) (*Engine, []bridge.Grants) {
	t.Helper()
	folder := t.TempDir()
	var things strings.Builder
	things.WriteString("things:\n")
	for i := range n {
		fmt.Fprintf(&things, "  dev%d: {type: press, attributes: {line: a}, certificates: [%064x], policies: [device]}\n", i, i+1)
	}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var statements []string
	for i := range 9 {
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/dt/%d/${iot:Connection.Thing.ThingName}/*"}`, i))
	}
	statements = append(statements, `{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"StringEquals":{"iot:Connection.Thing.Attributes[line]":"a"}}}`)
	write("things.yaml", things.String())
	write("policies/device.json", `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`)
	e, err := Load(Options{Things: filepath.Join(folder, "things.yaml"), Policies: filepath.Join(folder, "policies")})
	if err != nil {
		t.Fatal(err)
	}
	grants := make([]bridge.Grants, n)
	for i := range n {
		p := bridge.Principal{ClientID: fmt.Sprintf("dev%d", i), CertificateID: fmt.Sprintf("%064x", i+1), Protocol: 5}
		if grants[i], err = e.Grants(&p); err != nil {
			t.Fatal(err)
		}
	}
	return e, grants
}

// BenchmarkRebind10000 is what a change of policy costs with 10,000 sessions
// connected whose policies use their things' names: until it is in force, and
// until each session's next decision has been answered by it. The first change
// asks the same conditions and variables of each session, the second new ones.
func BenchmarkRebind10000(b *testing.B) {
	e, grants := fleet(b, 10_000)
	file := filepath.Join(e.opts.Policies, "device.json")
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	for name, change := range map[string]func(n int) string{
		"resources": func(n int) string {
			return strings.ReplaceAll(string(text), "topic/dt/1/", fmt.Sprintf("topic/dt/x%d/", n))
		},
		"conditions": func(n int) string { return strings.ReplaceAll(string(text), `"a"}`, fmt.Sprintf(`["a","%d"]}`, n)) },
	} {
		b.Run(name, func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				if err := os.WriteFile(file, []byte(change(n)), 0o600); err != nil {
					b.Fatal(err)
				}
				staged, err := e.Stage()
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				staged.Apply()
				for i, g := range grants {
					if d := g.Decide(publish(fmt.Sprintf("dt/8/dev%d/t", i))); !d.Allowed {
						b.Fatal(d)
					}
				}
			}
		})
	}
}

// A change reaches grants in use, whether their answers are inherited or asked
// for again, and what is compiled says what a new engine says.
func TestRebind(t *testing.T) {
	const n = 200
	e, grants := fleet(t, n)
	file := filepath.Join(e.opts.Policies, "device.json")
	original, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(i int) bridge.Request {
		return bridge.Request{Action: bridge.ActionConnect, Name: fmt.Sprintf("dev%d", i)}
	}
	own := func(i int) bridge.Request { return publish(fmt.Sprintf("dt/1/dev%d/t", i)) }
	for name, c := range map[string]struct {
		old, with         string
		publishes, enters bool
	}{
		"resource":           {"topic/dt/1/", "topic/other/1/", false, true},
		"condition":          {`"a"}`, `"b"}`, true, false},
		"variable":           {"topic/dt/1/${iot:Connection.Thing.ThingName}", "topic/dt/1/${iot:ClientId}", true, true},
		"statement in front": {`"Statement":[`, `"Statement":[{"Effect":"Deny","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/dt/1/*"},`, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range []string{strings.ReplaceAll(string(original), c.old, c.with), string(original)} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := e.Reload(); err != nil {
					t.Fatal(err)
				}
				for i, g := range grants {
					changed := text != string(original)
					if got := g.Decide(own(i)); got.Allowed != (c.publishes || !changed) {
						t.Fatalf("changed %v, publish of dev%d: %+v", changed, i, got)
					}
					if got := g.Decide(connect(i)); got.Allowed != (c.enters || !changed) {
						t.Fatalf("changed %v, connect of dev%d: %+v", changed, i, got)
					}
				}
			}
		})
	}
}

// What a variable stood for is forgotten with the variable: it may come back
// for a session that has changed.
func TestForgottenVariables(t *testing.T) {
	s := newSite(t)
	g := s.grants(t, s.press1(t, "press-1"))
	const with, without = "topic/dt/${iot:Connection.Thing.Attributes[fw]}/*", "topic/dt/fixed/*"
	own := "topic/dt/${iot:Connection.Thing.ThingName}/*"
	for _, step := range []struct{ file, old, with, topic string }{
		{"policies/device.json", own, with, "dt/1.4/t"},
		{"policies/device.json", with, without, "dt/fixed/t"},
		{"things.yaml", "fw: 1.4", "fw2: 1.4", "dt/fixed/t"},
		{"policies/device.json", without, with, ""},
	} {
		s.replace(t, step.file, step.old, step.with)
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if step.topic == "" {
			if d := g.Decide(publish("dt/1.4/t")); d.Allowed {
				t.Errorf("%+v", d)
			}
		} else if d := g.Decide(publish(step.topic)); !d.Allowed {
			t.Errorf("%s: %+v", step.with, d)
		}
	}
}

// Whoever is ready for a change is not asked about again; who differs is.
func TestInheritance(t *testing.T) {
	e, grants := fleet(t, 3)
	g := asGrants(t, grants[0])
	before := g.bound.Load().program
	if err := e.Reload(); err != nil {
		t.Fatal(err)
	}
	after := g.ready.Load()
	if after == nil || after.snapshot != e.current.Load() {
		t.Fatal("not ready")
	}
	if !reflect.DeepEqual(after.program.held, before.held) {
		t.Errorf("%v became %v", before.held, after.program.held)
	}
	things := e.opts.Things
	text, err := os.ReadFile(things)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(things, []byte(strings.Replace(string(text), "{line: a}", "{line: b}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(); err != nil {
		t.Fatal(err)
	}
	for i, g := range grants {
		d := g.Decide(bridge.Request{Action: bridge.ActionConnect, Name: fmt.Sprintf("dev%d", i)})
		if d.Allowed != (i > 0) {
			t.Errorf("dev%d: %+v", i, d)
		}
	}
}

func asGrants(t *testing.T, g bridge.Grants) *grants {
	t.Helper()
	own, ok := g.(*grants)
	if !ok {
		t.Fatalf("%T", g)
	}
	return own
}
