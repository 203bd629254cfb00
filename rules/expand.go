package rules

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// source is what a message gives to a template.
type source struct {
	topic, client, thing string
}

// limits are what a resulting topic must keep.
type limits struct {
	bytes   int
	slashes int // 0: any number
}

// Basic Ingest topics do not count their first three levels, $aws/rules/<rule>/
// (Q14, Q15).
const basicIngest = "$aws/rules/"

// expand makes the topic of one message. The values may come from a hostile
// device: what they put in must not change the shape that the template says.
func (t *template) expand(s source, lim limits) (string, error) {
	if t.verbatim {
		return s.topic, lim.check(s.topic)
	}
	var stack [256]byte
	out := stack[:0]
	for _, p := range t.parts {
		value, err := p.value(s)
		if err != nil {
			return "", err
		}
		out = append(out, value...)
		if len(out) > 65535 {
			return "", errors.New("the resulting topic is longer than 65535 bytes")
		}
	}
	result := string(out)
	if strings.HasPrefix(result, "$") && !t.mayReserve(s.topic) {
		return "", errors.New(`the resulting topic would begin with "$", which only the template may decide`)
	}
	return result, lim.check(result)
}

// value is what a part stands for in one message.
func (p part) value(s source) (string, error) {
	switch p.kind {
	case text:
		return p.text, nil
	case topic:
		return s.topic, nil
	case topicAt:
		l, ok := nthLevel(s.topic, p.n)
		if !ok {
			return "", fmt.Errorf("the topic has no level %d", p.n)
		}
		if l == "" {
			return "", fmt.Errorf("level %d of the topic is empty", p.n)
		}
		return l, nil
	case clientID:
		return oneLevel("client id", s.client)
	default:
		return oneLevel("thing name", s.thing)
	}
}

// oneLevel checks a name that stands for one level. AWS allows "/", "+" and
// "#" in client ids (B24); in a topic they would speak for other devices.
func oneLevel(what, name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("the device has no " + what)
	case strings.ContainsAny(name, "/+#\x00"):
		return "", fmt.Errorf("the %s %q has a /, +, # or NUL", what, name)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("the %s %q is not UTF-8", what, name)
	}
	return name, nil
}

// mayReserve reports whether the result may begin with "$": because the
// template says so, or because it takes a $-topic over, which only a filter
// that names it matches.
func (t *template) mayReserve(from string) bool {
	switch p := t.parts[0]; p.kind {
	case text:
		return true
	case topic:
		return strings.HasPrefix(from, "$")
	case topicAt:
		return p.n == 1 && strings.HasPrefix(from, "$")
	default:
		return false
	}
}

// nthLevel is the n-th level of a topic, from 1.
func nthLevel(topic string, n int) (string, bool) {
	for ; n > 1; n-- {
		i := strings.IndexByte(topic, '/')
		if i < 0 {
			return "", false
		}
		topic = topic[i+1:]
	}
	l, _, _ := strings.Cut(topic, "/")
	return l, true
}

// check refuses what the receiver would refuse.
func (l limits) check(topic string) error {
	counted := topic
	if rule, ok := strings.CutPrefix(topic, basicIngest); ok && l.slashes > 0 {
		if _, below, ok := strings.Cut(rule, "/"); ok {
			counted = below
		}
	}
	if len(counted) > l.bytes {
		return fmt.Errorf("the resulting topic has %d bytes, allowed are %d", len(counted), l.bytes)
	}
	if n := strings.Count(counted, "/"); l.slashes > 0 && n > l.slashes {
		return fmt.Errorf("the resulting topic has %d slashes, allowed are %d", n, l.slashes)
	}
	if topic == "" {
		return errors.New("the resulting topic is empty")
	}
	return nil
}
