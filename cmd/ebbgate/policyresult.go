package main

import (
	"strings"

	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/policy/policytest/explain"
)

// The names of AuthResult in AWS IoT's TestAuthorization, and beside them what
// it does not tell: the statements.
type (
	authResultJSON struct {
		AuthInfo             authInfoJSON            `json:"authInfo"`
		Allowed              authPoliciesJSON        `json:"allowed"`
		Denied               authDeniedJSON          `json:"denied"`
		AuthDecision         string                  `json:"authDecision"`
		MissingContextValues []string                `json:"missingContextValues"`
		Reason               string                  `json:"reason"`
		Site                 []string                `json:"site,omitempty"` // why rules of the operator\'s own deny
		Variables            map[string]string       `json:"variables,omitempty"`
		Statements           []policy.StatementTrace `json:"statements,omitempty"`
		Nearest              *policy.StatementTrace  `json:"nearest,omitempty"`
		Hints                []string                `json:"hints,omitempty"`
	}
	authInfoJSON struct {
		ActionType string   `json:"actionType,omitempty"` // the four that AWS has
		Action     string   `json:"action"`
		Resources  []string `json:"resources"`
	}
	authPoliciesJSON struct {
		Policies []authPolicyJSON `json:"policies"`
	}
	authDeniedJSON struct {
		ImplicitDeny authPoliciesJSON `json:"implicitDeny"`
		ExplicitDeny authPoliciesJSON `json:"explicitDeny"`
	}
	authPolicyJSON struct {
		PolicyName string              `json:"policyName"`
		PolicyARN  string              `json:"policyArn,omitempty"`
		Statements []authStatementJSON `json:"statements"`
	}
	authStatementJSON struct {
		Index int    `json:"index"`
		Sid   string `json:"sid,omitempty"`
		File  string `json:"file,omitempty"`
		Line  int    `json:"line"`
	}
)

var actionTypes = map[string]string{
	"iot:connect": "CONNECT", "iot:publish": "PUBLISH", "iot:subscribe": "SUBSCRIBE", "iot:receive": "RECEIVE",
}

// authResult is a decision as AWS would return it.
func authResult(c explain.Case, opts policy.Options, why bool) authResultJSON {
	a := c.Answer
	out := authResultJSON{
		AuthInfo: authInfoJSON{
			ActionType: actionTypes[strings.ToLower(c.Question.Action)], Action: c.Question.Action,
			Resources: []string{c.Question.Resource},
		},
		Allowed:              authPolicies(c, opts, a.Allowing),
		Denied:               authDeniedJSON{ExplicitDeny: authPolicies(c, opts, a.Denying), ImplicitDeny: authPolicies(c, opts, nil)},
		AuthDecision:         a.Outcome,
		MissingContextValues: append([]string{}, a.Missing...),
		Reason:               explain.Headline(c),
		Site:                 a.Site,
	}
	if a.Outcome == policy.ImplicitDeny {
		for _, d := range c.Documents {
			out.Denied.ImplicitDeny.Policies = append(out.Denied.ImplicitDeny.Policies, authPolicyJSON{
				PolicyName: d.Name, PolicyARN: policyARN(opts, d.Name), Statements: []authStatementJSON{},
			})
		}
	}
	if why {
		out.Variables, out.Statements, out.Hints = a.Variables, a.Statements, append(explain.Hints(c), c.Notes...)
		if a.Outcome == policy.ImplicitDeny {
			out.Nearest = explain.Nearest(c)
		}
	}
	return out
}

// authPolicies groups statements by their policies.
func authPolicies(c explain.Case, opts policy.Options, refs []policy.StatementRef) authPoliciesJSON {
	out := authPoliciesJSON{Policies: []authPolicyJSON{}}
	for _, ref := range refs {
		if ref.Policy == policy.SitePolicy { // no document, so no statement
			out.Policies = append(out.Policies, authPolicyJSON{PolicyName: ref.Policy, Statements: []authStatementJSON{}})
			continue
		}
		last := len(out.Policies) - 1
		if last < 0 || out.Policies[last].PolicyName != ref.Policy {
			out.Policies = append(out.Policies, authPolicyJSON{PolicyName: ref.Policy, PolicyARN: policyARN(opts, ref.Policy)})
			last++
		}
		at := authStatementJSON{Index: ref.Index, Sid: ref.Sid}
		at.File, at.Line = c.At(ref)
		out.Policies[last].Statements = append(out.Policies[last].Statements, at)
	}
	return out
}

// policyARN is a policy's ARN where the gateway has one to give.
func policyARN(opts policy.Options, name string) string {
	if opts.Region == "" || opts.Account == "" {
		return ""
	}
	partition := opts.Partition
	if partition == "" {
		partition = "aws"
	}
	return "arn:" + partition + ":iot:" + opts.Region + ":" + opts.Account + ":policy/" + name
}
