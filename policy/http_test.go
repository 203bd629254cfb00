package policy

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// httpPolicy is a document of somebody who speaks HTTP: the condition and the
// resources of AWS's direct messages, and the reads of retained messages.
const httpPolicy = `{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "iot:SendDirectMessage", "Resource": "arn:aws:iot:us-east-1:123456789012:client/press-*",
   "Condition": {"StringLike": {"iot:Topic": ["cmd/*", "${iot:CertificateId}/x"]}}},
  {"Effect": "Deny", "Action": "iot:SendDirectMessage", "Resource": "*", "Condition": {"StringEquals": {"iot:Topic": "cmd/stop"}}},
  {"Effect": "Allow", "Action": "iot:Publish", "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/dt/${iot:ClientId}", "arn:aws:iot:us-east-1:123456789012:topic/in/*"]},
  {"Effect": "Allow", "Action": ["iot:GetRetainedMessage"], "Resource": "arn:aws:iot:us-east-1:123456789012:topic/state/*"},
  {"Effect": "Allow", "Action": ["iot:ListRetainedMessages"], "Resource": "*"},
  {"Effect": "Allow", "Action": ["iot:DeleteConnection", "iot:GetConnection"], "Resource": "arn:aws:iot:us-east-1:123456789012:client/press-1"}
]}`

// TestHTTPActions (B211, §2): what HTTP asks about, for a principal without a
// client id.
func TestHTTPActions(t *testing.T) {
	s := newSite(t)
	s.write(t, "policies/device.json", httpPolicy)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	p := s.press1(t, "")
	if p.Name() != p.CertificateID {
		t.Errorf("name %q", p.Name())
	}
	g, err := s.Grants(&p) // Protocol 0: HTTP
	if err != nil {
		t.Fatal(err)
	}
	direct := func(client, topic string) bridge.Request {
		return bridge.Request{Action: bridge.ActionSendDirect, Name: client, Topic: topic}
	}
	for name, c := range map[string]struct {
		request bridge.Request
		allowed bool
	}{
		"direct":                     {direct("press-2", "cmd/go"), true},
		"direct, by a variable":      {direct("press-2", p.CertificateID+"/x"), true},
		"direct, another topic":      {direct("press-2", "dt/go"), false},
		"direct, another client":     {direct("oven-1", "cmd/go"), false},
		"direct, a denied topic":     {direct("press-2", "cmd/stop"), false},
		"direct, no text":            {direct("press-2", "cmd/\xff"), false},
		"publish":                    {publish("in/a"), true},
		"publish by client id":       {publish("dt/"), false}, // iot:ClientId has no value
		"get retained":               {bridge.Request{Action: bridge.ActionGetRetained, Name: "state/a"}, true},
		"get retained, elsewhere":    {bridge.Request{Action: bridge.ActionGetRetained, Name: "other"}, false},
		"list retained":              {bridge.Request{Action: bridge.ActionListRetained}, true},
		"delete connection":          {bridge.Request{Action: bridge.ActionDeleteConnection, Name: "press-1"}, true},
		"delete another's":           {bridge.Request{Action: bridge.ActionDeleteConnection, Name: "press-2"}, false},
		"get connection":             {bridge.Request{Action: bridge.ActionGetConnection, Name: "press-1"}, true},
		"subscriptions, not granted": {bridge.Request{Action: bridge.ActionListSubscriptions, Name: "press-1"}, false},
	} {
		if d := g.Decide(c.request); d.Allowed != c.allowed {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestTopicAtTheDesk: the rules and what is compiled from them agree about
// iot:Topic, also where it has no value.
func TestTopicAtTheDesk(t *testing.T) {
	desk, err := NewDesk(Options{})
	if err != nil {
		t.Fatal(err)
	}
	docs := []Document{{Name: "p", Text: []byte(httpPolicy)}}
	who := Context{Protocol: "http", Certificate: &CertificateContext{ID: "c1"}}
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		question Question
		allowed  bool
	}{
		"fits":        {Question{Action: "iot:SendDirectMessage", Resource: "client/press-1", Topic: text("cmd/a")}, true},
		"by variable": {Question{Action: "iot:SendDirectMessage", Resource: "client/press-1", Topic: text("c1/x")}, true},
		"does not":    {Question{Action: "iot:SendDirectMessage", Resource: "client/press-1", Topic: text("dt/a")}, false},
		"denied":      {Question{Action: "iot:SendDirectMessage", Resource: "client/press-1", Topic: text("cmd/stop")}, false},
		"no topic":    {Question{Action: "iot:SendDirectMessage", Resource: "client/press-1"}, false},
	} {
		said, err := desk.Ask(t.Context(), docs, who, c.question)
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := desk.Compiled(t.Context(), docs, who, c.question)
		if err != nil {
			t.Fatal(err)
		}
		if (said.Outcome == Allowed) != c.allowed || compiled.Allowed != c.allowed {
			t.Errorf("%s: the rules say %s, compiled %+v", name, said.Outcome, compiled)
		}
	}
	_, err = desk.Ask(t.Context(), docs, who, Question{Action: "iot:Publish", Resource: "topic/a", Topic: text("a")})
	if err == nil || !strings.Contains(err.Error(), "leave it out") {
		t.Errorf("err %v", err)
	}
}

// TestSiteRulesOfDirectMessages: the site's own Rego sees the topic, and an
// answer about one topic is not taken for another.
func TestSiteRulesOfDirectMessages(t *testing.T) {
	s := withRules(t, `package ebbgate.site

deny contains "quiet hours" if input.topic == "cmd/horn"
`)
	s.write(t, "policies/device.json", httpPolicy)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	p := s.press1(t, "")
	g, err := s.Grants(&p)
	if err != nil {
		t.Fatal(err)
	}
	for topic, allowed := range map[string]bool{"cmd/horn": false, "cmd/lamp": true} {
		if d := g.Decide(bridge.Request{Action: bridge.ActionSendDirect, Name: "press-2", Topic: topic}); d.Allowed != allowed {
			t.Errorf("%s: %+v", topic, d)
		}
	}
}
