package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// Case is a test case to put to AWS: documents that apply to a client, and
// what it asks.
type Case struct {
	Name      string
	Documents []policy.Document
	Context   policy.Context
	Questions []policy.Question
}

// same reports whether two documents say the same, whatever their white space.
func same(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// untellable says what of a question TestAuthorization cannot be told, so that
// its answer would be about something else. Empty when all can.
func untellable(x policy.Context, q policy.Question) string {
	if !slices.ContainsFunc(askable, func(a askableAction) bool { return strings.EqualFold(a.action, q.Action) }) {
		return "TestAuthorization does not know the action " + q.Action
	}
	for _, f := range []struct {
		set  bool
		what string
	}{
		{len(q.ConnectAttributes) > 0, "connect attributes"},
		{q.LastWillTopic != nil, "a will"},
		{x.SourceIP != "", "a source address"},
		{x.SourceVPC != "" || x.SourceVPCE != "" || x.VPCSourceIP != "", "a VPC"},
		{x.DomainName != "", "a domain name"},
		{x.CurrentTime != "", "a time"},
		{x.Protocol == "http", "a protocol"},
		{x.ThingName != "" || x.ThingAttached || x.Certificate != nil, "a thing or certificate that is not in the account; give --things, and the case a certificate id that is in it"},
	} {
		if f.set {
			return "TestAuthorization cannot be told " + f.what
		}
	}
	return ""
}

// ofCases asks what the cases ask, as far as AWS can be asked that.
func (v *verification) ofCases() []question {
	var out []question
	for _, c := range v.opts.Cases {
		for _, ask := range c.Questions {
			q, why := v.ofCase(c, ask)
			if why != "" {
				v.skip(c.Name, why)
				continue
			}
			out = append(out, q)
		}
	}
	return out
}

func (v *verification) ofCase(c Case, ask policy.Question) (question, string) {
	q := question{name: c.Name, clientID: c.Context.ClientID, ask: ask}
	for i, d := range c.Documents {
		if d.Target == policy.TargetThingGroup && !c.Context.InGroups() {
			continue // does not apply
		}
		name, ok := v.nameOf(d.Text)
		if !ok {
			return q, fmt.Sprintf("its document %d is not one of those in %s", i+1, v.opts.Policies)
		}
		q.policies = append(q.policies, v.theirs[name])
	}
	q.policies = distinct(q.policies)
	q.here = v.deskSays(c.Documents, c.Context, ask)
	told := c.Context
	if id := v.known(told); id != "" { // AWS knows its thing by itself
		q.principal, q.attached = v.prefix+"cert/"+id, v.awsNames(v.fleet.Certificates[id].Policies)
		told.Certificate, told.ThingName, told.ThingAttached = nil, "", false
	}
	return q, untellable(told, ask)
}

// known is the id of a case's certificate when the registry has it.
func (v *verification) known(x policy.Context) string {
	if v.fleet == nil || x.Certificate == nil {
		return ""
	}
	if _, ok := v.fleet.Certificates[x.Certificate.ID]; !ok {
		return ""
	}
	return x.Certificate.ID
}

// nameOf finds a document of the folder by what it says.
func (v *verification) nameOf(text []byte) (string, bool) {
	for _, name := range slices.Sorted(maps.Keys(v.docs)) {
		if same(text, v.docs[name].Text) {
			return name, true
		}
	}
	return "", false
}
