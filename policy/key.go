package policy

import "strings"

// keyOf is a condition key in the form in which keys are compared: without
// regard to case, except for what stands in brackets.
func keyOf(text string) string {
	name, rest, bracket := strings.Cut(text, "[")
	if !bracket {
		return strings.ToLower(name)
	}
	return strings.ToLower(name) + "[" + rest
}
