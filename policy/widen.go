package policy

import (
	"strings"
	"unicode/utf8"
)

// widen makes a code point of every byte. Where a "?" stands for a byte of
// UTF-8, patterns and texts are widened and then matched as ever.
func widen(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return widened(s)
		}
	}
	return s
}

func widened(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// widenAll widens resolved tokens.
func widenAll(tokens []token) []token {
	out := make([]token, len(tokens))
	for i, t := range tokens {
		out[i] = token{t.kind, widen(t.text)}
	}
	return out
}

// literally prepares resolved tokens for being matched.
func (g gateway) literally(tokens []token) []token {
	if g.bytewise() {
		return widenAll(tokens)
	}
	return tokens
}

// glob compiles resolved tokens.
func (g gateway) glob(tokens []token) glob {
	out := newGlob(g.literally(tokens))
	out.bytes = g.bytewise()
	return out
}
