package policy

import "strings"

// A tokenKind says what a piece of policy text is.
type tokenKind byte

const (
	literal  tokenKind = iota // ordinary characters
	wildcard                  // "*" or "?"
	variable                  // what stands between "${" and "}"
)

// token is a piece of policy text. Neighbouring literals may be separate.
type token struct {
	kind tokenKind
	text string
}

// tokenise cuts policy text. Variables exist in version 2012-10-17 only;
// before, "${" is text. "${*}", "${?}" and "${$}" are the characters.
func tokenise(text, version string) []token {
	var out []token
	for text != "" {
		if end := strings.IndexByte(text, '}'); version == version2012 && strings.HasPrefix(text, "${") && end > 0 {
			name := text[2:end]
			if name == "*" || name == "?" || name == "$" {
				out = append(out, token{literal, name})
			} else {
				out = append(out, token{variable, name})
			}
			text = text[end+1:]
			continue
		}
		if text[0] == '*' || text[0] == '?' {
			out = append(out, token{wildcard, text[:1]})
			text = text[1:]
			continue
		}
		end := strings.IndexAny(text[1:], "*?$") + 1
		if end == 0 {
			end = len(text)
		}
		out = append(out, token{literal, text[:end]})
		text = text[end:]
	}
	return out
}

// values are what the variables of a session stand for, by their text between
// the braces. A variable without a value is not in it.
type values map[string]string

// resolve puts values in as literals, in one pass. It reports false when a
// variable has none: such an element matches nothing.
func (v values) resolve(tokens []token) ([]token, bool) {
	out := tokens
	copied := false
	for i, t := range tokens {
		if t.kind != variable {
			continue
		}
		value, ok := v[t.text]
		if !ok {
			return nil, false
		}
		if !copied {
			out, copied = append([]token(nil), tokens...), true
		}
		out[i] = token{literal, value}
	}
	return out, true
}

// plain is the text in which wildcards are ordinary characters.
func plain(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return b.String()
}

// variablesIn lists the variables in policy text.
func variablesIn(text, version string) []string { return variables(tokenise(text, version)) }

// variables lists the variables in tokens.
func variables(tokens []token) []string {
	var out []string
	for _, t := range tokens {
		if t.kind == variable {
			out = append(out, t.text)
		}
	}
	return out
}
