package mqtt

import (
	"slices"
	"strings"
)

// needless are the filters that others cover, by those: a broker may send a message
// once for each subscription that matches it [MQTT-3.3.4-2], and the routes take it
// whichever it comes by.
func needless(filters []string) map[string]string {
	out := map[string]string{}
	for i, f := range filters {
		for k, by := range filters {
			if i != k && f != by && covers(by, f) {
				out[f] = by
				break
			}
		}
	}
	for f, by := range out { // the widest of them
		for further, ok := out[by]; ok; further, ok = out[by] {
			by = further
		}
		out[f] = by
	}
	return out
}

// covers reports whether every topic that a filter matches is matched by another.
func covers(by, filter string) bool {
	wide, narrow := strings.Split(by, "/"), strings.Split(filter, "/")
	if by != filter && (wide[0] == "$share" || narrow[0] == "$share") {
		return false
	}
	if (wide[0] == "+" || wide[0] == "#") && strings.HasPrefix(narrow[0], "$") { // [MQTT-4.7.2-1]
		return false
	}
	for i, w := range wide {
		switch {
		case i >= len(narrow): // also of w "#": AWS does not send the parent for it
			return false
		case w == "#":
			return true
		case narrow[i] == "#":
			return false
		case w != "+" && w != narrow[i]:
			return false
		}
	}
	return len(narrow) == len(wide)
}

// wanted are the filters to subscribe to: those that no other covers which is granted,
// as far as is known.
func (d *Downlink) wanted(refused []refusedFilter) []string {
	not := map[string]bool{}
	for _, r := range refused {
		not[r.filter] = true
	}
	rest := slices.DeleteFunc(slices.Clone(d.filters), func(f string) bool { return not[f] })
	covered := needless(rest)
	return slices.DeleteFunc(rest, func(f string) bool { return covered[f] != "" })
}
