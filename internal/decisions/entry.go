package decisions

import (
	"cmp"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The outcomes, in AWS's words.
const (
	Allowed      = "ALLOWED"
	ExplicitDeny = "EXPLICIT_DENY"
	ImplicitDeny = "IMPLICIT_DENY"
)

// Subject is who asked what. It holds no payload, password or key.
type Subject struct {
	ClientID  string `json:"client_id"`
	Thing     string `json:"thing,omitempty"`
	Principal string `json:"principal,omitempty"` // certificate id, or the user's name
	Action    string `json:"action"`
	Resource  string `json:"resource"`        // as in an ARN: "topic/a/b"
	Share     string `json:"share,omitempty"` // ShareName of the subscription, for iot:Receive
	WillTopic string `json:"will_topic,omitempty"`
	Topic     string `json:"topic,omitempty"` // of a direct message
}

// Verdict is what a policy answered.
type Verdict struct {
	Outcome   string   `json:"outcome"` // see [Allowed] and its like
	Policy    string   `json:"policy,omitempty"`
	Statement *int     `json:"statement,omitempty"` // index in the policy
	Reason    string   `json:"reason,omitempty"`
	Missing   []string `json:"missingContextValues,omitempty"`
}

// Entry is one decision of the log.
type Entry struct {
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	Subject
	Verdict
}

func (x *record) entry() Entry {
	return Entry{Number: x.number, Time: x.at.UTC(), Subject: x.who.asks(&x.ask), Verdict: verdictOf(x.answer)}
}

func (w subject) asks(r *bridge.Request) Subject {
	s := Subject{ClientID: w.client, Thing: w.thing, Principal: w.name, Action: string(r.Action), Resource: resource(r), Share: r.Share, Topic: r.Topic}
	if r.Will {
		s.WillTopic = r.WillTopic
	}
	return s
}

// resource is what the request is about, as it stands behind the fifth colon of
// an ARN.
func resource(r *bridge.Request) string {
	switch r.Action {
	case bridge.ActionConnect, bridge.ActionDeleteConnection, bridge.ActionGetConnection, bridge.ActionListSubscriptions, bridge.ActionSendDirect:
		return "client/" + r.Name
	case bridge.ActionListRetained:
		return "*"
	case bridge.ActionSubscribe:
		return "topicfilter/" + r.Name
	default:
		return "topic/" + r.Name
	}
}

func verdictOf(d bridge.Decision) Verdict {
	v := Verdict{Outcome: ImplicitDeny, Policy: d.Policy, Reason: d.Reason, Missing: d.Missing}
	switch {
	case d.Allowed:
		v.Outcome = Allowed
	case d.Explicit:
		v.Outcome = ExplicitDeny
	}
	if d.Policy != "" {
		index := d.Index
		v.Statement = &index
	}
	return v
}

// Filter says which decisions a reader wants.
type Filter struct {
	Denied bool   // none that was allowed
	Client string // of this client id only, over HTTP of this certificate id or user; empty: of all
	Action string // of this action only, "iot:Publish" or "Publish"; empty: all
}

func (f *Filter) wants(x *record) bool {
	if f.Denied && x.answer.Allowed || f.Client != "" && f.Client != cmp.Or(x.who.client, x.who.name) {
		return false
	}
	return f.Action == "" || strings.EqualFold(strings.TrimPrefix(string(x.ask.Action), "iot:"), strings.TrimPrefix(f.Action, "iot:"))
}
