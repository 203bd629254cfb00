package localbroker

import (
	"errors"
	"fmt"
	"strings"
)

const shareRoot = "$share/"

// topicName checks a topic that a device publishes to (B79-B82). The codec has
// checked that it is UTF-8 without NUL.
func (p *profile) topicName(t string) error {
	switch {
	case t == "":
		return errors.New("empty topic")
	case strings.ContainsAny(t, "+#"):
		return errors.New("wildcard in a topic")
	case t[0] == '$' && !p.mayPublish(t):
		return errors.New("reserved topic")
	}
	return p.size(t)
}

// mayPublish decides on "$" topics: AWS's reserved ones and those that the
// listener takes besides (reserved_extra), and in profile mqtt whatever is not
// the broker's own (MQTT 4.7.2).
func (p *profile) mayPublish(t string) bool {
	switch {
	case t == "$SYS" || strings.HasPrefix(t, "$SYS/"): // the broker's own
		return false
	case p.aws && (strings.HasPrefix(t, eventsRoot) || t+"/" == basicIngest || t == basicIngest || strings.HasPrefix(t, basicIngest+"/")):
		return false // B197; no rule has no name
	}
	return !p.aws || strings.HasPrefix(t, "$aws/") || p.takesReserved(t)
}

// size checks length and depth. Basic Ingest's first three levels are free
// (Q14, Q15).
func (p *profile) size(t string) error {
	if rest, ok := strings.CutPrefix(t, basicIngest); ok && p.aws {
		if _, below, ok := strings.Cut(rest, "/"); ok {
			t = below
		}
	}
	if len(t) > p.topicSize {
		return fmt.Errorf("%d bytes, at most %d", len(t), p.topicSize)
	}
	if n := strings.Count(t, "/"); n > p.slashes {
		return fmt.Errorf("%d slashes, at most %d", n, p.slashes)
	}
	return nil
}

// filter is a topic filter taken apart.
type filter struct {
	text  string // as sent
	group string // share name, empty for an ordinary filter
	topic string // the filter proper
}

// parseFilter checks a filter of a SUBSCRIBE (B131, B135, B136, B146, B174).
func (p *profile) parseFilter(text string) (filter, error) {
	f := filter{text: text, topic: text}
	if rest, ok := strings.CutPrefix(text, shareRoot); ok {
		if f.group, f.topic, ok = strings.Cut(rest, "/"); !ok || f.group == "" || strings.ContainsAny(f.group, "+#") || len(f.group) > p.shareName {
			return f, errors.New("share name")
		}
	}
	if f.topic == "" {
		return f, errors.New("empty filter")
	}
	if f.topic[0] == '$' && !p.maySubscribe(f.topic) {
		return f, errReserved
	}
	return f, p.filterForm(f)
}

// filterForm checks wildcards and sizes.
func (p *profile) filterForm(f filter) error {
	for level := range strings.SplitSeq(f.topic, "/") {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return errors.New("a wildcard shares its level")
		}
	}
	if i := strings.IndexByte(f.topic, '#'); i >= 0 && i != len(f.topic)-1 {
		return errors.New("# is not last")
	}
	if f.group != "" && len(f.topic) > p.shareFilter {
		return fmt.Errorf("shared filter of %d bytes, at most %d", len(f.topic), p.shareFilter) // Q36
	}
	return p.size(f.topic)
}

var errReserved = errors.New("reserved filter")

func (p *profile) maySubscribe(t string) bool {
	if p.aws {
		return strings.HasPrefix(t, "$aws/") && !strings.HasPrefix(t+"/", basicIngest) || p.takesReserved(t)
	}
	return t != "$share" && !strings.HasPrefix(t, shareRoot)
}

// matches reports whether a filter covers a topic; parent says whether "a/#"
// covers "a" (B134). The index answers the same question for all filters at
// once; this is for the retained messages.
func matches(filter, topic string, parent bool) bool {
	if topic != "" && topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false // [MQTT-4.7.2-1]
	}
	for {
		f, restFilter, moreFilter := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, restTopic, moreTopic := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case !moreFilter:
			return !moreTopic
		case !moreTopic:
			return parent && restFilter == "#"
		}
		filter, topic = restFilter, restTopic
	}
}
