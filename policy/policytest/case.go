package policytest

import (
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// Want is what a case expects.
type Want string

// What can be expected. [Deny] is met by either kind of denial.
const (
	Allow        Want = "allow"
	Deny         Want = "deny"
	ExplicitDeny Want = "explicit_deny"
	ImplicitDeny Want = "implicit_deny"
	Invalid      Want = "invalid_policy" // a document is refused
)

var wants = []Want{Allow, Deny, ExplicitDeny, ImplicitDeny, Invalid}

// readWant takes the words of the cases and those of AWS's API.
func readWant(text string) (Want, bool) {
	word := strings.ToLower(text)
	if word == "allowed" {
		return Allow, true
	}
	for _, w := range wants {
		if word == string(w) {
			return w, true
		}
	}
	return "", false
}

const wantRemedy = "write allow, deny, explicit_deny, implicit_deny or invalid_policy"

// met reports whether an outcome is what was wanted.
func (w Want) met(got Want) bool {
	return w == got || w == Deny && (got == ExplicitDeny || got == ImplicitDeny)
}

// Source is a document with its place, for reports.
type Source struct {
	policy.Document
	File string // where it was read
	Line int    // where its text begins there; 0 when the file's lines are not the text's
}

// Case is one test: a principal, what it asks, and what the answer must be.
type Case struct {
	ID         string
	Why        string // what it shows, or why it must be so
	Confidence string // "uncertain": AWS does not say, a switch decides
	Topic      string
	File       string
	Line       int

	Documents []Source // those that apply
	Site      []Source // all that its file names, for coverage
	Context   policy.Context
	Questions []policy.Question // allowed together or not at all
	Want      Want
	Switches  map[string]string // settings of this case only
	Gateway   Gateway
	Own       *policy.OwnRules // the operator's own Rego beside its documents
	Skip      string           // why it is not run
}

// Gateway is whose ARNs a short resource such as topic/a gets, and what those
// in documents are compared with. Empty fields are not compared.
type Gateway struct {
	Partition, Region, Account string
}

// place is where the case stands.
func (c *Case) place() string { return fmt.Sprintf("%s:%d", c.File, c.Line) }

// number makes the ids of a file distinct, as go test does with names.
func number(cases []*Case) {
	seen := map[string]int{}
	for _, c := range cases {
		n := seen[c.ID]
		seen[c.ID]++
		if n > 0 {
			c.ID = fmt.Sprintf("%s#%02d", c.ID, n)
		}
	}
}
