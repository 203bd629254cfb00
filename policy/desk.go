package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Document is one policy document as AWS writes it.
type Document struct {
	Name   string // of the policy; faults call it the file
	Text   []byte
	Target string // [TargetCertificate] or [TargetThingGroup]; empty is the former
}

// What a document is attached to. A thing group's policies apply only to the
// client whose id is the thing's name.
const (
	TargetCertificate = "certificate"
	TargetThingGroup  = "thinggroup"
)

// Question is one request to decide.
type Question struct {
	Action            string   `json:"action"`
	Resource          string   `json:"resource"` // a whole ARN, or the short form "topic/a/b", or "*"
	ConnectAttributes []string `json:"connect_attributes,omitempty"`
	LastWillTopic     *string  `json:"last_will_topic,omitempty"` // the plain topic; nil without a will
	Topic             *string  `json:"topic,omitempty"`           // of iot:SendDirectMessage: the message's; nil leaves iot:Topic without a value
	Share             string   `json:"share,omitempty"`           // of iot:Receive: the ShareName of the subscription it is for
}

// Desk decides questions about any documents and any client, away from the
// gateway: for tests, explanations and comparisons. It has no state but what
// is compiled, and is safe for concurrent use.
type Desk struct {
	gateway gateway
	rules   *rules
	now     func() time.Time
	own     *OwnRules // nil: the operator has none
}

// NewDesk is a desk of the gateway's rules. Of the options it uses what the ARNs
// of short questions are made of and the switches; it opens no file.
func NewDesk(opts Options) (*Desk, error) {
	if err := opts.problems(); err != nil {
		return nil, err
	}
	rules, err := embeddedRules()
	if err != nil {
		return nil, err
	}
	return &Desk{gateway: opts.gateway(), rules: rules, now: time.Now}, nil
}

// Ask lets the rules decide a question, with reasons. A document that is wrong
// is an error of type [Faults], whether it would apply or not: what cannot be
// read could be a Deny. Without a current_time in c the clock's time counts.
//
// A whole ARN in q is taken at its word: its partition, region and account are
// compared with those in the documents. A short form is one of the gateway's
// own ARNs, of which only what the options set is compared.
func (d *Desk) Ask(ctx context.Context, docs []Document, c Context, q Question) (Answer, error) {
	in, err := d.prepare(docs, c, q)
	if err != nil {
		return Answer{}, err
	}
	said, err := d.rules.explanation(ctx, in)
	if err == nil && said.Outcome == Allowed {
		said.narrow(d.denied(ctx, in))
	}
	return said, err
}

// Compiled decides a question the way of the gateway's packets: what the
// client holds is compiled, and the request matched against that. It says the
// same as Ask; that it does is tested, and a tester may compare both.
func (d *Desk) Compiled(ctx context.Context, docs []Document, c Context, q Question) (bridge.Decision, error) {
	in, err := d.prepare(docs, c, q)
	if err != nil {
		return bridge.Decision{}, err
	}
	h, err := d.rules.holdings(ctx, in.documents, in.gateway)
	if err != nil {
		return bridge.Decision{}, err
	}
	var names []string
	var used uses
	for _, document := range in.documents {
		names = append(names, document.name)
		used = used.and(document.uses)
	}
	held, err := h.ask(ctx, []holder{{in.session.project(used), names}})
	if err != nil {
		return bridge.Decision{}, err
	}
	p, err := newProgram(in.gateway, in.documents, held[0])
	if err != nil {
		return bridge.Decision{}, err
	}
	return d.narrow(ctx, in, p.decide(&in.request)), nil
}

// narrow takes away what the operator's own rules deny.
func (d *Desk) narrow(ctx context.Context, in *inquiry, said bridge.Decision) bridge.Decision {
	if !said.Allowed {
		return said
	}
	return d.denied(ctx, in).decision(said)
}

// inquiry is a question with everything that it is decided by.
type inquiry struct {
	gateway   gateway
	documents []*document
	session   session
	request   request
	principal map[string]any // what the operator's own rules are told; nil without such rules
}

func (d *Desk) prepare(docs []Document, c Context, q Question) (*inquiry, error) {
	if !validText(q.Action, q.Resource, q.Share) || !validText(q.ConnectAttributes...) || q.LastWillTopic != nil && !validText(*q.LastWillTopic) || q.Topic != nil && !validText(*q.Topic) {
		return nil, errName
	}
	g, kind, name, err := d.resource(q)
	if err != nil {
		return nil, err
	}
	if q.Share != "" && (q.Action != string(bridge.ActionReceive) || kind != "topic/") {
		return nil, errors.New("a share group is for iot:Receive on topic/…; leave it out")
	}
	a := &inquiry{gateway: g}
	if a.session, err = c.session(); err != nil {
		return nil, err
	}
	now, err := c.clock(d.now)
	if err != nil {
		return nil, err
	}
	a.request = request{
		action: q.Action, kind: kind, name: name,
		share:      q.Share,
		attributes: q.ConnectAttributes, source: a.session.sourceIP, clock: now,
	}
	if q.Topic != nil {
		if bridge.Action(q.Action) != bridge.ActionSendDirect {
			return nil, errors.New("a topic beside the resource is for iot:SendDirectMessage; leave it out")
		}
		a.request.topic = q.Topic
	}
	if q.LastWillTopic != nil {
		a.request.hasWill, a.request.willTopic = true, *q.LastWillTopic
	}
	var faults Faults
	seen := map[string]bool{}
	for i, doc := range docs {
		if doc.Target != "" && doc.Target != TargetCertificate && doc.Target != TargetThingGroup {
			return nil, fmt.Errorf("policy %s: there is no target %q; write %s or %s", doc.Name, doc.Target, TargetCertificate, TargetThingGroup)
		}
		label := doc.Name
		if label == "" {
			label = fmt.Sprintf("policy %d", i+1)
		}
		if seen[label] {
			return nil, fmt.Errorf("two policies are called %q; give each a name of its own", label)
		}
		seen[label] = true
		parsed, wrong := parseDocument(label, label, doc.Text, g)
		faults = append(faults, wrong...)
		if doc.Target == TargetThingGroup && !c.InGroups() {
			continue
		}
		a.documents = append(a.documents, parsed)
	}
	if d.own != nil {
		a.principal = c.ownInput(a.session, a.documents)
	}
	return a, faults.orNil()
}

// resource takes the resource of a question apart and finds whose ARN it is.
func (d *Desk) resource(q Question) (g gateway, kind, name string, err error) {
	if q.Action == "" {
		return g, "", "", errors.New("the question has no action; name one such as iot:Publish")
	}
	g, name = d.gateway, q.Resource
	if name == "*" {
		return g, "*", "", nil
	}
	if fields := strings.SplitN(name, ":", 6); len(fields) == 6 && fields[0] == "arn" {
		if fields[2] != "iot" {
			return g, "", "", fmt.Errorf("%q is no ARN of AWS IoT; its third field is \"iot\"", shorten(name))
		}
		g, name = g.of(fields[1], fields[3], fields[4]), fields[5]
	} else if !shortForm(name) {
		return g, "", "", fmt.Errorf("%q is no resource; write a whole ARN, or %s followed by the name", shorten(name), strings.Join(resourceKinds, ", "))
	}
	if k := kindOf(bridge.Action(q.Action)); k != "" && strings.HasPrefix(name, k) {
		return g, k, strings.TrimPrefix(name, k), nil
	}
	return g, "", name, nil
}

// resourceKinds are the kinds of resource that a data-plane action may have.
var resourceKinds = []string{"client/", "topic/", "topicfilter/", "thing/", "rolealias/"}

func shortForm(text string) bool {
	for _, kind := range resourceKinds {
		if strings.HasPrefix(text, kind) {
			return true
		}
	}
	return false
}

// Explain is the decision about a live principal's request, with reasons. Its
// error says why the principal may do nothing at all.
func (e *Engine) Explain(ctx context.Context, p *bridge.Principal, r bridge.Request) (Answer, error) {
	s := e.current.Load()
	st, err := s.stand(p)
	if err != nil {
		return Answer{}, bridge.Errorf("authorize", bridge.NotAuthorized, "%w", err)
	}
	a := &inquiry{gateway: s.gateway, session: st.session}
	if a.documents, _, err = s.attached(st.policies); err != nil {
		return Answer{}, bridge.Errorf("authorize", bridge.NotAuthorized, "%w", err)
	}
	a.request, err = e.request(&r, st.session.sourceIP)
	if err != nil {
		return Answer{}, bridge.Errorf("authorize", bridge.NotAuthorized, "%w", err)
	}
	said, err := e.rules.explanation(ctx, a)
	if err != nil || s.site == nil || said.Outcome != Allowed {
		return said, err
	}
	said.narrow(s.site.ask(ctx, sitePrincipal(st, p), &a.request))
	return said, nil
}
