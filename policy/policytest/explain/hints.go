package explain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// Case is a decision with what it was made from.
type Case struct {
	Documents []policy.Document
	Context   policy.Context
	Question  policy.Question
	Answer    policy.Answer
	// Place says where a policy's text is read, for reports: a file, and the
	// line where the text begins in it, 0 when its lines are not the file's.
	Place func(policy string) (file string, line int)
	Notes []string // further hints, of who has asked more than this question
}

// Delivery is the question whether what a subscription asks for would be
// delivered: iot:Receive on a topic of the filter. ok is false for others.
func Delivery(q policy.Question) (receive policy.Question, ok bool) {
	is := split(q.Resource)
	if !strings.EqualFold(q.Action, "iot:Subscribe") || is.kind != "topicfilter/" {
		return receive, false
	}
	name := is.name
	if rest, share, shared := unshared(name); shared {
		name, receive.Share = rest, share
	}
	receive.Action = "iot:Receive"
	receive.Resource = "topic/" + strings.NewReplacer("+", "x", "#", "x").Replace(name)
	if is.head != "" {
		receive.Resource = is.head + ":" + receive.Resource
	}
	return receive, true
}

// Silent is the note about a subscription whose messages are not delivered.
func Silent(receive policy.Question) string {
	return fmt.Sprintf("The subscription is allowed and would stay silent: iot:Receive on %s, a topic of it, is denied. Ask about that too.", split(receive.Resource).short())
}

// Hints are what probably was meant, or overlooked, most telling first.
func Hints(c Case) []string {
	h := &hinter{Case: c, asked: split(c.Question.Resource)}
	switch c.Answer.Outcome {
	case policy.ImplicitDeny:
		h.attachment()
		for i := range c.Answer.Statements {
			if s := &c.Answer.Statements[i]; s.Effect == "Allow" && !s.Applies {
				h.statement(s)
			}
		}
		h.receive()
		h.missing()
	case policy.Allowed:
		h.escaped()
	}
	return h.out
}

type hinter struct {
	Case
	asked arn
	out   []string
}

func (h *hinter) add(format string, args ...any) {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = Brief(text)
		}
	}
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(h.out, text) && len(h.out) < 6 {
		h.out = append(h.out, text)
	}
}

// attachment looks at what is attached at all.
func (h *hinter) attachment() {
	c := h.Context
	if len(h.Documents) == 0 {
		h.add("No policy is attached to this client, and then everything is denied: attach one to its certificate or user.")
	}
	for _, d := range h.Documents {
		if d.Target == policy.TargetThingGroup && (c.ThingName == "" || c.ThingName != c.ClientID) {
			h.add("Policy %s is attached to a thing group, and group policies apply only to the client whose id is the thing's name: the client id is %q, the thing %q.", d.Name, c.ClientID, c.ThingName)
		}
		if strings.Contains(string(d.Text), "${") && !version2012.Match(d.Text) {
			h.add("Policy %s has variables but not \"Version\": \"2012-10-17\"; without it ${…} is plain text.", d.Name)
		}
	}
}

var version2012 = regexp.MustCompile(`"Version"\s*:\s*"2012-10-17"`)

// statement looks at an Allow that did not apply.
func (h *hinter) statement(s *policy.StatementTrace) {
	if s.Resource.Negated || s.Action.Negated {
		return
	}
	switch {
	case s.Action.Holds && !s.Resource.Holds:
		for _, e := range s.Resource.Elements {
			if len(e.Missing) == 0 {
				h.resource(s, e)
			}
		}
	case !s.Action.Holds && s.Resource.Holds:
		h.action(s)
	case s.Action.Holds && s.Resource.Holds:
		h.conditions(s)
	}
}

// resource looks at one resource of a statement about this very action.
func (h *hinter) resource(s *policy.StatementTrace, e policy.ElementTrace) {
	is, want := split(e.Resolved), h.asked
	name := func() string { return fmt.Sprintf("%s says %s", s.StatementRef, is.short()) }
	rest, share, shared := unshared(want.name)
	switch {
	case is.kind == want.kind && glob(is.name, want.name):
		h.add("%s, which fits %s, but of %s: region, account or partition are others than those of %s.", name(), want.short(), is.head, orGateway(want.head))
	case is.kind == want.kind && wild(is.name) && filter(is.name, want.name):
		h.add("%s. In a policy + and # are ordinary characters, which fit only themselves: to let %s through write %s%s.", name(), want.short(), is.kind, translated(is.name))
	case is.kind != want.kind && is.kind != "" && (glob(is.name, want.name) || filter(is.name, want.name)):
		h.add("%s, but %s is asked on %s: write %s%s.", name(), h.Question.Action, want.kind+"…", want.kind, translated(is.name))
	case is.kind != want.kind:
	case shared && glob(is.name, rest):
		h.add("%s, without the shared form. A shared subscription is asked with its whole text: add topicfilter/$share/%s/%s.", name(), share, is.name)
	case h.Question.Action == "iot:Subscribe" && wild(want.name) && !strings.ContainsAny(is.name, "*?") && filter(want.name, is.name):
		h.add("%s, one topic, and the client subscribes to %s, which is more: filters are compared as text, so grant topicfilter/%s, or have the client subscribe to less.", name(), want.name, want.name)
	case glob(strings.ToLower(is.name), strings.ToLower(want.name)):
		h.add("%s; %s differs in the case of letters, which counts.", name(), want.short())
	case glob(strings.TrimPrefix(is.name, "/"), strings.TrimPrefix(want.name, "/")):
		h.add("%s; %s differs by the slash at the front, which counts.", name(), want.short())
	case glob(is.name, want.name+"/"):
		h.add("%s; that needs something behind the last slash, and %s ends before it: add %s%s.", name(), want.short(), want.kind, strings.TrimSuffix(fixed(is.name), "/"))
	}
}

func orGateway(head string) string {
	if head == "" {
		return "the gateway"
	}
	return head
}

// action looks at a statement about this resource but another action.
func (h *hinter) action(s *policy.StatementTrace) {
	for _, e := range s.Action.Elements {
		switch {
		case h.Question.Action == "iot:RetainPublish" && strings.EqualFold(e.Text, "iot:Publish"):
			h.add("%s grants iot:Publish. A message with RETAIN needs iot:RetainPublish on its topic in addition.", s.StatementRef)
		case h.Question.Action == "iot:RetainPublish" && strings.EqualFold(e.Text, "iot:PublishRetain"):
			h.add("%s says iot:PublishRetain, which does not exist: the action is called iot:RetainPublish.", s.StatementRef)
		}
	}
}

// receive looks for the subscription that a refused delivery belongs to.
func (h *hinter) receive() {
	if h.Question.Action != "iot:Receive" {
		return
	}
	for i := range h.Answer.Statements {
		s := &h.Answer.Statements[i]
		subscribes := slices.ContainsFunc(s.Action.Elements, func(e policy.ElementTrace) bool { return glob(strings.ToLower(e.Text), "iot:subscribe") })
		if s.Effect != "Allow" || s.Action.Negated || s.Action.Holds || !subscribes {
			continue
		}
		for _, e := range s.Resource.Elements {
			if is := split(e.Resolved); is.kind == "topicfilter/" && (glob(is.name, h.asked.name) || filter(is.name, h.asked.name)) {
				h.add("%s grants the subscription, but nothing is delivered without iot:Receive: allow it on topic/%s.", s.StatementRef, translated(is.name))
			}
		}
	}
}

// conditions looks at a statement that only a condition kept out.
func (h *hinter) conditions(s *policy.StatementTrace) {
	for _, c := range s.Conditions {
		key := strings.ToLower(c.Key)
		switch {
		case c.Holds:
		case strings.HasPrefix(key, "iot:connection.thing."):
			h.add("%s", thing(h.Context))
		case key == "iot:connectattributes" && len(c.Have) > 0:
			h.add("The client connects with %s, and %s lists %s for iot:ConnectAttributes: have it ask for less, or list what it asks for.", strings.Join(c.Have, " and "), s.StatementRef, orNothing(c.Want))
		case key == "iot:lastwilltopic" && len(c.Have) == 0:
			h.add("%s wants a will, and the client connects without one.", s.StatementRef)
		case key == "iot:topic" && len(c.Have) == 0:
			h.add("%s wants the topic of a direct message: iot:SendDirectMessage alone has iot:Topic.", s.StatementRef)
		}
	}
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, " and ")
}

// missing explains why variables have no value.
func (h *hinter) missing() {
	for _, name := range h.Answer.Missing {
		key := strings.ToLower(name)
		switch {
		case strings.HasPrefix(key, "iot:connection.thing.attributes") && h.Context.ThingName != "" && h.Context.ThingAttached:
			h.add("${%s} has no value: the thing %s has no attribute of that name; the case of letters counts.", name, h.Context.ThingName)
		case strings.HasPrefix(key, "iot:connection.thing."):
			h.add("${%s} has no value. %s", name, thing(h.Context))
		case strings.HasPrefix(key, "iot:certificate") && h.Context.Certificate == nil:
			h.add("${%s} has no value: the client presents no certificate here.", name)
		case strings.HasPrefix(key, "iot:certificate."):
			h.add("${%s} has no value: the certificate has no such name, or one with a character that is not put in.", name)
		case strings.HasPrefix(key, "iot:thing."):
			h.add("${%s} is no variable of AWS IoT: write ${iot:Connection.Thing.%s}.", name, name[len("iot:thing."):])
		}
	}
}

// thing says why a connection has no thing.
func thing(c policy.Context) string {
	switch {
	case c.Protocol == "http":
		return "Over HTTP there is neither a client id nor a thing."
	case c.ThingName == "":
		return fmt.Sprintf("There is no thing for this connection: its client id %q must be the name of a thing that the certificate is attached to.", c.ClientID)
	case !c.ThingAttached:
		return fmt.Sprintf("The thing %s is not attached to the certificate: attach it (aws iot attach-thing-principal), or list the certificate at the thing in the registry.", c.ThingName)
	case c.ThingName != c.ClientID && !c.ThingExclusive:
		return fmt.Sprintf("The client id %q is not the name of the thing %s, so the connection has no thing: connect under the thing's name, or attach the certificate to it exclusively.", c.ClientID, c.ThingName)
	default:
		return fmt.Sprintf("The thing %s is attached, but has no such value.", c.ThingName)
	}
}

// escaped looks for a Deny that is about less than what a wildcard subscribes
// to, and so does not keep it out.
func (h *hinter) escaped() {
	if h.Question.Action != "iot:Subscribe" {
		return
	}
	name := h.asked.name
	rest, share, shared := unshared(name)
	if shared {
		name = rest
	}
	for i := range h.Answer.Statements {
		s := &h.Answer.Statements[i]
		if s.Effect != "Deny" || s.Applies || s.Action.Negated || !s.Action.Holds || s.Resource.Negated || s.Resource.Holds {
			continue
		}
		for _, e := range s.Resource.Elements {
			is := split(e.Resolved)
			switch {
			case is.kind != "topicfilter/":
			case shared && glob(is.name, name):
				h.add("%s denies %s, but not the shared form of it: deny topicfilter/$share/*/%s too. The group here is %s.", s.StatementRef, is.short(), is.name, share)
			case wild(name) && strings.HasPrefix(fixed(is.name), fixed(name)):
				h.add("%s denies %s, which does not keep %s out: a filter is compared as text. To keep the messages back deny iot:Receive on topic/%s.", s.StatementRef, is.short(), name, translated(is.name))
			}
		}
	}
}
