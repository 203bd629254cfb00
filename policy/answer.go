package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// The outcomes of a decision, in the words of AWS's TestAuthorization.
const (
	Allowed      = "ALLOWED"
	ExplicitDeny = "EXPLICIT_DENY"
	ImplicitDeny = "IMPLICIT_DENY"
)

// Answer is a decision with its reasons.
type Answer struct {
	Outcome    string            `json:"outcome"`              // Allowed, ExplicitDeny or ImplicitDeny
	Allowing   []StatementRef    `json:"allowing"`             // every Allow that applies
	Denying    []StatementRef    `json:"denying"`              // every Deny that applies
	Statements []StatementTrace  `json:"statements,omitempty"` // all of them, in the documents' order
	Missing    []string          `json:"missingContextValues"` // keys and variables asked for that have no value here
	Site       []string          `json:"site,omitempty"`       // why the operator's own rules deny what the documents allow
	Variables  map[string]string `json:"variables,omitempty"`  // what the documents' variables stand for
}

// narrow adds what the operator's own rules say.
func (a *Answer) narrow(own *siteAnswer) {
	if len(own.reasons) > 0 {
		a.Outcome, a.Site = ExplicitDeny, own.reasons
		a.Denying = append(a.Denying, StatementRef{Policy: SitePolicy})
	}
}

// StatementRef names a statement.
type StatementRef struct {
	Policy string `json:"policy"`
	Index  int    `json:"index"`
	Sid    string `json:"sid,omitempty"`
}

// String is "Statement[1] (Sid) of policy name".
func (r StatementRef) String() string {
	sid := ""
	if r.Sid != "" {
		sid = " (" + r.Sid + ")"
	}
	return fmt.Sprintf("Statement[%d]%s of policy %s", r.Index, sid, r.Policy)
}

// StatementTrace is what one statement said to a request.
type StatementTrace struct {
	StatementRef
	Line       int              `json:"line"` // of the statement in its document
	Effect     string           `json:"effect"`
	Applies    bool             `json:"applies"`
	Action     ListTrace        `json:"action"`
	Resource   ListTrace        `json:"resource"`
	Conditions []ConditionTrace `json:"conditions"`
	WhyNot     string           `json:"whyNot,omitempty"` // in words; empty when it applies
}

// ListTrace is what the list of actions or resources of a statement said.
type ListTrace struct {
	Holds    bool           `json:"holds"`
	Negated  bool           `json:"negated"` // NotAction, NotResource
	Elements []ElementTrace `json:"elements"`
}

// Matched is the first element that fits, nil when none does.
func (l ListTrace) Matched() *ElementTrace {
	for i := range l.Elements {
		if l.Elements[i].Matches {
			return &l.Elements[i]
		}
	}
	return nil
}

// ElementTrace is one action or resource as written.
type ElementTrace struct {
	Text     string   `json:"text"`
	Resolved string   `json:"resolved"` // with the values of its variables put in
	Matches  bool     `json:"matches"`
	Missing  []string `json:"missing"` // variables without a value: it fits nothing
}

// ConditionTrace is one key of one operator of a Condition element.
type ConditionTrace struct {
	Operator string   `json:"operator"`
	Key      string   `json:"key"`
	Holds    bool     `json:"holds"`
	Have     []string `json:"have"` // the request's values; none when the key is absent
	Want     []string `json:"want"` // the document's, with the values of variables put in
	Missing  []string `json:"missing"`
}

// input is what the rules are asked about a question.
func (a *inquiry) input() map[string]any {
	input := documentsInput(a.documents, a.gateway)
	at := a.session.context()
	at["current_time"] = a.request.clock().UTC().Truncate(time.Second).Format(time.RFC3339)
	input["context"] = at
	attributes := make([]any, len(a.request.attributes))
	for i, text := range a.request.attributes {
		attributes[i] = text
	}
	request := map[string]any{"action": a.request.action, "resource": a.request.arn(a.gateway), "connect_attributes": attributes}
	if a.request.hasWill {
		request["last_will_topic"] = a.gateway.prefix() + "topic/" + a.request.willTopic
	}
	if a.request.topic != nil {
		request["topic"] = *a.request.topic
	}
	if a.request.share != "" {
		request["share"] = a.request.share
	}
	input["request"] = request
	return input
}

// regoOutcomes are the outcomes as the rules write them.
var regoOutcomes = map[string]string{"allow": Allowed, "explicit_deny": ExplicitDeny, "implicit_deny": ImplicitDeny}

// explanation lets the rules decide and explain.
func (r *rules) explanation(ctx context.Context, a *inquiry) (Answer, error) {
	input, err := object(a.input())
	if err != nil {
		return Answer{}, err
	}
	term, err := answer(ctx, r.explain, input)
	if err != nil {
		return Answer{}, err
	}
	value, err := ast.JSON(term.Value)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	var said struct {
		Answer
		Allowing [][2]any `json:"allowing"`
		Denying  [][2]any `json:"denying"`
		Missing  []string `json:"missing"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	out := said.Answer
	if out.Outcome = regoOutcomes[said.Outcome]; out.Outcome == "" {
		return Answer{}, errAnswer
	}
	out.Missing = said.Missing
	lines := map[statementID]int{}
	for _, d := range a.documents {
		for _, s := range d.statements {
			lines[statementID{d.name, s.index}] = s.line
		}
	}
	out.Allowing, out.Denying = []StatementRef{}, []StatementRef{}
	for i := range out.Statements {
		s := &out.Statements[i]
		s.Line = lines[statementID{s.Policy, s.Index}]
		s.WhyNot = whyNot(s, &a.request)
		switch {
		case s.Applies && s.Effect == "Deny":
			out.Denying = append(out.Denying, s.StatementRef)
		case s.Applies:
			out.Allowing = append(out.Allowing, s.StatementRef)
		}
	}
	if len(out.Allowing) != len(said.Allowing) || len(out.Denying) != len(said.Denying) {
		return Answer{}, errAnswer
	}
	return out, nil
}
