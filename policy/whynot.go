package policy

import (
	"fmt"
	"strings"
)

// whyNot says in words what kept a statement from applying: the first of
// action, resource and condition that did not hold.
func whyNot(s *StatementTrace, r *request) string {
	switch {
	case s.Applies:
		return ""
	case !s.Action.Holds && s.Action.Negated:
		return fmt.Sprintf("NotAction leaves %s out by %q", r.action, s.Action.Matched().Text)
	case !s.Action.Holds:
		return fmt.Sprintf("it is about %s, not about %s", texts(s.Action.Elements), r.action)
	case !s.Resource.Holds && s.Resource.Negated:
		return fmt.Sprintf("NotResource leaves %s out by %q", shorten(r.kind+r.name), s.Resource.Matched().Text)
	case !s.Resource.Holds:
		return resourceWhyNot(s.Resource.Elements, shorten(r.kind+r.name))
	}
	for _, c := range s.Conditions {
		if !c.Holds {
			return conditionWhyNot(c)
		}
	}
	return "a switch keeps it from applying" // connect_attributes_default, which no element shows
}

func texts(elements []ElementTrace) string {
	var out []string
	for _, e := range elements {
		out = append(out, e.Text)
	}
	return strings.Join(out, ", ")
}

func resourceWhyNot(elements []ElementTrace, asked string) string {
	var parts []string
	for _, e := range elements {
		switch {
		case len(e.Missing) > 0:
			parts = append(parts, fmt.Sprintf("%s fits nothing, because ${%s} has no value here", e.Text, strings.Join(e.Missing, "} and ${")))
		case e.Resolved != e.Text:
			parts = append(parts, fmt.Sprintf("%s, here %s, does not fit %s", e.Text, e.Resolved, asked))
		default:
			parts = append(parts, fmt.Sprintf("%s does not fit %s", e.Text, asked))
		}
	}
	return strings.Join(parts, "; ")
}

func conditionWhyNot(c ConditionTrace) string {
	have := "the key has no value here"
	if len(c.Have) > 0 {
		have = "the value here is " + quoted(c.Have)
	}
	text := fmt.Sprintf("%s on %s wants %s; %s", c.Operator, c.Key, quoted(c.Want), have)
	if len(c.Missing) > 0 {
		text += fmt.Sprintf(", and ${%s} has none either", strings.Join(c.Missing, "} and ${"))
	}
	return text
}

func quoted(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = fmt.Sprintf("%q", shorten(text))
	}
	return strings.Join(out, " or ")
}
