package account

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// askable are the actions that TestAuthorization knows, with its word for each
// and the kind of their resources.
var askable = []askableAction{
	{"iot:Connect", "CONNECT", "client/"},
	{"iot:Publish", "PUBLISH", "topic/"},
	{"iot:Receive", "RECEIVE", "topic/"},
	{"iot:Subscribe", "SUBSCRIBE", "topicfilter/"},
}

type askableAction struct{ action, kind, resource string }

// oneOrMore is a text or a list of texts, as policies have them.
type oneOrMore []string

// UnmarshalJSON takes both forms.
func (l *oneOrMore) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*l = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(l))
}

// statements is the part of a document that questions are made of. The
// document has been loaded, so it is well formed.
type statements []struct {
	Action      oneOrMore
	NotAction   oneOrMore
	Resource    oneOrMore
	NotResource oneOrMore
}

func readStatements(document []byte) (statements, error) {
	var d struct{ Statement json.RawMessage }
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, err
	}
	var list statements
	if json.Unmarshal(d.Statement, &list) == nil {
		return list, nil
	}
	list = make(statements, 1)
	return list, json.Unmarshal(d.Statement, &list[0])
}

// client is whose variables stand in for those of a document.
type client struct {
	id     string
	values map[string]string // by the variable's name in lower case
}

// derive makes questions of what a document names: for each resource and each
// action that it goes with one that it fits, one beside it, and one that
// shows what the wildcard covers. That a statement negates its list, or that
// an action is only covered by a wildcard, makes no difference to what is
// worth asking.
func derive(document []byte, c client) ([]policy.Question, error) {
	list, err := readStatements(document)
	if err != nil {
		return nil, err
	}
	var out []policy.Question
	for _, s := range list {
		for _, a := range askable {
			if len(s.Action) > 0 && !slices.ContainsFunc(s.Action, func(p string) bool { return covers(strings.ToLower(p), strings.ToLower(a.action)) }) {
				continue
			}
			for _, r := range append(slices.Clone(s.Resource), s.NotResource...) {
				for _, name := range examples(r, a.resource, a.kind, c) {
					q := policy.Question{Action: a.action, Resource: a.resource + name}
					if !slices.ContainsFunc(out, func(o policy.Question) bool { return o.Action == q.Action && o.Resource == q.Resource }) {
						out = append(out, q)
					}
				}
			}
		}
	}
	return out, nil
}

// covers matches an action's pattern, without backtracking further than to the
// last star: documents are somebody else's text.
func covers(pattern, text string) bool {
	star, mark, p := -1, 0, 0
	for t := 0; t < len(text); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// examples are names that a resource of a document makes one ask about.
func examples(resource, prefix, kind string, c client) []string {
	name := "*"
	if f := strings.SplitN(resource, ":", 6); len(f) == 6 {
		rest, ok := strings.CutPrefix(f[5], prefix)
		if !ok && !strings.HasPrefix(f[5], "*") {
			return nil // another kind of resource
		}
		if ok {
			name = rest
		}
	}
	name = fill(name, c)
	fit := strings.NewReplacer("*", "x", "?", "y").Replace(name)
	out := []string{fit, fit + "-not"}
	if strings.ContainsAny(name, "*?") {
		wide := "a/b"
		if kind == "SUBSCRIBE" && strings.HasSuffix(name, "/*") {
			wide = "#"
		}
		out = append(out, strings.NewReplacer("*", wide, "?", "y").Replace(name))
	}
	return slices.DeleteFunc(out, func(n string) bool {
		// What no client can send is not worth asking, and AWS refuses it.
		return n == "" || kind != "SUBSCRIBE" && kind != "CONNECT" && strings.ContainsAny(n, "+#") || kind == "CONNECT" && strings.ContainsAny(n, "/")
	})
}

// fill puts the client's values in. A variable without one is left to be seen
// in the name that is asked about.
func fill(text string, c client) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			b.WriteString(rest)
			return b.String()
		}
		switch value, known := c.values[strings.ToLower(strings.TrimSpace(name))]; {
		case known:
			b.WriteString(value)
		case name == "*", name == "?", name == "$":
			b.WriteString("z") // a literal of its own; any other character is a near miss
		default:
			b.WriteString("unknown")
		}
		text = after
	}
}

// values are what variables stand for when a thing connects under its name.
func (t fleetThing) values(name string) map[string]string {
	out := map[string]string{"iot:clientid": name, "iot:connection.thing.thingname": name, "iot:connection.thing.isattached": "true"}
	if t.Type != "" {
		out["iot:connection.thing.thingtypename"] = t.Type
	}
	for key, value := range t.Attributes {
		out[strings.ToLower(fmt.Sprintf("iot:Connection.Thing.Attributes[%s]", key))] = value
	}
	return out
}
