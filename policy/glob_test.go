package policy

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// naive is the definition of a glob, by trying everything.
func naive(pattern, text []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(text) == 0
	case pattern[0] == '*':
		return naive(pattern[1:], text) || len(text) > 0 && naive(pattern, text[1:])
	default:
		return len(text) > 0 && (pattern[0] == '?' || pattern[0] == text[0]) && naive(pattern[1:], text[1:])
	}
}

func matches(pattern, text string) bool { return newGlob(tokenise(pattern, version2008)).match(text) }

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"?", "", false},
		{"?", "é", true},
		{"?", "ab", false},
		{"a?", "a", false},
		{"?a", "a", false},
		{"a*", "a", true},
		{"*a", "ba", true},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"*a*b*", "aba", true},
		{"*a?*b*", "aabab", true},
		{"ab*ba", "aba", false},
		{"*?*", "", false},
		{"*?*", "é", true},
		{"a*?c*d", "abcd", true},
		{"a*?c*d", "acd", false},
		{"a/*/c/*/e", "a/b/c/c/d/e/e", true},
		{"*é?", "aéb", true},
		{"a.c", "abc", false},
		{"[ab]", "a", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q against %q: %v", c.pattern, c.text, got)
		}
	}
}

func TestGlobEqualsItsDefinition(t *testing.T) {
	letters := rapid.StringOfN(rapid.SampledFrom([]rune("ab:/é😀*?")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		pattern, text := letters.Draw(t, "pattern"), letters.Draw(t, "text")
		if got, want := matches(pattern, text), naive([]rune(pattern), []rune(text)); got != want {
			t.Fatalf("%q against %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// The automaton and the glob are the same thing when nothing minds colons.
func TestStepsEqualGlob(t *testing.T) {
	letters := rapid.StringOfN(rapid.SampledFrom([]rune("ab:é*?")), 0, 10, -1)
	rapid.Check(t, func(t *rapid.T) {
		pattern, text := letters.Draw(t, "pattern"), letters.Draw(t, "text")
		steps := appendSteps(nil, tokenise(pattern, version2008), anyOne, anyRun)
		if got, want := ends(steps, run(steps, []int{0}, text)), matches(pattern, text); got != want {
			t.Fatalf("%q against %q: automaton %v, glob %v", pattern, text, got, want)
		}
	})
}

func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"a*b?c", "axxbyc"}, {"**", ""}, {"*é?", "éé"}, {"a/*/b*", "a//b"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(text) || len(pattern) > 12 || len(text) > 16 {
			t.Skip("not UTF-8: refused before it gets here; or too long for the naive matcher")
		}
		if got, want := matches(pattern, text), naive([]rune(pattern), []rune(text)); got != want {
			t.Errorf("%q against %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// A pattern of stars takes no more than the product of the lengths, where a
// backtracking matcher would not come back.
func TestNoPatternIsSlow(t *testing.T) {
	text := strings.Repeat("a", 64<<10)
	for _, name := range []string{strings.Repeat("a*", 1000) + "b*", strings.Repeat("*a?", 600) + "b*", strings.Repeat("*", 2000) + "b*", strings.Repeat("*:a", 600) + "*"} {
		for _, head := range []string{"arn:aws:iot:us-east-1:123456789012:topic/", "arn:aws:iot:*:1*2:topic/"} {
			r := newResource(head+name, version2012, corpusGateway)
			started := time.Now()
			for _, tail := range r.tails("topic/", nil) {
				if tail.match(text, true) {
					t.Errorf("%.20s… matches", name)
				}
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("%.20s… behind %s took %v", name, head, took)
			}
		}
	}
}

func TestARNs(t *testing.T) {
	none := gateway{}
	for _, c := range []struct {
		pattern string
		gateway gateway
		name    string
		want    bool
	}{
		{"*", corpusGateway, "topic/x", true},
		{"arn:aws:iot:*", corpusGateway, "topic/x", true},
		{"arn:aws:iot:*:topic/x", corpusGateway, "topic/x", true},
		{"arn:aws:iot:us-*2:topic/x", corpusGateway, "topic/x", false},
		{"arn:aws:iot:us?east-1:123456789012:topic/x", corpusGateway, "topic/x", true},
		{"arn:aws:iot:us-east-1?123456789012:topic/x", corpusGateway, "topic/x", false},
		{"arn:aws:iot:*:*:topic/public/*", corpusGateway, "topic/secret/x:topic/public/y", true},
		{"arn:aws:iot:*:1*2:topic/x", corpusGateway, "topic/a:1b2:topic/x", true},
		{"arn:aws:iot:*:1*2:topic/x", corpusGateway, "topic/a:1b:2:topic/x", false},
		{"arn:aws:iot:*:1?2:topic/x", corpusGateway, "topic/a:1:2:topic/x", false},
		{"arn:aws:iot:eu-west-1:123456789012:topic/x", corpusGateway, "topic/x", false},
		{"arn:aws-cn:iot:cn-north-1:111111111111:topic/x", none, "topic/x", true},
		{"arn:aws:iot:::topic/x", none, "topic/x", true},
		{"arn:aws:iot:::topic/x", corpusGateway, "topic/x", false},
		{"arn:aws:greengrass:*:*:topic/x", none, "topic/x", false},
	} {
		got := false
		for _, tail := range newResource(c.pattern, version2012, c.gateway).tails("", nil) {
			got = got || tail.match(c.name, strings.Contains(c.name, ":"))
		}
		if got != c.want {
			t.Errorf("%s against %s: %v", c.pattern, c.name, got)
		}
	}
}

func TestTokenise(t *testing.T) {
	for text, want := range map[string][]token{
		"a${iot:ClientId}*": {{literal, "a"}, {variable, "iot:ClientId"}, {wildcard, "*"}},
		"${*}${?}${$}":      {{literal, "*"}, {literal, "?"}, {literal, "$"}},
		"$a${b":             {{literal, "$a"}, {literal, "${b"}},
		"${}":               {{variable, ""}},
		"":                  nil,
	} {
		got := tokenise(text, version2012)
		if len(got) != len(want) {
			t.Errorf("%q: %v", text, got)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: %v", text, got)
			}
		}
	}
}
