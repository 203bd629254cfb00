//go:build !race

// Every case against every bug is much Rego, which the race detector makes slow
// for nothing: no two goroutines share anything here that others do not.

package policy

import (
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ebbgate/ebbgate/bridge"
)

// regoBugs are made by replacing text in a module. seen is the case that is
// expected to notice.
var regoBugs = []struct{ name, file, old, new, seen string }{
	{"question mark takes nothing too", "pattern", `:= one if part.wildcard == "?"`, `:= concat("", [one, "?"]) if part.wildcard == "?"`, "wc-012"},
	{"star takes at least one", "pattern", `concat("", [one, "*"])`, `concat("", [one, "+"])`, "pub-005"},
	{"star does not cross a slash", "pattern", `any := "." if not bytewise`, `any := "[^/]" if not bytewise`, "attr-001-pc-only-allvalues-none"},
	{"a dot is any character", "pattern", "`[\\\\.+*?()", "`[\\\\+*?()", "arn-020"},
	{"a beginning suffices", "pattern", `")$"`, `")"`, "sub-004"},
	{"an end suffices", "pattern", `"(?s)^(?:"`, `"(?s)(?:"`, "pub-006"},
	{"a line feed ends a name", "pattern", `"(?s)^(?:"`, `"^(?:"`, ``},
	{"a wildcard in a region crosses colons", "pattern", `"2008-10-17"), any_but_colon)`, `"2008-10-17"), any)`, "arn-012 with colon_wildcard=within"},
	{"star does not run past a colon", "pattern", `not input.switches.colon_wildcard == "within"`, `input.switches.colon_wildcard == "past"`, "arn-031"},
	{"values are read as patterns", "pattern", `:= {"literal": referred(part, who)}`, `:= tokens(referred(part, who), "2008-10-17")[0]`, "var-020"},
	{"a variable without value is nothing", "pattern", `count(result) == count(parts)`, `count(result) >= 0`, "own-7-28"},
	{"partitions are not compared", "pattern", `{1: "partition", 3: "region", 4: "account"}`, `{3: "region", 4: "account"}`, ``},
	{"an Allow beats a Deny", "decision", `true: {true: "explicit_deny"`, `true: {true: "allow"`, "conn-005"},
	{"a Deny denies nothing", "decision", `statement.effect == "Deny"`, `statement.effect == "deny"`, "conn-005"},
	{"implicit is explicit", "decision", `false: "implicit_deny"}`, `false: "explicit_deny"}`, "conn-002"},
	{"NotAction is Action", "decision", `!= statement.not_action`, `!= false`, "act-009"},
	{"NotResource is Resource", "decision", `!= candidate.not_resource`, `!= false`, "rcv-003"},
	{"conditions on requests are forgotten", "decision", `condition.key in per_request],`, `condition.key == "x"],`, "attr-004-pc-only-allvalues-PersistentConnect+LastWill"},
	{"a share is not asked about", "decision", `"either": [request.resource, shared]`, `"either": [request.resource]`, ``},
	{"attributes need not be named", "decision", `== "none"`, `== "never"`, "attr-100 with connect_attributes_default=none"},
	{"the case of actions counts", "statement", `tokens(lower(action)`, `tokens(action`, "conn-005"},
	{"variables without a Version", "statement", `"Version", "2008-10-17"`, `"Version", "2012-10-17"`, "var-033"},
	{"a thing need not be attached", "context", "\twho.thing_attached\n", "", "own-7-09"},
	{"a thing of any client id", "context", `who.thing_name == who.client_id`, `who.thing_name != ""`, "thing-003"},
	{"the case of variables counts", "context", `long_form(lower(parts[0][1]))`, `long_form(parts[0][1])`, "conn-007"},
	{"values count from one", "context", `number := to_number(digit)`, `number := to_number(digit) - 1`, "cert-018"},
	{"six values are kept", "context", `array.slice(values, 0, 5)`, `array.slice(values, 0, 6)`, "own-9-103"},
	{"long values are put in", "context", `count(value) > 1024`, `count(value) > 4096`, "cert-014"},
	{"a plus is put in", "context", "`[*$+?#]`", "`[*$?#]`", "cert-012"},
	{"HTTP has a client id", "context", `!= "http"`, `!= "HTTP"`, "var-039"},
	{"IsAttached is absent without a thing", "context", `:= ["false"] if {`, `:= [] if {`, "cond-016"},
	{"a missing key holds", "condition", "\tabsent_passes(condition)\n", "\tcondition.operator\n", "attr-027-must-pc-none"},
	{"a missing key fails a negated operator", "condition", `condition.quantifier == ""`, `condition.quantifier == "x"`, "lwt-013"},
	{"ForAllValues wants a value", "condition", `if condition.quantifier == "ForAllValues"`, `if condition.quantifier == "x"`, "attr-001-pc-only-allvalues-none"},
	{"ForAllValues is any", "condition", `if fitting == all`, `if fitting <= all`, "attr-004-pc-only-allvalues-PersistentConnect+LastWill"},
	{"any of several must be all", "condition", `fitting > 0`, `fitting > 1`, "attr-012-deny-pc-any-PersistentConnect"},
	{"negation is forgotten", "condition", `base in object.keys(negations)`, `false`, "attr-009-not-pc-FutureFeature"},
	{"IfExists is forgotten", "condition", `exists != ""`, `exists == "x"`, "cond-012"},
	{"Null is turned", "condition", `"true" in {lower(value)`, `"false" in {lower(value)`, "lwt-015"},
	{"StringEquals ignores case", "condition", `compare("StringEquals", have, want) if have == want`, `compare("StringEquals", have, want) if lower(have) == lower(want)`, "attr-102"},
	{"IgnoreCase does not", "condition", `lower(plain(resolved(value, who)))`, `plain(resolved(value, who))`, "own-9-03"},
	{"at most is less", "condition", `number(have) <= want`, `number(have) < want`, "own-9-153"},
	{"at least is more", "condition", `instant(have) >= want`, `instant(have) > want`, "own-9-176"},
	{"a host is a network", "condition", `[text, "/32"]`, `[text, "/8"]`, "own-9-111"},
	{"the session forgets what is left", "session", `left := [[condition.operator, condition.name] |`, `left := [[condition.operator, condition.name] | false;`, "attr-004-pc-only-allvalues-PersistentConnect+LastWill"},
	{"the session keeps what fails", "session", "every condition in statement.known", "every condition in []", "var-046"},
}

// goBugs are in the compiled path.
var goBugs = []*bug{
	{name: "question mark takes nothing", program: func(p *program) {
		eachTail(p, func(t *tail) {
			for i, one := range t.glob.parts {
				t.glob.parts[i] = part{strings.Join(one, "")}
			}
		})
	}},
	{name: "star takes at least one", program: func(p *program) {
		eachTail(p, func(t *tail) {
			if n := len(t.glob.parts); n > 1 {
				t.glob.parts[n-1] = append(part{""}, t.glob.parts[n-1]...)
			}
		})
	}},
	{name: "a beginning suffices", program: func(p *program) {
		eachTail(p, func(t *tail) { t.glob.parts = append(t.glob.parts, part{""}) })
	}},
	{name: "case of names is ignored", program: func(p *program) {
		eachTail(p, func(t *tail) {
			for _, one := range t.glob.parts {
				for i := range one {
					one[i] = strings.ToUpper(one[i])
				}
			}
		})
	}},
	{name: "names without colons are skipped", program: func(p *program) { eachTail(p, func(t *tail) { t.colons = true }) }},
	{name: "only the first resource counts", program: func(p *program) {
		eachRule(p, func(r *rule) { r.tails = r.tails[:min(len(r.tails), 1)] })
	}},
	{name: "only the first action counts", document: eachStatement(func(s *statement) { s.actions = s.actions[:1] })},
	{name: "NotAction is Action", document: eachStatement(func(s *statement) { s.notAction = false })},
	{name: "NotResource is Resource", document: eachStatement(func(s *statement) { s.notResource = false })},
	{name: "variables in 2008-10-17", document: func(d *document) {
		for _, s := range d.statements {
			for i, r := range s.resources {
				s.resources[i] = newResource(r.text, version2012, corpusGateway)
			}
		}
	}},
	{name: "a Deny denies nothing", program: func(p *program) {
		for i := range p.tables {
			p.tables[i].Load().deny = nil
		}
	}},
	{name: "an Allow beats a Deny", last: func(p *program, r *request) bridge.Decision {
		t := p.lookup(r)
		for i := range t.allow {
			if t.allow[i].applies(r, r.names(p.gateway, nil), p.gateway) {
				return t.allow[i].from.decision
			}
		}
		return p.decide(r)
	}},
	{name: "the last statement decides", program: func(p *program) {
		for i := range p.tables {
			slices.Reverse(p.tables[i].Load().allow)
		}
	}},
	{name: "conditions are forgotten", program: func(p *program) { eachRule(p, func(r *rule) { r.checks = nil }) }},
	{name: "only the first condition counts", program: func(p *program) {
		eachRule(p, func(r *rule) { r.checks = r.checks[:min(len(r.checks), 1)] })
	}},
	{name: "a missing key holds", program: func(p *program) { eachCheck(p, func(c *check) { c.ifExists = true }) }},
	{name: "IfExists is forgotten", program: func(p *program) { eachCheck(p, func(c *check) { c.ifExists = false }) }},
	{name: "negation is forgotten", program: func(p *program) { eachCheck(p, func(c *check) { c.negated = false }) }},
	{name: "ForAllValues is any", program: func(p *program) {
		eachCheck(p, func(c *check) {
			if c.quantifier == forAllValues {
				c.quantifier = forAnyValue
			}
		})
	}},
	{name: "one value of a condition counts", program: func(p *program) {
		eachCheck(p, func(c *check) { c.operands = c.operands[:min(len(c.operands), 1)] })
	}},
	{name: "at most is less", program: func(p *program) {
		eachCheck(p, func(c *check) {
			if c.test.relation() == lessThanEquals {
				c.test = c.test.kind() | lessThan
			}
		})
	}},
	{name: "at least is more", program: func(p *program) {
		eachCheck(p, func(c *check) {
			if c.test.relation() == greaterThanEquals {
				c.test = c.test.kind() | greaterThan
			}
		})
	}},
	{name: "networks are wider", program: func(p *program) {
		eachCheck(p, func(c *check) {
			for i, o := range c.operands {
				if bits := o.network.Bits(); bits >= 8 {
					c.operands[i].network = netip.PrefixFrom(o.network.Addr(), bits-8).Masked()
				}
			}
		})
	}},
	{name: "StringLike is StringEquals", program: func(p *program) {
		eachCheck(p, func(c *check) {
			if c.test == stringLike {
				c.test = stringEquals
			}
		})
	}},
	{name: "a variable without value is empty", held: func(documents []*document, h *held) {
		h.values = maps.Clone(h.values)
		for _, d := range documents {
			names, _ := d.asksOf()
			for name := range names {
				if _, ok := h.values[name]; !ok {
					h.values[name] = ""
				}
			}
		}
	}},
	{name: "values are put in in lower case", held: func(_ []*document, h *held) {
		h.values = maps.Clone(h.values)
		for name, v := range h.values {
			h.values[name] = strings.ToLower(v)
		}
	}},
	{name: "conditional statements are forgotten", held: func(_ []*document, h *held) { h.statements = nil }},
	{name: "the attributes are not named", request: func(r *request) { r.attributes = nil }},
	{name: "the will has no topic", request: func(r *request) { r.hasWill = false }},
	{name: "the clock is an hour late", request: func(r *request) {
		now := r.clock()
		r.clock = func() time.Time { return now.Add(-time.Hour) }
	}},
	{name: "a share is not asked about", request: func(r *request) { r.share = "" }},
	{name: "RetainPublish is Publish", request: func(r *request) {
		if r.action == string(bridge.ActionRetainPublish) {
			r.action = string(bridge.ActionPublish)
		}
	}},
}

func eachStatement(change func(*statement)) func(*document) {
	return func(d *document) {
		for _, s := range d.statements {
			change(s)
		}
	}
}

// TestMutations seeds bugs, one at a time, and wants each caught by the cases or
// by the differential test.
func TestMutations(t *testing.T) {
	t.Parallel()
	s := newSuite(t)
	if by := s.catches(t, nil); by != "" {
		t.Fatalf("without a bug: %s", by)
	}
	for _, b := range goBugs {
		t.Run("go/"+b.name, func(t *testing.T) {
			t.Parallel()
			report(t, b.name, s.catches(t, b))
		})
	}
	for _, m := range regoBugs {
		t.Run("rego/"+m.name, func(t *testing.T) {
			t.Parallel()
			report(t, m.name, s.catchesIn(t, mutant(t, m.file, m.old, m.new), m.seen))
		})
	}
	if len(regoBugs) < 20 || len(goBugs) < 20 {
		t.Errorf("only %d and %d bugs", len(regoBugs), len(goBugs))
	}
	t.Logf("%d bugs in the rules, %d in the compiled path", len(regoBugs), len(goBugs))
}

func report(t *testing.T, name, by string) {
	t.Helper()
	if by == "" {
		t.Errorf("%q survives", name)
		return
	}
	t.Logf("%q is caught by %s", name, by)
}

// mutant compiles the rules with one text replaced.
func mutant(t *testing.T, file, old, with string) *plainRules {
	t.Helper()
	modules, err := regoModules(regoFiles)
	if err != nil {
		t.Fatal(err)
	}
	name := "rego/" + file + ".rego"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q any more: correct the mutation", name, old)
	}
	module, err := ast.ParseModuleWithOpts(name, strings.Replace(string(text), old, with, 1), ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	modules[name] = module
	r, err := compileRules(t.Context(), modules)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlain(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mutationSets is how many policy sets a bug is looked for in.
const mutationSets = 60

// suite is what bugs are looked for with: the cases, and sets as the
// differential test draws them.
type suite struct {
	cases []suiteCase
	sets  []*drawn
	held  [][]held // of the sets' contexts
}

type suiteCase struct {
	id        string
	gateway   gateway
	documents []*document
	session   session
	request   *request
	held      held
	want      string
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	rules := mustRules(t)
	s := &suite{}
	add := func(row *caseRow, id string, g gateway, share, want string) {
		documents, faults := row.documents(g)
		if len(faults) > 0 {
			return
		}
		c := suiteCase{id: id, gateway: g, documents: documents, session: row.session(), request: row.request(t, g), want: want}
		c.request.share = share
		c.held = askFor(t, rules.compile(t, documents, g).holdings(rules), documents, c.session)[0]
		s.cases = append(s.cases, c)
	}
	for _, path := range []string{"testdata/policy.jsonl", "testdata/policy_uncertain.jsonl", "testdata/own.jsonl"} {
		for _, row := range readCases(t, path) {
			g := row.gateway(corpusGateway)
			add(row, row.ID, g, "", row.Expect)
			if u := uncertainCases[row.ID]; u.expect != "" && u.expect != "invalid_policy" && strings.Contains(path, "uncertain") {
				add(row, row.ID+" with "+u.set, u.gateway(t, g), u.share, u.expect)
			}
		}
	}
	for n := range uint64(mutationSets) {
		d := drawSet(t, rules, 7, n)
		s.sets = append(s.sets, d)
		s.held = append(s.held, askFor(t, d.compiled.holdings(rules), d.documents, d.sessions()...))
	}
	return s
}

// catches says what notices a bug in the compiled path.
func (s *suite) catches(t *testing.T, b *bug) string {
	t.Helper()
	for _, c := range s.cases {
		p := b.compile(t, c.documents, c.gateway, c.held)
		if fast := verdictOf(b.decide(p, c.request)); fast.outcome != c.want {
			return "case " + c.id
		}
	}
	for i, d := range s.sets {
		if d.disagreement(t, s.held[i], b) != "" {
			return "the differential test"
		}
	}
	return ""
}

// catchesIn says what notices a bug in the rules. The case that is expected to
// is tried first, for the sake of time.
func (s *suite) catchesIn(t *testing.T, rules *plainRules, expected string) string {
	t.Helper()
	for _, c := range s.cases {
		if c.id == expected && c.differs(t, rules) {
			return "case " + c.id
		}
	}
	for _, c := range s.cases {
		if c.differs(t, rules) {
			return "case " + c.id
		}
	}
	for n := range uint64(mutationSets) {
		d := drawSet(t, rules, 7, n)
		if d.disagreement(t, askFor(t, d.compiled.holdings(rules), d.documents, d.sessions()...), nil) != "" {
			return "the differential test"
		}
	}
	return ""
}

// differs reports whether rules with a bug answer a case otherwise, at either
// speed.
func (c *suiteCase) differs(t *testing.T, rules *plainRules) bool {
	t.Helper()
	set := rules.compile(t, c.documents, c.gateway)
	plain := rules.decide(t, set.statements, c.gateway, c.session, []*request{c.request})[0]
	p := compileFor(t, set.holdings(rules), c.documents, c.gateway, c.session)[0]
	return plain.outcome != c.want || verdictOf(p.decide(c.request)).outcome != c.want
}
