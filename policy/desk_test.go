package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

func newDesk(t testing.TB, opts Options) *Desk {
	t.Helper()
	d, err := NewDesk(opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// question makes what the desk is asked of a case.
func (c *caseRow) question(t testing.TB) ([]Document, Context, Question) {
	t.Helper()
	var docs []Document
	for i, raw := range c.Policies {
		d := Document{Name: fmt.Sprintf("p%d", i), Text: raw}
		var text string
		if json.Unmarshal(raw, &text) == nil {
			d.Text = []byte(text)
		}
		if i < len(c.Context.PolicyTargets) {
			d.Target = c.Context.PolicyTargets[i]
		}
		docs = append(docs, d)
	}
	var x Context
	again, err := json.Marshal(c.raw.Context)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &x); err != nil {
		t.Fatal(err)
	}
	return docs, x, Question{Action: c.Request.Action, Resource: c.Request.Resource, ConnectAttributes: c.Request.ConnectAttributes, LastWillTopic: c.Request.LastWillTopic}
}

var outcomes = map[string]string{"allow": Allowed, "explicit_deny": ExplicitDeny, "implicit_deny": ImplicitDeny}

// TestDesk asks all cases at a desk that compares nothing of its own: a whole
// ARN is taken at its word. Its reasons fit its outcome.
func TestDesk(t *testing.T) {
	d := newDesk(t, Options{})
	for _, path := range []string{"testdata/policy.jsonl", "testdata/policy_uncertain.jsonl", "testdata/own.jsonl", "testdata/spec.jsonl"} {
		for _, row := range sampled(readCases(t, path)) {
			t.Run(row.ID, func(t *testing.T) {
				docs, x, q := row.question(t)
				a, err := d.Ask(t.Context(), docs, x, q)
				fast, fastErr := d.Compiled(t.Context(), docs, x, q)
				if row.Expect == "invalid_policy" {
					if _, ok := errors.AsType[Faults](err); !ok || fastErr == nil {
						t.Fatalf("%v %v", err, fastErr)
					}
					return
				}
				if err != nil || fastErr != nil {
					t.Fatal(err, fastErr)
				}
				if a.Outcome != outcomes[row.Expect] || outcomes[verdictOf(fast).outcome] != a.Outcome {
					t.Errorf("%s, compiled %+v, want %s: %s", a.Outcome, fast, row.Expect, row.Why)
				}
				checkReasons(t, a)
			})
		}
	}
}

// checkReasons: an answer's parts tell one story.
func checkReasons(t *testing.T, a Answer) {
	t.Helper()
	want := ImplicitDeny
	switch {
	case len(a.Denying) > 0:
		want = ExplicitDeny
	case len(a.Allowing) > 0:
		want = Allowed
	}
	if a.Outcome != want {
		t.Errorf("%s with %v and %v", a.Outcome, a.Allowing, a.Denying)
	}
	for _, s := range a.Statements {
		holds := s.Action.Holds && s.Resource.Holds
		for _, c := range s.Conditions {
			holds = holds && c.Holds
		}
		if s.Applies != holds || s.Applies != (s.WhyNot == "") || s.Line == 0 {
			t.Errorf("%+v", s)
		}
		for _, l := range []ListTrace{s.Action, s.Resource} {
			if l.Holds == ((l.Matched() != nil) == l.Negated) {
				t.Errorf("%+v", l)
			}
		}
	}
}

const example = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Own", "Effect": "Allow", "Action": "iot:Publish",
     "Resource": ["arn:aws:iot:*:*:topic/dt/${iot:ClientId}/*", "arn:aws:iot:*:*:topic/x/${iot:CertificateId}"],
     "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
    {"Effect": "Deny", "NotAction": "iot:*", "Resource": "*"}
  ]
}`

func TestExplanation(t *testing.T) {
	d := newDesk(t, Options{})
	docs := []Document{{Name: "device", Text: []byte(example)}}
	ask := func(x Context, resource string) Answer {
		t.Helper()
		a, err := d.Ask(t.Context(), docs, x, Question{Action: "iot:Publish", Resource: resource})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask(Context{ClientID: "d1", SourceIP: "10.1.2.3"}, "topic/dt/d1/t")
	own := StatementRef{"device", 0, "Own"}
	if a.Outcome != Allowed || !reflect.DeepEqual(a.Allowing, []StatementRef{own}) || own.String() != "Statement[0] (Own) of policy device" {
		t.Errorf("%+v", a)
	}
	s := a.Statements[0]
	if s.Line != 4 || s.Resource.Matched().Resolved != "arn:aws:iot:*:*:topic/dt/d1/*" || s.Conditions[0].Have[0] != "10.1.2.3" {
		t.Errorf("%+v", s)
	}
	if !reflect.DeepEqual(a.Variables, map[string]string{"iot:ClientId": "d1"}) || !reflect.DeepEqual(a.Missing, []string{"iot:CertificateId"}) {
		t.Errorf("%v %v", a.Variables, a.Missing)
	}
	if why := a.Statements[1].WhyNot; why != `NotAction leaves iot:Publish out by "iot:*"` {
		t.Error(why)
	}
	for resource, c := range map[string]struct {
		x    Context
		want string
	}{
		"topic/dt/d1/t": {Context{ClientID: "d1"}, `IpAddress on aws:SourceIp wants "10.0.0.0/8"; the key has no value here`},
		"topic/dt/d2/t": {Context{ClientID: "d1", SourceIP: "10.1.2.3"}, "arn:aws:iot:*:*:topic/dt/${iot:ClientId}/*, here arn:aws:iot:*:*:topic/dt/d1/*, does not fit topic/dt/d2/t; arn:aws:iot:*:*:topic/x/${iot:CertificateId} fits nothing, because ${iot:CertificateId} has no value here"},
	} {
		a := ask(c.x, resource)
		if a.Outcome != ImplicitDeny || a.Statements[0].WhyNot != c.want {
			t.Errorf("%s: %s %s", resource, a.Outcome, a.Statements[0].WhyNot)
		}
	}
	if a := ask(Context{ClientID: "d1", SourceIP: "192.0.2.1"}, "topic/dt/d1/t"); !strings.HasSuffix(a.Statements[0].WhyNot, `; the value here is "192.0.2.1"`) {
		t.Error(a.Statements[0].WhyNot)
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	d := newDesk(t, Options{})
	ok := Document{Name: "p", Text: []byte(example)}
	for name, c := range map[string]struct {
		docs []Document
		x    Context
		q    Question
		want string
	}{
		"no action":     {nil, Context{}, Question{Resource: "topic/a"}, "has no action"},
		"no resource":   {nil, Context{}, Question{Action: "iot:Publish", Resource: "a/b"}, `"a/b" is no resource; write a whole ARN, or client/`},
		"other service": {nil, Context{}, Question{Action: "iot:Publish", Resource: "arn:aws:s3:::b"}, "is no ARN of AWS IoT"},
		"protocol":      {nil, Context{Protocol: "coap"}, Question{Action: "iot:Publish", Resource: "topic/a"}, `protocol "coap"`},
		"address":       {nil, Context{SourceIP: "here"}, Question{Action: "iot:Publish", Resource: "topic/a"}, `source_ip "here"`},
		"time":          {nil, Context{CurrentTime: "now"}, Question{Action: "iot:Publish", Resource: "topic/a"}, `current_time "now"`},
		"target":        {[]Document{{Name: "p", Text: ok.Text, Target: "role"}}, Context{}, Question{Action: "iot:Publish", Resource: "topic/a"}, `there is no target "role"`},
		"twice":         {[]Document{ok, ok}, Context{}, Question{Action: "iot:Publish", Resource: "topic/a"}, `two policies are called "p"`},
		"not UTF-8":     {[]Document{ok}, Context{ClientID: "a\xff"}, Question{Action: "iot:Publish", Resource: "topic/a"}, "not valid UTF-8"},
		"nor the topic": {[]Document{ok}, Context{}, Question{Action: "iot:Publish", Resource: "topic/a\xff"}, "not valid UTF-8"},
	} {
		if _, err := d.Ask(t.Context(), c.docs, c.x, c.q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDeskSwitches: the desk answers as a gateway with these options would.
func TestDeskSwitches(t *testing.T) {
	text := []byte(`{"Version":"2012-10-17","Statement":[
	  {"Effect":"Allow","Action":"iot:Connect","Resource":"*"},
	  {"Effect":"Allow","Action":"iot:Receive","Resource":"arn:aws:iot:*:*:topic/$share/g/*"},
	  {"Effect":"Deny","Action":"iot:Receive","Resource":"arn:aws:iot:*:*:topic/secret/*"}]}`)
	connect := Question{Action: "iot:Connect", Resource: "client/d", ConnectAttributes: []string{"PersistentConnect"}}
	shared := Question{Action: "iot:Receive", Resource: "topic/a", Share: "g"}
	secret := Question{Action: "iot:Receive", Resource: "topic/secret/a", Share: "g"}
	for _, c := range []struct {
		name, value string
		q           Question
		want        string
	}{
		{"connect_attributes_default", "all", connect, Allowed},
		{"connect_attributes_default", "none", connect, ImplicitDeny},
		{"connect_attributes_default", "none", Question{Action: "iot:Connect", Resource: "client/d"}, Allowed},
		{"share_receive", "either", shared, Allowed},
		{"share_receive", "either", secret, ExplicitDeny},
		{"share_receive", "topic", shared, ImplicitDeny},
		{"share_receive", "share", shared, Allowed},
		{"share_receive", "share", secret, Allowed},
	} {
		var o Options
		if err := o.Switches.Set(c.name, c.value); err != nil {
			t.Fatal(err)
		}
		d := newDesk(t, o)
		docs := []Document{{Name: "p", Text: text}}
		a, err := d.Ask(t.Context(), docs, Context{ClientID: "d"}, c.q)
		fast, fastErr := d.Compiled(t.Context(), docs, Context{ClientID: "d"}, c.q)
		if err != nil || fastErr != nil || a.Outcome != c.want || outcomes[verdictOf(fast).outcome] != c.want {
			t.Errorf("%s=%s %+v: %s %+v %v %v", c.name, c.value, c.q, a.Outcome, fast, err, fastErr)
		}
	}
}

// TestExplainFitsDecide: what is explained is what was decided.
func TestExplainFitsDecide(t *testing.T) {
	s := newSite(t)
	p := s.press1(t, "press-1")
	p.Protocol = 5
	g := s.grants(t, p)
	for _, r := range []bridge.Request{
		publish("dt/press-1/t"), publish("dt/press-1/bar"), publish("dt/press-2/t"),
		{Action: bridge.ActionConnect, Name: "press-1", Persistent: true, Will: true, WillTopic: "w"},
		{Action: bridge.ActionReceive, Name: "secret/x", Share: "g"},
	} {
		a, err := s.Explain(t.Context(), &p, r)
		if err != nil {
			t.Fatal(err)
		}
		if want := outcomes[verdictOf(g.Decide(r)).outcome]; a.Outcome != want {
			t.Errorf("%+v: %s, decided %s", r, a.Outcome, want)
		}
		checkReasons(t, a)
	}
	if _, err := s.Explain(t.Context(), &p, bridge.Request{Action: "iot:Nothing", Name: "a"}); err == nil {
		t.Error("an action that does not exist is explained")
	}
	if _, err := s.Explain(t.Context(), &bridge.Principal{CertificateID: "none"}, publish("a")); err == nil {
		t.Error("an unknown certificate is explained")
	}
}
