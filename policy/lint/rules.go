package lint

import "slices"

// Rule is one thing that is looked for.
type Rule struct {
	ID       string
	Severity Severity
	Title    string // the finding in a few words
	Why      string // what comes of it
	Fix      string // what to do
	Wrong    string // an example: part of a statement
	Right    string // the same, mended; empty where it is to be left out
	find     func(*inspector)
}

// The rules beside the catalogue, about documents and suppressions as such.
var (
	invalid = Rule{ID: "L00", Severity: Critical, Title: "AWS would refuse the document",
		Why:   "What is not in the grammar is not a policy. A gateway that passed it over could pass over a Deny.",
		Fix:   "mend it; nothing else is judged before",
		Wrong: `"effect": "Allow"`, Right: `"Effect": "Allow"`}
	unused = Rule{ID: "L90", Severity: Medium, Title: "the suppression matches nothing",
		Why:   "What it accepted is gone, or it never stood where it points. It would hide the next finding there.",
		Fix:   "take it out, or correct rule and statement",
		Wrong: `"Id": "lint:ignore L01 literal filter"`, Right: ""}
	unusable = Rule{ID: "L91", Severity: High, Title: "the suppression is not usable",
		Why:   "A suppression names a rule and gives a reason; without them it has no effect.",
		Fix:   "write \"lint:ignore L17 reason\", or rule and reason in .lint.yaml",
		Wrong: `"Id": "lint:ignore L17"`, Right: `"Id": "lint:ignore L17 readers keep sessions"`}
)

// Rules lists every rule in the order of their numbers.
func Rules() []Rule {
	all := append([]Rule{invalid}, catalogue()...)
	return append(all, unused, unusable)
}

// ruleOf finds a rule by its id.
func ruleOf(id string) (Rule, bool) {
	all := Rules()
	at := slices.IndexFunc(all, func(r Rule) bool { return r.ID == id })
	if at < 0 {
		return Rule{}, false
	}
	return all[at], true
}
