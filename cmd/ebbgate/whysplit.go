package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// splitParts sums up what became of the parts of a message that went in several, but the
// first, which has its id: there may be thousands.
type splitParts struct {
	held, given map[string]int // by where, and why
}

// take takes out of what was found the parts.
func (s *splitParts) take(found []*whyLine, whole bridge.MessageID) (left []*whyLine) {
	s.held, s.given = map[string]int{}, map[string]int{}
	for _, l := range found {
		if l.partOf(whole) {
			s.held[l.Record.Queue]++
		} else {
			left = append(left, l)
		}
	}
	return left
}

// partOf reports whether what is held is another part of a message that went in several.
func (l *whyLine) partOf(whole bridge.MessageID) bool {
	id, err := bridge.ParseMessageID(l.Record.ID)
	return err == nil && shape.IsPart(id, whole)
}

// entry takes in what the log has of one. A dead letter is held, or what became of it
// stands there as well.
func (s *splitParts) entry(e *bridge.DropEntry) {
	if e.MovedTo() == "" && e.Reason != bridge.DeadLetter {
		s.given[e.Queue+" ("+e.Reason+")"]++
	}
}

// tell is a line when there is something to tell.
func (s *splitParts) tell() []*whyLine {
	var texts []string
	for _, queue := range slices.Sorted(maps.Keys(s.held)) {
		texts = append(texts, fmt.Sprintf("%d held in %s", s.held[queue], queue))
	}
	for _, where := range slices.Sorted(maps.Keys(s.given)) {
		texts = append(texts, fmt.Sprintf("%d given up by %s", s.given[where], where))
	}
	if len(texts) == 0 {
		return nil
	}
	return []*whyLine{{State: whySplit, Text: "it went in parts (split), of which the first has its id; of the others: " + strings.Join(texts, ", ")}}
}
