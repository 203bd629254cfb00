package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// variable is what a part of a template stands for.
type variable byte

const (
	text      variable = iota // itself
	topic                     // ${topic}: the whole topic
	topicAt                   // ${topic[n]}: its n-th level, from 1 as AWS's topic(n)
	clientID                  // ${client_id}
	thingName                 // ${thing_name}
)

type part struct {
	kind variable
	text string // of kind text
	n    int    // of kind topicAt
}

// template is a topic template in parts. Its text between the variables is
// literal; a "$" that no "{" follows is itself.
type template struct {
	parts    []part
	verbatim bool // the template is ${topic}, so the result is the topic
}

// parseTemplate reads a template; with device, the variables that need a
// device are allowed. Positions in messages count characters from 1.
func parseTemplate(s string, device bool) (*template, error) {
	if s == "" {
		return nil, &fault{"is missing", `write a topic, or "${topic}" to keep the message's own`}
	}
	t := &template{}
	rest := s
	for rest != "" {
		before, after, found := strings.Cut(rest, "${")
		if before != "" {
			if i := strings.IndexAny(before, "+#\x00"); i >= 0 {
				return nil, &fault{fmt.Sprintf("has %q at character %d, which no topic may contain", before[i], position(s, len(s)-len(rest)+i)), "take it out: wildcards belong into from"}
			}
			t.parts = append(t.parts, part{kind: text, text: before})
		}
		if !found {
			break
		}
		at := position(s, len(s)-len(after)-2)
		name, after, found := strings.Cut(after, "}")
		if !found {
			return nil, &fault{fmt.Sprintf("has a ${ without } at character %d", at), `close it, as in "${topic}"`}
		}
		p, err := parseVariable(name, at, device)
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, p)
		rest = after
	}
	t.verbatim = len(t.parts) == 1 && t.parts[0].kind == topic
	return t, t.checkText()
}

// namesDevice reports whether the topic says whose message it is.
func (t *template) namesDevice() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.kind == clientID || p.kind == thingName })
}

// Names are how long the names are that a topic is made of, in bytes.
type Names struct {
	Topic, ClientID, Thing int

	Begins string // how the message's own topic begins, in whole levels, as far as is known
}

// TopicSize is how many bytes a topic of the route has. ok is false where a level of the
// message's own topic is in it that is not known.
func (u UpRoute) TopicSize(n Names) (size int, ok bool) {
	t, err := parseTemplate(u.Topic, true)
	if err != nil {
		return 0, false
	}
	size, _, ok = t.size(n)
	return size, ok
}

// OwnTopicSize is how many bytes the own topic of a message has, whose topic of the route
// has n.Topic. ok is false where that does not tell.
func (u UpRoute) OwnTopicSize(n Names) (size int, ok bool) {
	t, err := parseTemplate(u.Topic, true)
	if err != nil {
		return 0, false
	}
	whole := n.Topic
	n.Topic = 0
	fixed, times, ok := t.size(n)
	if !ok || times == 0 {
		return 0, false
	}
	return max(whole-fixed, 0) / times, true
}

// size is how long a result is, and how often the message's own topic is in it.
func (t *template) size(n Names) (size, times int, ok bool) {
	levels := strings.Split(n.Begins, "/")
	for _, p := range t.parts {
		switch p.kind {
		case text:
			size += len(p.text)
		case topic:
			size, times = size+n.Topic, times+1
		case topicAt:
			if n.Begins == "" || p.n > len(levels) {
				return 0, 0, false
			}
			size += len(levels[p.n-1])
		case clientID:
			size += n.ClientID
		case thingName:
			size += n.Thing
		}
	}
	return size, times, true
}

// position is the number, from 1, of the character at byte i of s.
func position(s string, i int) int { return len([]rune(s[:i])) + 1 }

func parseVariable(name string, at int, device bool) (part, error) {
	switch {
	case name == "topic":
		return part{kind: topic}, nil
	case name == "client_id" && device:
		return part{kind: clientID}, nil
	case name == "thing_name" && device:
		return part{kind: thingName}, nil
	case name == "client_id" || name == "thing_name":
		return part{}, &fault{fmt.Sprintf("has ${%s} at character %d, but a message from an upstream has no device", name, at), "use ${topic} or ${topic[1]}"}
	}
	if num, ok := strings.CutPrefix(name, "topic["); ok && strings.HasSuffix(num, "]") {
		n, err := strconv.Atoi(strings.TrimSuffix(num, "]"))
		if err != nil || n < 1 || n > 65535 {
			return part{}, &fault{fmt.Sprintf("has ${%s} at character %d, which is not a level of a topic", name, at), "count the levels from 1, as in ${topic[1]}"}
		}
		return part{kind: topicAt, n: n}, nil
	}
	known := "${topic}, ${topic[1]}, ${client_id} and ${thing_name}"
	if !device {
		known = "${topic} and ${topic[1]}"
	}
	return part{}, &fault{fmt.Sprintf("has an unknown variable ${%s} at character %d", name, at), "known are " + known}
}

// checkText looks at what the literal text alone already decides.
func (t *template) checkText() error {
	first := t.parts[0]
	if first.kind == text && (first.text == "$share" || strings.HasPrefix(first.text, "$share/")) {
		return &fault{"begins with $share/, to which nobody can publish", "take it out"}
	}
	return nil
}

// checkLevels reports a ${topic[n]} that no topic of the filter has.
func (t *template) checkLevels(from []level) error {
	if restAt(from, len(from)-1) {
		return nil
	}
	for _, p := range t.parts {
		if p.kind == topicAt && p.n > len(from) {
			return &fault{fmt.Sprintf("has ${topic[%d]}, but topics that match from have %d levels", p.n, len(from)), fmt.Sprintf("use a level from 1 to %d", len(from))}
		}
	}
	return nil
}

// least is the topic's literal text: no result is shorter or flatter.
func (t *template) least() string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
	}
	return b.String()
}

// pattern is a filter that every result for topics of from matches: as narrow
// as the literal text allows, never too narrow.
func (t *template) pattern(from []level) []level {
	p := patternBuilder{cur: level{}}
	for i, part := range t.parts {
		switch part.kind {
		case text:
			p.text(part.text)
		case topicAt:
			if l, ok := levelAt(from, part.n); ok {
				p.text(l)
			} else {
				p.any()
			}
		case topic:
			if p.levels(from, i == len(t.parts)-1) {
				return p.out
			}
		default:
			p.any()
		}
	}
	return append(p.out, p.cur.simple())
}

// levelAt is the n-th level of every topic of from, when it is literal.
func levelAt(from []level, n int) (string, bool) {
	if n > len(from) || from[n-1].kind != literal {
		return "", false
	}
	return from[n-1].text, true
}

type patternBuilder struct {
	out []level
	cur level // literal or affixed; not in out yet
}

func (p *patternBuilder) text(s string) {
	for i, piece := range strings.Split(s, "/") {
		if i > 0 {
			p.next()
		}
		if p.cur.kind == literal {
			p.cur.text += piece
		} else {
			p.cur.suffix += piece
		}
	}
}

func (p *patternBuilder) any() { p.cur.kind, p.cur.suffix = affixed, "" }

func (p *patternBuilder) next() {
	p.out = append(p.out, p.cur.simple())
	p.cur = level{}
}

// levels adds the levels of a filter, and reports whether the pattern ends
// there because nothing can be said about what follows.
func (p *patternBuilder) levels(from []level, last bool) bool {
	for i, l := range from {
		if l.kind == anyRest {
			if i == 0 || !last {
				p.any()
			}
			p.next()
			p.out = append(p.out, level{kind: anyRest})
			return true
		}
		if i > 0 {
			p.next()
		}
		if l.kind == anyLevel {
			p.any()
		} else {
			p.text(l.text)
		}
	}
	return false
}

// simple makes an affixed level without text what it is: "+".
func (l level) simple() level {
	if l.kind == affixed && l.text == "" && l.suffix == "" {
		return level{kind: anyLevel}
	}
	return l
}
