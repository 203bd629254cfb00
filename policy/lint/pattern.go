package lint

import (
	"strings"
	"unicode/utf8"
)

// symbol is one element of a pattern.
type symbol struct {
	kind symbolKind
	char rune   // of a literal
	name string // of a variable, as written
	def  string // its default value, with the quotes; empty without one
}

type symbolKind byte

const (
	literal  symbolKind = iota
	anyRun              // "*": any characters, none too
	one                 // "?": one character
	variable            // "${…}"
)

// pattern is what a resource says behind the fifth colon, or a part of it.
type pattern []symbol

// The versions of the policy language. Variables exist in the second only.
const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

// parsePattern reads wildcards, and variables where the version has them.
func parsePattern(text, version string) pattern {
	var out pattern
	for text != "" {
		if version == version2012 && strings.HasPrefix(text, "${") {
			if end := strings.IndexByte(text, '}'); end > 0 {
				out = append(out, parseVariable(text[2:end]))
				text = text[end+1:]
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(text)
		switch r {
		case '*':
			out = append(out, symbol{kind: anyRun})
		case '?':
			out = append(out, symbol{kind: one})
		default:
			out = append(out, symbol{kind: literal, char: r})
		}
		text = text[size:]
	}
	return out
}

// parseVariable reads what stands between the braces.
func parseVariable(inside string) symbol {
	if inside == "*" || inside == "?" || inside == "$" {
		return symbol{kind: literal, char: rune(inside[0])}
	}
	name, def, _ := strings.Cut(inside, ",")
	return symbol{kind: variable, name: strings.TrimSpace(name), def: strings.TrimSpace(def)}
}

// String is the pattern as a document writes it.
func (p pattern) String() string {
	var b strings.Builder
	for _, s := range p {
		switch s.kind {
		case literal:
			b.WriteRune(s.char)
		case anyRun:
			b.WriteByte('*')
		case one:
			b.WriteByte('?')
		case variable:
			b.WriteString("${" + s.name)
			if s.def != "" {
				b.WriteString(", " + s.def)
			}
			b.WriteByte('}')
		}
	}
	return b.String()
}

// literals is a pattern for just this text.
func literals(text string) pattern {
	var p pattern
	for _, r := range text {
		p = append(p, symbol{kind: literal, char: r})
	}
	return p
}

// prefix is what stands before the first wildcard or variable.
func (p pattern) prefix() string {
	var b strings.Builder
	for _, s := range p {
		if s.kind != literal {
			break
		}
		b.WriteRune(s.char)
	}
	return b.String()
}

// variables lists the variables in order.
func (p pattern) variables() []symbol {
	var out []symbol
	for _, s := range p {
		if s.kind == variable {
			out = append(out, s)
		}
	}
	return out
}

// contains reports whether one of the characters stands as a literal in p.
func (p pattern) contains(chars string) bool {
	for _, s := range p {
		if s.kind == literal && strings.ContainsRune(chars, s.char) {
			return true
		}
	}
	return false
}

// behind lists what is left of p for texts that begin with prefix: one pattern
// or another. A variable is no part of a prefix.
func (p pattern) behind(prefix string) []pattern {
	at := map[int]bool{0: true}
	for _, r := range prefix {
		next := map[int]bool{}
		for i := range at {
			p.step(i, r, next)
		}
		at = next
	}
	var out []pattern
	for i := range len(p) + 1 {
		// What comes after a star that is in the list is in the list by it.
		if at[i] && (i == 0 || !at[i-1] || p[i-1].kind != anyRun) {
			out = append(out, p[i:])
		}
	}
	return out
}

// step adds the places behind one character read at place i.
func (p pattern) step(i int, r rune, next map[int]bool) {
	for ; i < len(p) && p[i].kind == anyRun; i++ {
		next[i] = true // the star takes it, or stands for nothing
	}
	if i < len(p) && (p[i].kind == one || p[i].kind == literal && p[i].char == r) {
		next[i+1] = true
		for i++; i < len(p) && p[i].kind == anyRun; i++ {
			next[i] = true
		}
	}
}

// covers reports whether every text of q is one of p, whatever the variables
// stand for. It may say no where the answer is yes, never the reverse.
func (p pattern) covers(q pattern) bool {
	return walk(p, q, func(a, b symbol) bool {
		switch a.kind {
		case one:
			return b.kind == literal || b.kind == one
		case variable:
			return b.kind == variable && strings.EqualFold(a.name, b.name) && a.def == b.def
		default:
			return b.kind == literal && a.char == b.char
		}
	}, func(symbol) bool { return false })
}

// overlaps reports whether some text is of both p and q for some values of the
// variables.
func (p pattern) overlaps(q pattern) bool {
	return walk(p, q, func(a, b symbol) bool {
		return a.kind == one || b.kind == one || a.char == b.char
	}, func(s symbol) bool { return s.kind == anyRun || s.kind == variable })
}

// walk compares two patterns symbol by symbol. The stars of p take any symbol
// of q; those symbols of q that wide says take any of p; all others have to
// fit in pairs. It takes len(p) × len(q) steps.
func walk(p, q pattern, fit func(a, b symbol) bool, wide func(symbol) bool) bool {
	star := func(s symbol) bool { return s.kind == anyRun || wide(s) }
	// reach[j]: q[j:] is left when p[:i] is done.
	reach := make([]bool, len(q)+1)
	reach[0] = true
	for j := 0; j < len(q) && wide(q[j]); j++ {
		reach[j+1] = true
	}
	for _, a := range p {
		next := make([]bool, len(q)+1)
		for j := range len(q) + 1 {
			if star(a) {
				next[j] = next[j] || reach[j]
				if j < len(q) && next[j] {
					next[j+1] = true
				}
			}
			if j == len(q) {
				continue
			}
			if reach[j] && wide(q[j]) {
				next[j] = true
			}
			if !star(a) && !wide(q[j]) && reach[j] && fit(a, q[j]) {
				next[j+1] = true
			}
			if next[j] && wide(q[j]) {
				next[j+1] = true
			}
		}
		reach = next
	}
	return reach[len(q)]
}

// values are what variables stand for, by their names in lower case.
type values map[string]string

// fill puts values in. It is not possible when one is missing.
func (p pattern) fill(v values) (pattern, bool) {
	var out pattern
	for _, s := range p {
		if s.kind != variable {
			out = append(out, s)
			continue
		}
		text, ok := v[strings.ToLower(s.name)]
		if !ok {
			return nil, false
		}
		out = append(out, literals(text)...)
	}
	return out, true
}

// matches reports whether a text is one of the pattern with these values.
func (p pattern) matches(text string, v values) bool {
	filled, ok := p.fill(v)
	return ok && filled.covers(literals(text))
}

// sample is a text of the pattern, with these for its wildcards.
func (p pattern) sample(v values, star, question string) string {
	var b strings.Builder
	for _, s := range p {
		switch s.kind {
		case literal:
			b.WriteRune(s.char)
		case anyRun:
			b.WriteString(star)
		case one:
			b.WriteString(question)
		case variable:
			if text, ok := v[strings.ToLower(s.name)]; ok {
				b.WriteString(text)
			} else {
				b.WriteString("x")
			}
		}
	}
	return b.String()
}
