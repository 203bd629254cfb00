package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzARN holds the prepared forms of a resource (fixed, open, tails) to the
// plain automaton over the whole ARN.
func FuzzARN(f *testing.F) {
	for _, text := range []string{"*", "arn:*", "arn:aws:iot:*:topic/a", "arn:aws:iot:us-*2:topic/${iot:ClientId}/*", "arn:aws:iot:*:*:t*c/${a}b?", "arn:aws:iot:us-east-1:123456789012:${a}/x"} {
		f.Add(text, "a/b", "v")
		f.Add(text, "x:y/${iot:ClientId}", "topic/")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		if !utf8.ValidString(text) || !utf8.ValidString(name) || !utf8.ValidString(value) || len(text) > 200 || len(name) > 200 || len(value) > 50 {
			t.Skip("too long, or not UTF-8: refused before it gets here")
		}
		for _, g := range []gateway{corpusGateway, {}, {partition: "aws", switches: &Switches{ColonWildcard: "within", QuestionMark: "byte"}}} {
			r := newResource(text, version2012, g)
			v := values{}
			for _, needed := range r.needs {
				v[needed] = value
			}
			for _, kind := range []string{"topic/", "topicfilter/", "client/", "thing/"} {
				got := false
				for _, tail := range r.tails(kind, v) {
					got = got || tail.match(name, strings.Contains(name, ":"))
				}
				if want := wholeARN(r, v, g, kind+name); got != want {
					t.Fatalf("%q on %q with %q at %+v: %v", text, kind+name, value, g, got)
				}
			}
		}
	})
}

// wholeARN matches a resource with one of the gateway's ARNs from the start.
func wholeARN(r *resource, v values, g gateway, name string) bool {
	tokens, ok := v.resolve(r.name)
	if !ok {
		return false
	}
	whole := g.prefix() + name
	if r.bytes {
		tokens, whole = widenAll(tokens), widen(whole)
	}
	steps := appendSteps(slices.Clone(r.head), tokens, anyOne, anyRun)
	return ends(steps, run(steps, []int{0}, whole))
}

// FuzzVariables: cutting loses nothing, and values are put in once and literally.
func FuzzVariables(f *testing.F) {
	for _, text := range []string{"${iot:ClientId}", "${${a}}", "$${a", "${*}${?}${$}", "a*b?${x, 'y}z'}", "${", "}"} {
		f.Add(text, "v*${iot:ClientId}")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		for _, version := range []string{version2008, version2012} {
			var again strings.Builder
			v := values{}
			for _, tok := range tokenise(text, version) {
				if tok.kind == variable {
					again.WriteString("${" + tok.text + "}")
					v[tok.text] = value
				} else {
					again.WriteString(tok.text)
				}
			}
			escaped := strings.Contains(text, "${*}") || strings.Contains(text, "${?}") || strings.Contains(text, "${$}")
			if !escaped && again.String() != text {
				t.Fatalf("%q became %q", text, again.String())
			}
			resolved, ok := v.resolve(tokenise(text, version))
			if !ok {
				t.Fatal("a value is missing")
			}
			for _, tok := range resolved {
				if tok.kind == variable {
					t.Fatalf("%q is left", tok.text)
				}
			}
			if version == version2008 && len(v) > 0 {
				t.Fatalf("variables in %q", text)
			}
		}
	})
}

// FuzzRegoInput asks both speeds about whatever a client may send and be: they
// never fail, and say the same.
func FuzzRegoInput(f *testing.F) {
	rules := mustRules(f)
	var documents []*document
	for i, text := range []string{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:Publish","iot:Connect"],"Resource":["arn:aws:iot:*:*:topic/${iot:ClientId}/${iot:Connection.Thing.Attributes[line]}*","arn:aws:iot:*:*:client/*"]},{"Effect":"Deny","Action":"*","NotResource":"arn:aws:iot:*:*:*/${iot:Certificate.Subject.CommonName}*"}]}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":{"ArnLike":{"iot:LastWillTopic":"arn:aws:iot:*:*:topic/${iot:ClientId}"},"StringLike":{"iot:ClientId":"*${aws:SourceIp}*"},"ForAnyValue:StringNotEquals":{"iot:ConnectAttributes":"x"}}}}`,
	} {
		d, faults := parseDocument(string(rune('a'+i)), "a", []byte(text), corpusGateway)
		if d == nil {
			f.Fatal(faults)
		}
		documents = append(documents, d)
	}
	set := rules.compile(f, documents, corpusGateway)
	f.Add("iot:Publish", "a/b", "a", "b", "w", "10.1.2.3", true)
	f.Add("iot:Connect", "${iot:ClientId}", "*", "?", "", "::1", false)
	f.Fuzz(func(t *testing.T, action, name, clientID, fact, will, source string, http bool) {
		if !validText(action, name, clientID, fact, will, source) || len(name) > 1000 {
			t.Skip("too long, or not UTF-8: refused before it gets here")
		}
		s := session{
			clientID: clientID, http: http, thing: clientID, attached: true, attribute: map[string]string{"line": fact},
			certificate: &certificateFacts{id: fact, subject: map[string][]string{"CommonName": {fact, will}}}, sourceIP: source,
		}
		r := &request{action: action, kind: "topic/", name: name, attributes: []string{fact}, hasWill: will != "", willTopic: will, source: source, clock: func() time.Time { return fixed }}
		plain := rules.decide(t, set.statements, corpusGateway, s, []*request{r})[0]
		fast := verdictOf(compileFor(t, set.holdings(rules), documents, corpusGateway, s)[0].decide(r))
		if plain != fast {
			t.Fatalf("compiled %v, Rego %v", fast, plain)
		}
	})
}

// FuzzSiteRules: whatever is in an operator's file is refused with a place or
// compiled; what is compiled answers.
func FuzzSiteRules(f *testing.F) {
	f.Add(ownRules)
	f.Add("package ebbgate.site\n\ndeny contains x if some x in input.principal.policies")
	f.Add("package ebbgate.site.parts\n\na := 1")
	f.Add("package ebbgate.site\n\ndeny contains 1")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			t.Skip("too long for this target to be quick")
		}
		rules, faults := newSiteRules(t.Context(), map[string][]byte{"own.rego": []byte(text)}, SiteOptions{Timeout: 20 * time.Millisecond}, func() time.Time { return fixed })
		if (rules == nil) == (len(faults) == 0) {
			t.Fatalf("%v %v", rules, faults)
		}
		for _, fault := range faults {
			if fault.File == "" || fault.Text == "" || fault.Remedy == "" || strings.Contains(fault.Error(), "\n") {
				t.Errorf("%+v", fault)
			}
		}
		if rules != nil {
			rules.ask(t.Context(), map[string]any{"client_id": "a"}, &request{action: "iot:Publish", kind: "topic/", name: "a"})
		}
	})
}

// FuzzRegistryText: a registry is read or refused, each fault with its place.
func FuzzRegistryText(f *testing.F) {
	f.Add("things: {a: {type: t, attributes: {x: 1}, groups: [g], certificates: [" + strings.Repeat("0", 64) + "], policies: [p]}}\ngroups: {g: {parent: h}, h: {}}")
	f.Add("users: {u: {thing: a}}\nthings: {a: }\n")
	f.Add("groups: {a: {parent: b}, b: {parent: a}}")
	f.Fuzz(func(t *testing.T, text string) {
		r, faults := parseRegistry("things.yaml", []byte(text), map[string]*document{"p": {name: "p"}}, func(string) (string, error) { return strings.Repeat("a", 64), nil })
		if (r == nil) == (len(faults) == 0) {
			t.Fatalf("%v %v", r, faults)
		}
		if r == nil {
			return
		}
		for name, thing := range r.things {
			r.groupPolicies(thing, name) // ends, whatever the parents
		}
	})
}
