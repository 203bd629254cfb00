package billing

import "strings"

// validFilter reports whether a text is an MQTT topic filter: wildcards stand
// alone in their level, # is the last [MQTT-4.7.1-1] [MQTT-4.7.1-2].
func validFilter(filter string) bool {
	if filter == "" || len(filter) > 65535 || strings.Contains(filter, sep) {
		return false
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && len(l) > 1 || l == "#" && i < len(levels)-1 {
			return false
		}
	}
	return true
}

// cover is how much of a topic prefix a filter covers.
type cover byte

const (
	coversNone cover = iota
	coversSome       // the ledger cannot tell: some topics below the prefix match
	coversAll
)

// covers says how many of the topics that the ledger counts under prefix match
// filter. The prefix of a topic is its first levels; whether the topic goes on
// below it is not known, unless it has fewer levels than the ledger keeps.
func covers(filter, prefix string, levels int) cover {
	if prefix == other || len(prefix) > maxPrefixName-4 { // folded, or perhaps cut
		return coversSome
	}
	if strings.HasPrefix(prefix, "$") != strings.HasPrefix(filter, "$") {
		return coversNone // [MQTT-4.7.2-1]
	}
	if IsBasicIngest(prefix) {
		levels += 2
	}
	p, f := strings.Split(prefix, "/"), strings.Split(filter, "/")
	whole := len(p) < levels // the prefix is the whole topic
	for i, l := range p {
		switch {
		case i >= len(f):
			return coversNone
		case f[i] == "#":
			return coversAll
		case f[i] != "+" && f[i] != l:
			return coversNone
		}
	}
	rest := f[len(p):]
	switch {
	case len(rest) == 1 && rest[0] == "#":
		return coversAll
	case whole && len(rest) == 0:
		return coversAll
	case whole:
		return coversNone
	}
	return coversSome
}
