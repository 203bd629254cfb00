package account

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

// decideLike lets the cloud decide by our own engine, so that every answer is
// equal unless the test changes one: what is tested is what is asked.
func (c *cloud) decideLike(t *testing.T, change func(in testAuthorization, action, resource string) string) {
	desk, err := policy.NewDesk(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.decide = func(in testAuthorization, action, resource string) map[string]any {
		names := slices.Clone(in.Add)
		x := policy.Context{ClientID: in.ClientID}
		if id, ok := strings.CutPrefix(in.Principal, arnRoot+"cert/"); ok {
			for name, p := range c.policies {
				if slices.Contains(p.targets, in.Principal) && !slices.Contains(in.Skip, name) {
					names = append(names, name)
				}
			}
			for name, thing := range c.things {
				kind := thing.principals[in.Principal]
				if kind == "EXCLUSIVE_THING" || kind != "" && name == in.ClientID {
					x.ThingName, x.ThingAttached, x.ThingType, x.ThingAttributes, x.ThingExclusive = name, true, thing.kind, thing.attributes, kind == "EXCLUSIVE_THING"
				}
			}
			x.Certificate = &policy.CertificateContext{ID: id, Subject: map[string][]string{"CommonName": {"press-1"}}}
		}
		slices.Sort(names)
		var docs []policy.Document
		for _, name := range slices.Compact(names) {
			p := c.policies[name]
			docs = append(docs, policy.Document{Name: name, Text: []byte(p.versions[len(p.versions)-1])})
		}
		action = map[string]string{"CONNECT": "iot:Connect", "PUBLISH": "iot:Publish", "RECEIVE": "iot:Receive", "SUBSCRIBE": "iot:Subscribe"}[action]
		a, err := desk.Ask(t.Context(), docs, x, policy.Question{Action: action, Resource: resource})
		if err != nil {
			t.Error(err)
		}
		if change != nil {
			if other := change(in, action, resource); other != "" {
				a.Outcome = other
			}
		}
		out := map[string]any{"authDecision": a.Outcome, "missingContextValues": a.Missing}
		var by []map[string]string
		for _, s := range append(slices.Clone(a.Allowing), a.Denying...) {
			by = append(by, map[string]string{"policyName": s.Policy, "policyArn": arnRoot + "policy/" + s.Policy})
		}
		switch a.Outcome {
		case policy.Allowed:
			out["allowed"] = map[string]any{"policies": by}
		case policy.ExplicitDeny:
			out["denied"] = map[string]any{"explicitDeny": map[string]any{"policies": by}}
		default:
			out["denied"] = map[string]any{"implicitDeny": map[string]any{"policies": by}}
		}
		return out
	}
}

// TestVerifyThings asks as the things of a pulled registry would, with all
// that their certificates, groups and attributes bring.
func TestVerifyThings(t *testing.T) {
	c := plant(t)
	for _, k := range c.certificates {
		k.status = "ACTIVE"
	}
	c.policies["names"] = &cloudPolicy{versions: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Pub*","Resource":["arn:aws:iot:eu-central-1:123456789012:topic/by/${iot:Certificate.Subject.CommonName}/${iot:Connection.Thing.Attributes[line]}","arn:aws:iot:us-east-1:123456789012:topic/elsewhere"]}}`}, targets: c.policies["device"].targets}
	c.decideLike(t, nil)
	a := c.open(t, Options{Parallel: 3})
	dir := t.TempDir()
	mustPull(t, a, PullOptions{Out: dir})
	o := VerifyOptions{Policies: filepath.Join(dir, "policies"), Things: filepath.Join(dir, "things.yaml")}
	v, err := a.Verify(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if v.Asked < 20 || len(v.Differences) > 0 || len(v.Skipped) > 0 || v.Account != owner {
		t.Errorf("%d asked, differences %+v, skipped %+v", v.Asked, v.Differences, v.Skipped)
	}

	// AWS says something else about one kind of question: it is shown, with
	// who asked and why each side decided as it did.
	c.decideLike(t, func(in testAuthorization, action, resource string) string {
		if in.ClientID == "press-1" && strings.HasSuffix(resource, "topic/dt/press-1/x") && action == "iot:Publish" {
			return policy.ImplicitDeny
		}
		return ""
	})
	v, err = a.Verify(t.Context(), o)
	if err != nil || len(v.Differences) != 1 {
		t.Fatal(err, v)
	}
	d := v.Differences[0]
	if d.Here != policy.Allowed || d.AWS != policy.ImplicitDeny || d.ClientID != "press-1" || d.Resource != "topic/dt/press-1/x" || d.Name != "thing press-1" ||
		!slices.Equal(d.HereBy, []string{"Statement[1] of policy device"}) || !strings.HasPrefix(d.Principal, arnRoot+"cert/") || !slices.Equal(d.Policies, []string{"device", "names", "no-secrets"}) {
		t.Errorf("%+v", d)
	}

	// The account's document is another one than ours.
	c.policies["no-secrets"].versions = []string{allowAll}
	o.Limit = 5
	v, err = a.Verify(t.Context(), o)
	if err != nil || v.Asked != 5 || v.Left == 0 || len(v.Notes) != 1 {
		t.Fatal(err, v)
	}
	mustContain(t, v.Notes[0].Subject+v.Notes[0].Text, `policy "no-secrets"`, "pull again")
}

// TestVerifyDocuments asks about documents without a registry, in batches of
// at most ten; hostile names are asked by AWS's, and one that AWS does not
// have is left out with the reason.
func TestVerifyDocuments(t *testing.T) {
	c := newCloud(t)
	var resources []string
	for i := range 12 {
		resources = append(resources, fmt.Sprintf(`"arn:aws:iot:eu-central-1:123456789012:topic/t%d/?/*"`, i))
	}
	c.policies["Many"] = &cloudPolicy{versions: []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:Publish","iot:Connect"],"Resource":[` + strings.Join(resources, ",") + `,"arn:aws:iot:eu-central-1:123456789012:client/c-*"]}]}`}}
	c.policies["many"] = &cloudPolicy{versions: []string{denySome}}
	c.decideLike(t, nil)
	a := c.open(t, Options{})
	dir := t.TempDir()
	mustPull(t, a, PullOptions{Out: dir, Only: OnlyPolicies})
	write(t, dir, map[string]string{"policies/ours.json": allowAll})
	clear(c.calls)
	v, err := a.Verify(t.Context(), VerifyOptions{Policies: filepath.Join(dir, "policies")})
	if err != nil {
		t.Fatal(err)
	}
	if v.Asked < 36 || len(v.Differences) > 0 || c.calls["TestAuthorization"] >= v.Asked/3 {
		t.Errorf("%d asked in %d calls: %+v", v.Asked, c.calls["TestAuthorization"], v.Differences)
	}
	if len(v.Skipped) == 0 || v.Skipped[0].Why != `policy "ours" is not in the account` {
		t.Errorf("skipped %+v", v.Skipped)
	}

	// One question of a batch that AWS does not take leaves the others.
	bad := func(r *http.Request) bool { return r.ContentLength > 0 && strings.Contains(peek(t, r), "t3/y/x-not") }
	c.before = func(call string, r *http.Request) (string, int) {
		if call == "TestAuthorization" && bad(r) {
			return "InvalidRequestException", 400
		}
		return "", 0
	}
	again, err := a.Verify(t.Context(), VerifyOptions{Policies: filepath.Join(dir, "policies")})
	if err != nil || again.Asked != v.Asked-1 || len(again.Skipped) != len(v.Skipped)+1 {
		t.Fatal(err, again)
	}
	mustContain(t, again.Skipped[len(again.Skipped)-1].Why, "AWS does not take the question: no TestAuthorization")
}

// TestVerifyCases asks the cases that can be asked, and says of each other one
// why not.
func TestVerifyCases(t *testing.T) {
	c := plant(t)
	c.decideLike(t, nil)
	a := c.open(t, Options{})
	dir := t.TempDir()
	mustPull(t, a, PullOptions{Out: dir})
	id := ""
	for k, v := range c.certificates {
		if v.status == "ACTIVE" {
			id = k
		}
	}
	docs := func(texts ...string) (out []policy.Document) {
		for i, text := range texts {
			out = append(out, policy.Document{Name: fmt.Sprint("policy ", i), Text: []byte(text)})
		}
		return out
	}
	grouped := docs(byThing, allowAll)
	grouped[1].Target = policy.TargetThingGroup
	publish := func(resource string) []policy.Question {
		return []policy.Question{{Action: "iot:Publish", Resource: resource}}
	}
	will := "w"
	v, err := a.Verify(t.Context(), VerifyOptions{Policies: filepath.Join(dir, "policies"), Things: filepath.Join(dir, "things.yaml"), Cases: []Case{
		{"asked", docs(byThing, "\n"+denySome), policy.Context{ClientID: "a"}, []policy.Question{{Action: "iot:subscribe", Resource: "topicfilter/cmd/a/#"}, {Action: "iot:Publish", Resource: "topic/secret/a"}}},
		{"thing", docs(byThing), policy.Context{ClientID: "press-1", ThingName: "press-1", ThingAttached: true, ThingExclusive: true, Certificate: &policy.CertificateContext{ID: id}}, publish(arnRoot + "topic/dt/press-1/x")},
		{"group", grouped, policy.Context{ClientID: "a"}, publish("topic/secret/a")},
		{"will", docs(byThing), policy.Context{ClientID: "a"}, []policy.Question{{Action: "iot:Connect", Resource: "client/a", LastWillTopic: &will}}},
		{"retain", docs(byThing), policy.Context{ClientID: "a"}, []policy.Question{{Action: "iot:RetainPublish", Resource: "topic/a"}}},
		{"unknown", docs(allowAll), policy.Context{ClientID: "a"}, publish("topic/a")},
		{"address", docs(byThing), policy.Context{ClientID: "a", SourceIP: "10.0.0.1"}, publish("topic/a")},
		{"stranger", docs(byThing), policy.Context{ClientID: "a", ThingName: "a", ThingAttached: true}, publish("topic/a")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if v.Asked != 4 || len(v.Differences) > 0 {
		t.Errorf("%d asked: %+v", v.Asked, v.Differences)
	}
	want := map[string]string{"will": "a will", "retain": "the action iot:RetainPublish", "unknown": "its document 1 is not one of those in", "address": "a source address", "stranger": "a thing or certificate that is not in the account"}
	for _, s := range v.Skipped {
		if want[s.Name] == "" || !strings.Contains(s.Why, want[s.Name]) {
			t.Errorf("%+v", s)
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("not skipped: %v", want)
	}
}

// TestVerifyRefused names the IAM action, and an empty account is no success.
func TestVerifyRefused(t *testing.T) {
	c := plant(t)
	c.decideLike(t, nil)
	a := c.open(t, Options{})
	dir := t.TempDir()
	mustPull(t, a, PullOptions{Out: dir})
	c.before = func(call string, _ *http.Request) (string, int) {
		if call == "TestAuthorization" {
			return "AccessDeniedException", 403
		}
		return "", 0
	}
	_, err := a.Verify(t.Context(), VerifyOptions{Policies: filepath.Join(dir, "policies")})
	if err == nil || !strings.Contains(err.Error(), "AWS denies iot:TestAuthorization to these credentials") {
		t.Error(err)
	}
	_, err = newCloud(t).open(t, Options{}).Verify(t.Context(), VerifyOptions{Policies: filepath.Join(dir, "policies")})
	if err == nil || !strings.Contains(err.Error(), "the account has no IoT policies in eu-central-1") {
		t.Error(err)
	}
}

// TestDerive shows which questions a document makes one ask.
func TestDerive(t *testing.T) {
	about := client{id: "t1", values: fleetThing{Type: "press", Attributes: map[string]string{"line": "a"}}.values("t1")}
	for resource, want := range map[string][]string{
		"topic/a/*":         {"Publish topic/a/x", "Publish topic/a/x-not", "Publish topic/a/a/b"},
		"topicfilter/a/*":   {"Subscribe topicfilter/a/x", "Subscribe topicfilter/a/x-not", "Subscribe topicfilter/a/#"},
		"topicfilter/a/+/b": {"Subscribe topicfilter/a/+/b", "Subscribe topicfilter/a/+/b-not"},
		"topic/a/#":         nil,
		"client/${iot:Connection.Thing.ThingName}":                                         {"Connect client/t1", "Connect client/t1-not"},
		"topic/${iot:Connection.Thing.Attributes[line]}/${ IOT:ClientId }/${aws:SourceIp}": {"Publish topic/a/t1/unknown", "Publish topic/a/t1/unknown-not"},
		"topic/${*}": {"Publish topic/z", "Publish topic/z-not"},
		"thing/t1":   nil,
	} {
		doc := fmt.Sprintf(`{"Statement":{"Effect":"Allow","Action":["iot:publish","iot:Sub*","IOT:CONNECT"],"Resource":%q}}`, arnRoot+resource)
		questions, err := derive([]byte(doc), about)
		if err != nil {
			t.Error(resource, err)
		}
		var got []string
		for _, q := range questions {
			got = append(got, strings.TrimPrefix(q.Action, "iot:")+" "+q.Resource)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", resource, got)
		}
	}
	all, err := derive([]byte(`{"Statement":[{"NotAction":"iot:Connect","NotResource":"*"}]}`), about)
	if err != nil || len(all) < 8 {
		t.Error(all, err)
	}
}

func TestCovers(t *testing.T) {
	for pattern, want := range map[string]bool{
		"iot:publish": true, "iot:pub*": true, "*": true, "iot:*": true, "i?t:*sh": true, "*ish": true, "iot:publish*": true, strings.Repeat("*", 500): true,
		"iot:publis": false, "": false, "iot:publish?": false, "iot:sub*": false, strings.Repeat("*i", 200) + "x": false,
	} {
		if covers(pattern, "iot:publish") != want {
			t.Errorf("%.20q is %v", pattern, !want)
		}
	}
}

// FuzzDerive holds the maker of questions to ending, whatever the document.
func FuzzDerive(f *testing.F) {
	f.Add([]byte(byThing), "t1")
	f.Add([]byte(`{"Statement":{"Action":"*","Resource":"arn:aws:iot:::topic/${a"}}`), "*")
	f.Fuzz(func(t *testing.T, doc []byte, id string) {
		questions, err := derive(doc, client{id: id, values: map[string]string{"iot:clientid": id}})
		for _, q := range questions {
			if err != nil || !strings.Contains(q.Resource, "/") {
				t.Error(q, err)
			}
		}
	})
}
