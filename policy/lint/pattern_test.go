package lint

import (
	"testing"

	"pgregory.net/rapid"
)

// TestCovers and TestOverlaps are about patterns as sets of texts.
func TestCovers(t *testing.T) {
	tests := []struct {
		p, q string
		want bool
	}{
		{"*", "", true}, {"*", "a/${iot:ClientId}/*", true}, {"a/*", "a/b", true}, {"a/*", "a", false}, {"a/?", "a/*", false}, {"a/*", "a/?", true},
		{"a/${iot:ClientId}", "a/${IOT:clientid}", true}, {"a/${iot:ClientId}", "a/x", false}, {"*/b", "a/*/b", true}, {"a*b*c", "aXbYc", true},
		{"a*b", "a*b*b", true}, {"?", "é", true}, {"a/+", "a/b", false}, {"${*}", "*", false}, {"${*}", "${*}", true},
	}
	for _, test := range tests {
		if got := parsePattern(test.p, version2012).covers(parsePattern(test.q, version2012)); got != test.want {
			t.Errorf("%s covers %s: %v", test.p, test.q, got)
		}
	}
}

func TestOverlaps(t *testing.T) {
	tests := []struct {
		p, q string
		want bool
	}{
		{"a/*", "*/b", true}, {"a/b", "a/c", false}, {"a/${x:y}", "a/b/c", true}, {"a?", "ab", true}, {"a?", "abc", false}, {"", "", true}, {"*", "", true}, {"a*", "b*", false},
	}
	for _, test := range tests {
		p, q := parsePattern(test.p, version2012), parsePattern(test.q, version2012)
		if p.overlaps(q) != test.want || q.overlaps(p) != test.want {
			t.Errorf("%s overlaps %s: %v, %v", test.p, test.q, p.overlaps(q), q.overlaps(p))
		}
	}
}

// TestBehind is what a resource says about one kind.
func TestBehind(t *testing.T) {
	tests := []struct{ p, prefix, want string }{
		{"topic/a", "topic/", "a"}, {"topicfilter/a", "topic/", ""}, {"*", "topic/", "*"}, {"topic*/a/b", "topicfilter/", "*/a/b a/b"}, {"t?pic/x", "topic/", "x"},
		{"topic/*", "topic/", "*"}, {"${iot:ClientId}/a", "topic/", ""},
	}
	for _, test := range tests {
		got := ""
		for i, p := range parsePattern(test.p, version2012).behind(test.prefix) {
			if i > 0 {
				got += " "
			}
			got += p.String()
		}
		if got != test.want {
			t.Errorf("%s behind %s: %q, want %q", test.p, test.prefix, got, test.want)
		}
	}
}

// slow is the definition of matching.
func slow(p pattern, text []rune) bool {
	if len(p) == 0 {
		return len(text) == 0
	}
	if p[0].kind == anyRun {
		for i := range len(text) + 1 {
			if slow(p[1:], text[i:]) {
				return true
			}
		}
		return false
	}
	return len(text) > 0 && (p[0].kind == one || p[0].kind == literal && p[0].char == text[0]) && slow(p[1:], text[1:])
}

// TestPatternsAsSets draws patterns and texts: what is said about patterns
// holds for every text tried.
func TestPatternsAsSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := parsePattern(rapid.StringMatching(`[ab*?/]{0,7}`).Draw(t, "p"), version2012)
		q := parsePattern(rapid.StringMatching(`[ab*?/]{0,7}`).Draw(t, "q"), version2012)
		text := rapid.StringMatching(`[ab/]{0,9}`).Draw(t, "text")
		inP, inQ := slow(p, []rune(text)), slow(q, []rune(text))
		if p.matches(text, nil) != inP {
			t.Fatalf("%s matches %q: %v", p, text, !inP)
		}
		if p.covers(q) && inQ && !inP {
			t.Fatalf("%s is said to cover %s, but not %q", p, q, text)
		}
		if inP && inQ && !p.overlaps(q) {
			t.Fatalf("%s and %s both have %q, and are said not to overlap", p, q, text)
		}
		for k := range len(text) + 1 {
			found := false
			for _, rest := range p.behind(text[:k]) {
				found = found || slow(rest, []rune(text[k:]))
			}
			if found != inP {
				t.Fatalf("%s behind %q has %q: %v", p, text[:k], text[k:], found)
			}
		}
		sample := p.sample(nil, "a", "b")
		if !slow(p, []rune(sample)) {
			t.Fatalf("%q is no text of %s", sample, p)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("topic/${iot:ClientId}/*", "topicfilter/+/#", "topic/")
	f.Add("${", "${}", "$")
	f.Add("${a, 'b'}?*", "*", "")
	f.Fuzz(func(t *testing.T, a, b, prefix string) {
		if len(a)+len(b)+len(prefix) > 4000 {
			return
		}
		p, q := parsePattern(a, version2012), parsePattern(b, version2012)
		if p.covers(q) && len(p.variables())+len(q.variables()) == 0 && !p.overlaps(q) {
			t.Errorf("%s covers %s and does not overlap it", p, q)
		}
		if p.overlaps(q) != q.overlaps(p) {
			t.Errorf("%s and %s overlap one way only", p, q)
		}
		if !p.covers(p) {
			t.Errorf("%s does not cover itself", p)
		}
		for _, rest := range p.behind(prefix) {
			if len(rest) > len(p) {
				t.Errorf("%s behind %q is longer: %s", p, prefix, rest)
			}
		}
		_ = topicsOf(p).String()
	})
}
