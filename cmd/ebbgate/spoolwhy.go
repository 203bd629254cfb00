package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
)

// Where a message is, in [whyLine].
const (
	whyHeld    = "held"
	whyDead    = "dead-letter"
	whyDropped = "dropped"
	whyGone    = "not-here"
)

// whyLine is what became of a message at one of its receivers.
type whyLine struct {
	State  string      `json:"state"` // held | dead-letter | dropped | not-here
	Ahead  int         `json:"ahead"` // held: how many are before it in the queue
	Next   string      `json:"next,omitempty"`
	Record *recordLine `json:"record,omitempty"`
	Drop   *dropLine   `json:"drop,omitempty"`
	Text   string      `json:"text,omitempty"` // not-here: what the id itself tells
}

func (f *spoolFlags) why() *cobra.Command {
	req := spoolRequest{Op: "why"}
	return &cobra.Command{
		Use: "why MESSAGE-ID", Short: "Tell where a message is, or why it is gone", Args: cobra.ExactArgs(1),
		Long: `Tell where a message is, or why it is gone. The id is the one that the message
carries to the cloud (user property ` + bridge.PropID + `) and that ls --json shows.

A message may have several receivers: each that holds it or gave it up is told.
The ids of what was delivered, or made a part of another message by the steps of a
route, are not kept; a message that is neither held nor in the drop log was one of
these, or never accepted, or dropped longer ago than the log reaches. The queues and the drop log are read from end to end.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.ID = args[0]
			if _, err := bridge.ParseMessageID(req.ID); err != nil {
				return &exitError{exitInvalid, err}
			}
			return f.do(cmd.Context(), req, func(l spoolLine) error {
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
	switch r := l.Record; l.State {
	case whyHeld:
		_, err = fmt.Fprintf(w, "held in %s, place %d, %d before it; from %s, topic %s, accepted %s (%s ago)\n%s\n",
			r.Queue, r.Place, l.Ahead, r.Device, r.Topic, r.Accepted.Format(time.RFC3339), humanAge(seconds(r.Age)), l.Next)
	case whyDead:
		_, err = fmt.Fprintf(w, "a dead letter in %s, place %d: %s; from %s, topic %s, accepted %s (%s ago)\n%s\n",
			r.Queue, r.Place, r.Why, r.Device, r.Topic, r.Accepted.Format(time.RFC3339), humanAge(seconds(r.Age)), l.Next)
	case whyDropped:
		d := l.Drop
		_, err = fmt.Fprintf(w, "given up by %s at %s: %s; from %s, topic %s, accepted %s\n", d.Queue, d.when(),
			strings.TrimSuffix(d.Reason+", "+d.Detail, ", "), d.Device, d.Topic, d.Accepted.Format(time.RFC3339))
	default:
		_, err = fmt.Fprintln(w, l.Text)
	}
	return err
}

// why looks for a message in the queues and in the drop log.
func (s *desk) why(text string, emit func(spoolLine) error) error {
	id, err := bridge.ParseMessageID(text)
	if err != nil {
		return err
	}
	found := 0
	for _, q := range s.Queues() {
		n, err := s.whyHeld(q, id, emit)
		if err != nil {
			return err
		}
		found += n
	}
	err = nil
	damaged := s.drops.Entries(func(e *bridge.DropEntry) bool {
		if e.ID == id {
			found++
			err = emit(spoolLine{Why: &whyLine{State: whyDropped, Drop: describeDrop(e)}})
		}
		return err == nil
	})
	if err != nil || damaged != nil || found > 0 {
		return firstOf(err, damaged)
	}
	birth, err := bridge.BirthOf(s, id)
	if err != nil {
		return err
	}
	return emit(spoolLine{Why: &whyLine{State: whyGone, Text: tellBirth(birth)}})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// whyHeld looks for a message in one queue.
func (s *desk) whyHeld(queue string, id bridge.MessageID, emit func(spoolLine) error) (found int, err error) {
	c := s.Cursor(queue)
	defer c.Close()
	for ahead := 0; ; ahead++ {
		x, err := c.Next()
		if err != nil || x == nil {
			return found, err
		}
		if x.ID != id {
			continue
		}
		found++
		l := &whyLine{State: whyHeld, Ahead: ahead, Record: describe(s.Spool, x, false), Next: s.next(queue)}
		if isDead(queue) {
			l.State = whyDead
		}
		if err := emit(spoolLine{Why: l}); err != nil {
			return found, err
		}
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
	const gone = "not held and not in the drop log: delivered to every receiver, made a part of another message by the steps of a route, or dropped longer ago than the log reaches"
	if !b.Known {
		return gone + "; or never accepted here: no start of this gateway that it remembers gave out such an id"
	}
	clock := ""
	if !b.Synced {
		clock = ", by a clock that was not synchronised"
	}
	return fmt.Sprintf("%s; or never accepted, if that start has not come so far: it would be message %d of the start of %s%s", gone, b.Number, b.Started.Format(time.RFC3339), clock)
}
