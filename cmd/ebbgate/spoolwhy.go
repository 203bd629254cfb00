package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// Where a message is, in [whyLine].
const (
	whyHeld    = "held"
	whyDead    = "dead-letter"
	whyDropped = "dropped"
	whyMoved   = "moved"
	whyPart    = "part-of"
	whyKept    = "kept-back"
	whySplit   = "in-parts"
	whySent    = "delivered"
	whyGone    = "not-here"
)

// whyLine is what became of a message at one of its receivers.
type whyLine struct {
	State  string      `json:"state"`        // held | dead-letter | dropped | moved | part-of | kept-back | in-parts | delivered | not-here
	Of     string      `json:"of,omitempty"` // the message that is spoken of, when it is not the one that was asked for
	Part   *partLine   `json:"part,omitempty"`
	Ahead  int         `json:"ahead"` // held: how many are before it in the queue
	Next   string      `json:"next,omitempty"`
	Record *recordLine `json:"record,omitempty"`
	Drop   *dropLine   `json:"drop,omitempty"`
	Move   *moveLine   `json:"move,omitempty"`
	Text   string      `json:"text,omitempty"` // in-parts, delivered, not-here: how that is known, what the id itself tells
}

// partLine is what the steps of a route made of a message.
type partLine struct {
	Product string    `json:"product,omitempty"` // the id of the message that it is in
	Step    string    `json:"step,omitempty"`    // or what kept it back
	Self    bool      `json:"self,omitempty"`    // that is the one that has its id
	Queue   string    `json:"queue"`             // of the products
	When    time.Time `json:"when"`
	Clock   string    `json:"clock"`
}

func (f *spoolFlags) why() *cobra.Command {
	req := spoolRequest{Op: "why"}
	return &cobra.Command{
		Use: "why MESSAGE-ID", Short: "Tell where a message is, or why it is gone", Args: cobra.ExactArgs(1),
		Long: `Tell where a message is, or why it is gone. The id is the one that the message
carries to the cloud (user property ` + bridge.PropID + `) and that ls --json shows.

A message may have several receivers: each that holds it or gave it up is told. Of
one that the steps of a route made a part of another message (a batch, a window)
that one is named, and then where it is: so for the last million messages of seven
days. What ebbgate spool requeue has moved is followed to its new queue. The ids of what was delivered are not kept: what is neither held, nor in the
drop log, nor in another message was delivered, or never accepted, or is gone longer
than the logs reach. The queues and the logs are read from end to end.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.ID = args[0]
			if _, err := bridge.ParseMessageID(req.ID); err != nil {
				return &exitError{exitInvalid, err}
			}
			return f.do(cmd, req, func(l spoolLine) error {
				if l.Why == nil {
					return nil
				}
				if f.json {
					return printIndented(cmd.OutOrStdout(), l.Why)
				}
				return l.Why.tell(cmd.OutOrStdout())
			})
		},
	}
}

func (l *whyLine) tell(w io.Writer) error {
	var err error
	if l.Of != "" {
		_, _ = fmt.Fprintf(w, "message %s: ", l.Of)
	}
	switch r := l.Record; l.State {
	case whyPart:
		if l.Part.Self {
			_, err = fmt.Fprintf(w, "its id is that of what the steps of the route have made of it and of others, in %s, from %s on\n", l.Part.Queue, clocked(l.Part.When.UTC().Format(time.RFC3339), l.Part.Clock))
			break
		}
		_, err = fmt.Fprintf(w, "made a part of message %s in %s by the steps of the route, at %s\n", l.Part.Product, l.Part.Queue, clocked(l.Part.When.UTC().Format(time.RFC3339), l.Part.Clock))
	case whyKept:
		_, err = fmt.Fprintf(w, "kept back by the step %s of %s, as the route says, at %s\n", l.Part.Step, l.Part.Queue, clocked(l.Part.When.UTC().Format(time.RFC3339), l.Part.Clock))
	case whyHeld:
		_, err = fmt.Fprintf(w, "held in %s, place %d, %d before it; from %s, topic %s, %s\n%s\n",
			r.Queue, r.Place, l.Ahead, printable(r.Device), printable(r.Topic), r.accepted(), l.Next)
	case whyDead:
		_, err = fmt.Fprintf(w, "a dead letter in %s, place %d: %s; from %s, topic %s, %s\n%s\n",
			r.Queue, r.Place, printable(r.Why), printable(r.Device), printable(r.Topic), r.accepted(), l.Next)
	case whyDropped:
		d := l.Drop
		_, err = fmt.Fprintf(w, "given up by %s at %s: %s; from %s, topic %s, accepted %s\n", d.Queue, d.when(),
			strings.TrimSuffix(d.Reason+", "+printable(d.Detail), ", "), printable(d.Device), printable(d.Topic), d.Accepted.UTC().Format(time.RFC3339))
	case whyMoved:
		_, err = fmt.Fprintf(w, "moved from %s to %s by ebbgate spool requeue, at %s\n", l.Move.From, l.Move.To, clocked(l.Move.When.UTC().Format(time.RFC3339), l.Move.Clock))
	default:
		_, err = fmt.Fprintln(w, l.Text)
	}
	return err
}

// accepted says when a record was accepted. Of one that came through a gateway
// behind this one the time is that gateway's, and its age is since it came here: the
// one is not the other ago.
func (r *recordLine) accepted() string {
	at, age := clocked(r.Accepted.UTC().Format(time.RFC3339), r.Clock), humanAge(seconds(r.Age))
	if r.Elsewhere {
		return fmt.Sprintf("accepted %s by the gateway that had it first, and here %s ago", at, age)
	}
	return fmt.Sprintf("accepted %s (%s ago)", at, age)
}

// whyHops bounds how often a part of a part is followed: a window's parts are put
// together once or twice.
const whyHops = 16

// why looks for a message in the queues and in the logs, and for those that it was
// made a part of.
func (s *desk) why(text string, emit func(spoolLine) error) error {
	asked, err := bridge.ParseMessageID(text)
	if err != nil {
		return err
	}
	var seen []bridge.MessageID
	for next := []bridge.MessageID{asked}; len(next) > 0 && len(seen) < whyHops; {
		id := next[0]
		if next = next[1:]; slices.Contains(seen, id) {
			continue
		}
		seen = append(seen, id)
		of := ""
		if id != asked {
			of = id.String()
		}
		parts, err := s.whyOne(id, of, emit)
		if err != nil {
			return err
		}
		for _, p := range parts {
			next = append(next, p.Product)
		}
	}
	return nil
}

// whyOne tells of one message, and returns what it was made a part of.
func (s *desk) whyOne(id bridge.MessageID, of string, emit func(spoolLine) error) (onward []bridge.PartOf, err error) {
	found, held, entries, damaged := s.whereabouts(id)
	way, split := newCourse(), new(splitParts)
	found = split.take(found, id)
	for _, e := range entries {
		if e.ID != id {
			split.entry(e)
			continue
		}
		way.entry(e)
		l := &whyLine{State: whyDropped}
		if e.MovedTo() != "" {
			l.State, l.Move = whyMoved, describeMove(e)
		} else {
			l.Drop = describeDrop(e)
		}
		found = append(found, l)
	}
	found = append(found, split.tell()...)
	for _, l := range found {
		l.Of = of
		if err := emit(spoolLine{Why: l}); err != nil {
			return nil, err
		}
	}
	parts, err := s.partsOf(id)
	if err = firstOf(damaged, err); err != nil {
		return nil, err
	}
	var made *bridge.PartOf // the product that has its id
	for i, p := range parts {
		if p.Product == id {
			if made != nil {
				continue // the sum of a window has its id, too, and each part of that
			}
			made = &parts[i]
		}
		l := &whyLine{State: whyPart, Of: of, Part: &partLine{p.Product.String(), p.Step, p.Product == id, p.Queue, p.When, bridge.Instant{Synced: p.Synced}.Quality()}}
		if p.Product != id {
			way.left(p.Queue)
		}
		if p.Step != "" {
			l.State, l.Part.Product = whyKept, ""
		} else if p.Product != id {
			onward = append(onward, p)
		}
		if err := emit(spoolLine{Why: l}); err != nil {
			return nil, err
		}
	}
	for _, l := range way.end(s, held) {
		l.Of = of
		if err := emit(spoolLine{Why: l}); err != nil {
			return nil, err
		}
	}
	if len(found) > 0 || len(parts) > 0 && made == nil {
		return onward, nil
	}
	return onward, s.whyNowhere(id, of, made, emit)
}

// partsOf finds what a message was made a part of.
func (s *desk) partsOf(id bridge.MessageID) (out []bridge.PartOf, err error) {
	err = s.drops.Parts(func(p *bridge.PartOf) bool {
		if p.Member == id {
			out = append(out, *p)
		}
		return true
	})
	return out, err
}

// whyNowhere tells of a message that is not held and was not dropped, or of the
// product that has its id.
func (s *desk) whyNowhere(id bridge.MessageID, of string, made *bridge.PartOf, emit func(spoolLine) error) error {
	l := &whyLine{State: whyGone, Of: of, Text: "not held and not in the drop log: delivered, or dropped longer ago than the log reaches"}
	switch {
	case made != nil && made.Age >= s.drops.DropsReach():
		l.State, l.Text = whySent, fmt.Sprintf("delivered by %s: it was made, and is neither held nor in the drop log", made.Queue)
	case made == nil && of == "":
		birth, err := bridge.BirthOf(s, id)
		if err != nil {
			return err
		}
		l.Text = tellBirth(birth)
	}
	return emit(spoolLine{Why: l})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// whereaboutsTries is how often it is looked again for a message that moves meanwhile.
const whereaboutsTries = 3

// whereabouts finds who holds a message, how many of it by queue, and what the log has
// of it. A gateway that runs sends it meanwhile, or gives it up: what is not held
// any more since then is in the log by now, so the log is the same before and after.
// Of a log that is damaged comes what is left, and the error.
func (s *desk) whereabouts(id bridge.MessageID) (found []*whyLine, held map[string]int, entries []*bridge.DropEntry, err error) {
	entries, damaged := s.historyOf(id)
	for range whereaboutsTries {
		found, held = nil, map[string]int{}
		for _, q := range s.Queues() {
			list, err := s.whyHeld(q, id)
			if err != nil {
				return nil, nil, nil, err
			}
			found = append(found, list...)
			for _, l := range list {
				if !l.partOf(id) {
					held[routeQueue(q)]++
				}
			}
		}
		before := len(entries)
		if entries, damaged = s.historyOf(id); damaged != nil || len(entries) == before {
			return found, held, entries, damaged
		}
	}
	return nil, nil, nil, fmt.Errorf("message %s is moved from queue to queue all the time: ask again later", id)
}

// historyOf is what the log has of a message.
func (s *desk) historyOf(id bridge.MessageID) (out []*bridge.DropEntry, err error) {
	err = s.drops.History(func(e *bridge.DropEntry) bool {
		if e.ID == id || shape.IsPart(e.ID, id) {
			clone := *e
			out = append(out, &clone)
		}
		return true
	})
	return out, err
}

// whyHeld looks for a message in one queue.
func (s *desk) whyHeld(queue string, id bridge.MessageID) (found []*whyLine, err error) {
	c := s.Cursor(queue)
	defer c.Close()
	for ahead := 0; ; ahead++ {
		x, err := c.Next()
		if err != nil || x == nil {
			return found, err
		}
		part, summed := shape.SummedIn(x.Record)
		if x.ID != id && (!summed || part.ID != id) && !shape.IsPart(x.ID, id) {
			continue
		}
		l := &whyLine{State: whyHeld, Ahead: ahead, Record: describe(s.Spool, x, false), Next: s.next(queue)}
		if summed {
			l.Next = part.Text() + ": " + l.Next
		}
		if isDead(queue) {
			l.State = whyDead
		}
		found = append(found, l)
	}
}

// next says what a message of a queue waits for.
func (s *desk) next(queue string) string {
	switch {
	case isDead(queue):
		return fmt.Sprintf("it waits for a person: send it again with ebbgate spool requeue %s, or give it up with ebbgate spool drop %s", queue, queue)
	case s.outlook == nil:
		return "it waits for the gateway, which does not run"
	}
	return s.outlook(queue).next
}

func tellBirth(b bridge.Birth) string {
	const gone = "not held and not in the drop log: delivered to every receiver, or dropped, or made a part of another message, longer ago than the logs reach"
	if !b.Known {
		return gone + "; or never accepted here: no start of this gateway that it remembers gave out such an id; those of what came through a gateway behind this one are that gateway's"
	}
	clock := ""
	if !b.Synced {
		clock = ", by a clock that was not synchronised"
	}
	return fmt.Sprintf("%s; or never accepted, if that start has not come so far: it would be message %d of the start of %s%s", gone, b.Number, b.Started.Format(time.RFC3339), clock)
}
