package policy

import "strings"

// leads prepares a resource with variables for one kind: what stands behind the
// kind in each way of reading it, variables still in. It is false where that
// depends on the variables' values, because a value could be a part of the
// kind, where a wildcard must not run past a colon, and where "?" is a byte.
func (r *resource) leads(kind string) ([][]token, bool) {
	if r.bytes {
		return nil, false
	}
	first := 0
	for r.name[first].kind != variable {
		first++
	}
	steps := appendSteps(append([]step(nil), r.head...), r.name[:first], anyOne, anyRun)
	at := r.at
	for i := range len(kind) {
		if ends(steps, at) {
			return nil, false
		}
		at = run(steps, at, kind[i:i+1])
	}
	out := [][]token{}
	for _, from := range at {
		tokens, ok := asTokens(steps[from:])
		if !ok {
			return nil, false
		}
		out = append(out, append(tokens, r.name[first:]...))
	}
	return out, true
}

// asTokens makes tokens of steps; false when a wildcard must not run past a
// colon, which tokens cannot say.
func asTokens(steps []step) ([]token, bool) {
	var tokens []token
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			tokens = append(tokens, token{literal, text.String()})
			text.Reset()
		}
	}
	for _, s := range steps {
		switch s.kind {
		case one:
			text.WriteRune(s.char)
		case anyOne, anyRun:
			flush()
			tokens = append(tokens, token{wildcard, map[stepKind]string{anyOne: "?", anyRun: "*"}[s.kind]})
		default:
			return nil, false
		}
	}
	flush()
	return tokens, true
}

// globTail is the tail of resolved tokens.
func globTail(tokens []token, bytes bool) tail {
	t := tail{glob: newGlob(tokens)}
	t.glob.bytes = bytes
	for _, token := range tokens {
		t.colons = t.colons || token.kind != wildcard && strings.IndexByte(token.text, ':') >= 0
	}
	return t
}
