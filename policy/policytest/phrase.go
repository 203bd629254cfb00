package policytest

import (
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// connecting is what a CONNECT brings beside the client id.
type connecting struct {
	persistent bool
	will       string
	hasWill    bool
	retain     bool // the will is retained
	fire       bool // the will's topic is asked when it fires only
}

// attributes are the values of iot:ConnectAttributes.
func (c connecting) attributes() []string {
	var out []string
	if c.persistent {
		out = append(out, "PersistentConnect")
	}
	if c.hasWill {
		out = append(out, "LastWill")
	}
	return out
}

// phraseError says why a phrase is none, and what to write.
type phraseError struct{ text, remedy string }

func (e *phraseError) Error() string { return e.text + "; " + e.remedy }

// phrase turns "publish a/b" into the questions that the gateway asks then.
// All of them have to be allowed for the client to succeed.
//
//	connect
//	publish TOPIC            publish retained TOPIC
//	subscribe FILTER         subscribe $share/GROUP/FILTER
//	receive TOPIC            receive $share/GROUP/TOPIC, through such a subscription
//	iot:ACTION RESOURCE      any other action, as in iot:GetThingShadow thing/t
func phrase(text, client string, with connecting) ([]policy.Question, error) {
	verb, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	rest = strings.TrimSpace(rest)
	need := func(what string) error {
		if rest != "" {
			return nil
		}
		return &phraseError{fmt.Sprintf("%q names no %s", verb, what), fmt.Sprintf("write %s and the %s; one that begins with # or * needs the whole phrase in quotes", verb, what)}
	}
	switch strings.ToLower(verb) {
	case "connect":
		if rest != "" {
			return nil, &phraseError{fmt.Sprintf("there is %q behind connect", rest), "a client connects by its own id: name it under client, and what it asks for under with"}
		}
		return with.questions(client), nil
	case "publish":
		if topic, ok := strings.CutPrefix(rest, "retained "); ok {
			rest = strings.TrimSpace(topic)
			return []policy.Question{question("iot:Publish", "topic/", rest), question("iot:RetainPublish", "topic/", rest)}, need("topic")
		}
		return []policy.Question{question("iot:Publish", "topic/", rest)}, need("topic")
	case "subscribe":
		return []policy.Question{question("iot:Subscribe", "topicfilter/", rest)}, need("filter")
	case "receive":
		q := question("iot:Receive", "topic/", rest)
		if shared, ok := strings.CutPrefix(rest, "$share/"); ok {
			share, topic, _ := strings.Cut(shared, "/")
			if rest = topic; share == "" {
				rest = ""
			}
			q.Share, q.Resource = share, "topic/"+topic
		}
		return []policy.Question{q}, need("topic")
	}
	if strings.Contains(verb, ":") {
		return []policy.Question{{Action: verb, Resource: rest}}, need("resource")
	}
	return nil, &phraseError{fmt.Sprintf("%q is nothing that a client does", verb), "write connect, publish, publish retained, subscribe, receive, or an action such as iot:GetThingShadow thing/t"}
}

func question(action, kind, name string) policy.Question {
	return policy.Question{Action: action, Resource: kind + name}
}

// questions are those of a CONNECT: the connection itself, and the will's
// message unless that is asked when it fires only.
func (c connecting) questions(client string) []policy.Question {
	q := question("iot:Connect", "client/", client)
	q.ConnectAttributes = c.attributes()
	if !c.hasWill {
		return []policy.Question{q}
	}
	q.LastWillTopic = &c.will
	out := []policy.Question{q}
	if !c.fire {
		out = append(out, question("iot:Publish", "topic/", c.will))
		if c.retain {
			out = append(out, question("iot:RetainPublish", "topic/", c.will))
		}
	}
	return out
}
