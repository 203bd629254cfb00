package billing

import (
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// Kind is whether a message could have shared a batch with others: it is recorded with the
// sizes.
type Kind byte

// The kinds. What a version has recorded that did not tell them is Untold.
const (
	Single    Kind = iota // it may be put into one
	Alone                 // no step combines it: a request, a birth, a part or a pointer to a file
	Sparkplug             // it passes the steps of its route by, under whatever topic it is sent
	Batched               // it is one
	Untold
)

// kindWords end the keys of recorded sizes; that of a batch has besides how it was made.
var kindWords = [...]string{Single: "one", Alone: "alone", Sparkplug: "sparkplug", Batched: "batch:"}

// kindOf reads a word back.
func kindOf(word string) (k Kind, made string, ok bool) {
	for k, w := range kindWords {
		if Kind(k) == Batched {
			if made, ok = strings.CutPrefix(word, w); ok {
				return Batched, made, true
			}
		} else if word == w {
			return Kind(k), "", true
		}
	}
	return 0, "", false
}

// typePart is the content type of a part of a payload that was split (package shape).
const typePart = "application/x-ebb-part"

// Routes tells the meter what the routes do by now: it tells batches by that. It may be
// called at any time.
func (m *Meter) Routes(all map[string]Does) { m.routes.Store(&all) }

// kind is what was sent of a route, and how, if it is a batch.
func (m *Meter) kind(route string, s *bridge.Stored, out *bridge.Message) (k Kind, made string) {
	var does Does
	if all := m.routes.Load(); all != nil {
		does = (*all)[route]
	}
	sparkplug := isSparkplug(s.Topic) // as it came, not as it is sent
	switch {
	case out.ResponseTopic != "" || len(out.CorrelationData) > 0 || out.ContentType == bridge.TypeFile || out.ContentType == typePart:
		return Alone, ""
	case sparkplug && !does.Sparkplug:
		return Sparkplug, ""
	case does.Made != "" && out.ContentType == does.Type: // whatever is batched has it, if it is one message
		return Batched, does.Made
	case sparkplug && lifecycle(s.Topic):
		return Alone, ""
	}
	return Single, ""
}

// sparkplugRoot begins the topics of Sparkplug.
const sparkplugRoot = "spBv1.0"

func isSparkplug(topic string) bool {
	rest, ok := strings.CutPrefix(topic, sparkplugRoot)
	return ok && (rest == "" || rest[0] == '/')
}

// lifecycle reports whether a topic of Sparkplug is one that the steps combine with
// nothing, see package shape.
func lifecycle(topic string) bool {
	levels := strings.Split(topic, "/")
	if len(levels) < 3 {
		return false
	}
	switch levels[2] {
	case "NBIRTH", "NDEATH", "DBIRTH", "DDEATH":
		return true
	}
	return levels[1] == "STATE"
}
