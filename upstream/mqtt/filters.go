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

// overlap reports whether there may be a topic that two filters match.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	if x[0] == "$share" || y[0] == "$share" {
		return true // perhaps
	}
	for _, of := range [][2]string{{x[0], y[0]}, {y[0], x[0]}} {
		if (of[0] == "+" || of[0] == "#") && strings.HasPrefix(of[1], "$") { // [MQTT-4.7.2-1]
			return false
		}
	}
	for i := 0; i < len(x) || i < len(y); i++ {
		switch {
		case i < len(x) && x[i] == "#", i < len(y) && y[i] == "#":
			return true
		case i >= len(x) || i >= len(y):
			return false
		case x[i] != "+" && y[i] != "+" && x[i] != y[i]:
			return false
		}
	}
	return true
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
