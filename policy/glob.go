package policy

import (
	"strings"
	"unicode/utf8"
)

// glob matches text against a pattern in which "*" is any characters and "?"
// any one code point. It never backtracks: the parts between stars are found
// from left to right, each at its first place, which is as good as any other.
type glob struct {
	parts []part // what stands before, between and behind the stars: at least one
	bytes bool   // "?" is a byte: the parts are widened, and so is what they match
}

// part is text without stars: literals, with one "?" between each two.
type part []string

func newGlob(tokens []token) glob {
	g := glob{parts: []part{{""}}}
	for i := 0; i < len(tokens); i++ {
		last := &g.parts[len(g.parts)-1]
		switch t := tokens[i]; {
		case t.kind != wildcard:
			text := t.text
			for i+1 < len(tokens) && tokens[i+1].kind != wildcard {
				i++
				text += tokens[i].text
			}
			(*last)[len(*last)-1] = text
		case t.text == "?":
			*last = append(*last, "")
		default:
			g.parts = append(g.parts, part{""})
		}
	}
	return g
}

// match reports whether all of s fits. It is O(len(s) × length of the
// pattern) at worst and allocates nothing.
func (g glob) match(s string) bool {
	if g.bytes {
		s = widen(s)
	}
	if len(g.parts) == 1 {
		end := g.parts[0].prefix(s)
		return end == len(s)
	}
	start := g.parts[0].prefix(s)
	if start < 0 {
		return false
	}
	s = s[start:]
	last := g.parts[len(g.parts)-1]
	end := last.suffix(s)
	if end < 0 {
		return false
	}
	s = s[:end]
	for _, p := range g.parts[1 : len(g.parts)-1] {
		if len(p) == 1 {
			i := strings.Index(s, p[0])
			if i < 0 {
				return false
			}
			s = s[i+len(p[0]):]
			continue
		}
		n := p.prefix(s)
		for n < 0 {
			if s == "" {
				return false
			}
			_, size := utf8.DecodeRuneInString(s)
			s = s[size:]
			n = p.prefix(s)
		}
		s = s[n:]
	}
	return true
}

// prefix returns the length of the part at the start of s, or -1.
func (p part) prefix(s string) int {
	if !strings.HasPrefix(s, p[0]) {
		return -1
	}
	at := len(p[0])
	for _, text := range p[1:] {
		if at == len(s) {
			return -1
		}
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
		if !strings.HasPrefix(s[at:], text) {
			return -1
		}
		at += len(text)
	}
	return at
}

// suffix returns where the part at the end of s starts, or -1.
func (p part) suffix(s string) int {
	for i := len(p) - 1; i >= 0; i-- {
		if !strings.HasSuffix(s, p[i]) {
			return -1
		}
		s = s[:len(s)-len(p[i])]
		if i == 0 {
			break
		}
		if s == "" {
			return -1
		}
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return len(s)
}
