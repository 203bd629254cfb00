package rules

import (
	"strings"
)

// levelKind is what one level of a filter or pattern stands for.
type levelKind byte

const (
	literal  levelKind = iota // exactly text
	affixed                   // text, anything, suffix; only in patterns of resulting topics
	anyLevel                  // "+"
	anyRest                   // "#": this level and all below it, or none
)

// level is one level of a filter, or of the pattern of a route's results.
type level struct {
	kind   levelKind
	text   string
	suffix string
}

// fault is what is wrong with a filter or a template, and what to do about it.
type fault struct{ text, remedy string }

func (f *fault) Error() string { return f.text + "; " + f.remedy }

// parseFilter checks a topic filter and splits it. Shared subscriptions have
// no meaning in a route and are refused.
func parseFilter(s string) ([]level, error) {
	switch {
	case s == "":
		return nil, &fault{"is missing", `write a topic filter such as "dt/#"`}
	case len(s) > 65535:
		return nil, &fault{"is longer than 65535 bytes", "shorten it"}
	case strings.ContainsRune(s, 0):
		return nil, &fault{"contains a NUL character", "take it out"}
	case s == "$share" || strings.HasPrefix(s, "$share/"):
		return nil, &fault{"is a shared subscription", "name the topic filter without $share and the group"}
	}
	parts := strings.Split(s, "/")
	levels := make([]level, len(parts))
	for i, p := range parts {
		switch {
		case p == "#":
			if i < len(parts)-1 {
				return nil, &fault{`has "#" before its last level`, `use "+" for one level, and "#" only at the end`}
			}
			levels[i].kind = anyRest
		case p == "+":
			levels[i].kind = anyLevel
		case strings.ContainsAny(p, "+#"):
			return nil, &fault{"has a wildcard beside other characters in " + quote(p), `let "+" or "#" stand alone between slashes`}
		default:
			levels[i].text = p
		}
	}
	return levels, nil
}

// dollar reports whether topics of this first level begin with "$".
func (l level) dollar() bool {
	return l.kind <= affixed && strings.HasPrefix(l.text, "$")
}

// intersects reports whether some topic matches both.
func intersects(a, b []level) bool {
	for i := 0; ; i++ {
		if i == len(a) && i == len(b) {
			return true
		}
		if restAt(a, i) {
			return i > 0 || !b[0].dollar()
		}
		if restAt(b, i) {
			return i > 0 || !a[0].dollar()
		}
		if i == len(a) || i == len(b) || !a[i].meets(b[i], i == 0) {
			return false
		}
	}
}

func restAt(f []level, i int) bool { return i < len(f) && f[i].kind == anyRest }

// meets reports whether some level matches both; neither is "#".
func (l level) meets(o level, first bool) bool {
	switch {
	case l.kind == anyLevel:
		return !first || !o.dollar()
	case o.kind == anyLevel:
		return !first || !l.dollar()
	case l.kind == literal && o.kind == literal:
		return l.text == o.text
	case l.kind == literal:
		return o.admits(l.text)
	case o.kind == literal:
		return l.admits(o.text)
	default:
		return (strings.HasPrefix(l.text, o.text) || strings.HasPrefix(o.text, l.text)) &&
			(strings.HasSuffix(l.suffix, o.suffix) || strings.HasSuffix(o.suffix, l.suffix))
	}
}

// admits reports whether an affixed level matches text.
func (l level) admits(text string) bool {
	return len(text) >= len(l.text)+len(l.suffix) && strings.HasPrefix(text, l.text) && strings.HasSuffix(text, l.suffix)
}

// covers reports whether every topic that matches b matches a. Both are plain
// filters.
func covers(a, b []level) bool {
	for i := range a {
		switch {
		case a[i].kind == anyRest:
			return i > 0 || !b[0].dollar()
		case i == len(b):
			return false
		case b[i].kind == anyRest:
			// "+/#" is as much as "#"; below the first level "#" also
			// matches the parent, which "+" does not.
			return i == 0 && a[0].kind == anyLevel && restAt(a, 1)
		case a[i].kind == anyLevel:
			if i == 0 && b[0].dollar() {
				return false
			}
		case b[i].kind == anyLevel || a[i].text != b[i].text:
			return false
		}
	}
	return len(a) == len(b)
}
