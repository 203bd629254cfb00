package shape

import "strings"

// Sparkplug's topics are spBv1.0/<group>/<type>/<node>[/<device>], and
// spBv1.0/STATE/<host>.
const sparkplugRoot = "spBv1.0"

// Sparkplug reports whether a topic is one of Sparkplug's. Its consumers expect
// every message as the node made it: births name the metrics, numbers in sequence
// tell of losses.
func Sparkplug(topic string) bool {
	rest, ok := strings.CutPrefix(topic, sparkplugRoot)
	return ok && (rest == "" || rest[0] == '/')
}

// lifecycle reports whether a topic is that of a birth, a death or the state of
// a host, which give the data around them its meaning.
func lifecycle(topic string) bool {
	rest, ok := strings.CutPrefix(topic, sparkplugRoot+"/")
	if !ok {
		return false
	}
	group, rest, _ := strings.Cut(rest, "/")
	kind, _, _ := strings.Cut(rest, "/")
	switch kind {
	case "NBIRTH", "NDEATH", "DBIRTH", "DDEATH":
		return true
	default:
		return group == "STATE"
	}
}
