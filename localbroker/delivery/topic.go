package delivery

import (
	"errors"
	"strings"
)

// Format is how requests and answers are written; an answer is in the format of
// its request.
type Format string

// The formats, as the last level of a topic names them.
const (
	JSON Format = "json"
	CBOR Format = "cbor"
)

// The levels of topics that name what is asked or answered.
const (
	verbDescribe    = "describe"
	verbGet         = "get"
	verbDescription = "description"
	verbData        = "data"
	verbRejected    = "rejected"
)

const (
	topicRoot    = "$aws/things/"
	streamsLevel = "streams"
)

// topic is one topic of a stream, taken apart.
type topic struct {
	thing, stream string
	verb          string
	format        Format
}

var (
	errTopic  = errors.New("not a topic of a stream: write $aws/things/THING/streams/STREAM/get/json, or describe, or cbor")
	errAnswer = errors.New("only the gateway and the cloud publish to description, data and rejected")
)

// ours reports whether a topic, or a filter, is about streams.
func ours(t string) bool {
	rest, ok := strings.CutPrefix(t, topicRoot)
	if !ok {
		return false
	}
	_, rest, ok = strings.Cut(rest, "/")
	level, _, _ := strings.Cut(rest, "/")
	return ok && level == streamsLevel
}

// parseTopic takes a topic apart that ours has said is one. The verb is one of
// the five.
func parseTopic(t string) (topic, error) {
	l := strings.Split(t, "/")
	if len(l) != 7 || l[2] == "" {
		return topic{}, errTopic
	}
	out := topic{thing: l[2], stream: l[4], verb: l[5], format: Format(l[6])}
	switch out.verb {
	case verbDescribe, verbGet, verbDescription, verbData, verbRejected:
	default:
		return topic{}, errTopic
	}
	if out.format != JSON && out.format != CBOR {
		return out, errTopic
	}
	return out, nil
}

// request reports whether a device may publish there.
func (t topic) request() bool { return t.verb == verbDescribe || t.verb == verbGet }

// String is the topic as it is published to.
func (t topic) String() string {
	return strings.Join([]string{"$aws", "things", t.thing, streamsLevel, t.stream, t.verb, string(t.format)}, "/")
}

// with is the topic of an answer.
func (t topic) with(verb string) string {
	t.verb = verb
	return t.String()
}

const maxStreamID = 128

// ValidID reports whether a text can name a stream: 1 to 128 letters, digits,
// '_' and '-'.
func ValidID(id string) bool {
	return id != "" && len(id) <= maxStreamID &&
		strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}
