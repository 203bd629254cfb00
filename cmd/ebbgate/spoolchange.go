package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// What is changed in one commit: a commit is synced, and with one for each record
// a million would take hours.
const (
	changedRecords = 256
	changedBytes   = 1 << 20
)

// soFarLine tells how far a change of records is.
type soFarLine struct {
	Done int `json:"done"`
	All  int `json:"all"` // what the queue held at the start, or the request's limit
}

// recordChange puts the change of a record into a batch, perhaps again.
type recordChange func(b *bridge.Batch, x *bridge.Stored, again bool)

// move is the change of requeue. What windows have summed up of a raw queue becomes a
// message, when it goes to a queue that is sent: nobody else can read it.
func (s *desk) move(b *bridge.Batch, x *bridge.Stored, queue string) {
	rec, receiver := x.Record, x.Receiver
	if _, raw := bridge.IsRaw(queue); !raw {
		var err error
		if rec, receiver, err = shape.Message(x); err != nil { // changing.take has asked
			rec, receiver = x.Record, x.Receiver
		}
	}
	moved, to := *rec, *receiver
	to.Queue = queue
	moved.Receivers = []bridge.Receiver{to}
	b.Append(&moved)
	id := x.ID
	if part, ok := shape.SummedIn(x.Record); ok {
		id = part.ID
	}
	s.drops.NoteMove(b, x, id, queue)
	b.Put("dead", x.ID.String(), nil)
	b.ReleaseAs(x, bridge.Moved)
	b.IfLive = true // it may be delivered meanwhile, and is not moved then
}

// drop is the change of drop. A part of a window stands in the log with the id by which
// those are found that it sums up.
func (s *desk) drop(b *bridge.Batch, x *bridge.Stored, again bool) {
	b.Put("dead", x.ID.String(), nil)
	b.ReleaseAs(x, bridge.Dropped)
	b.IfLive = true // it may be delivered meanwhile, and is not dropped then
	note, detail := s.drops.Note, ""
	if again {
		note = s.drops.NoteAgain
	}
	if part, ok := shape.SummedIn(x.Record); ok {
		rec := *x.Record
		rec.ID, detail = part.ID, part.Text()
		x = &bridge.Stored{Seq: x.Seq, Place: x.Place, Record: &rec, Receiver: x.Receiver}
	}
	note(b, x, bridge.ByOperator, detail)
}

// changing changes records of a queue, batch by batch.
type changing struct {
	*desk
	queue   string
	moves   bool
	toSteps bool // of another route
	change  recordChange
	again   bool // what is in a batch was in one before that came to nothing
	emit    func(spoolLine) error

	list  []*bridge.Stored // of the next batch
	bytes int
	soFar soFarLine
}

// changeRecords makes batches of the records that the request means, and reports
// how many were changed. A batch that is refused ends it, and so does the end of
// ctx; what was done stays done.
func changeRecords(ctx context.Context, s *desk, r spoolRequest, emit func(spoolLine) error, change recordChange) error {
	moves := r.Op == "requeue"
	if r.Queue == "" || moves && r.To == "" {
		return fmt.Errorf("%s needs a queue to take from, and requeue one to move to", r.Op)
	}
	if r.To == r.Queue {
		return fmt.Errorf("the messages are in %s already", r.To)
	}
	_, toSteps := bridge.IsRaw(r.To)
	if _, raw := bridge.IsRaw(r.Queue); moves && toSteps && !raw {
		return fmt.Errorf("what is in %s has gone through the steps of its route, and would go through those of %s: only what waits in another raw/… may be moved there", r.Queue, r.To)
	}
	r.Limit = max(r.Limit, 0)
	c := &changing{desk: s, queue: r.Queue, moves: moves, toSteps: toSteps, change: change, emit: emit}
	c.soFar.All = int(s.Depth(r.Queue).Records)
	if r.Limit > 0 {
		c.soFar.All = min(c.soFar.All, r.Limit)
	}
	err := c.allowed()
	if err == nil {
		err = eachRecord(ctx, s.Spool, r, c.take)
	}
	if err == nil {
		err = c.flush()
	}
	return errors.Join(err, emit(spoolLine{Done: &c.soFar.Done}))
}

// allowed refuses to move what is being delivered: what is in flight would be
// delivered from either queue. It refuses to drop what waits for the steps of a route: what
// is in an open batch or window goes with it.
func (c *changing) allowed() error {
	if c.delivers == nil || !c.delivers(c.queue) {
		return nil
	}
	if !c.moves {
		if products, raw := bridge.IsRaw(c.queue); raw {
			return fmt.Errorf("the gateway has what waits in %s in batches and windows that are open, and would send it all the same: drop what they become, in %s, or stop the gateway and drop what is left", c.queue, products)
		}
		return nil
	}
	return fmt.Errorf("the gateway is delivering %s, and what is in flight would be delivered twice: let it empty the queue, or stop the gateway and move what is left", c.queue)
}

func (c *changing) take(x *bridge.Stored) error {
	if c.moves && !c.toSteps {
		if _, _, err := shape.Message(x); err != nil {
			return fmt.Errorf("place %d of %s: %w: start the version that wrote it, with the route, or take the others with --from and --limit", x.Place, c.queue, err)
		}
	}
	c.list, c.bytes = append(c.list, x), c.bytes+x.Size()
	if len(c.list) < changedRecords && c.bytes < changedBytes {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	soFar := c.soFar
	return c.emit(spoolLine{SoFar: &soFar})
}

// flush changes what has been gathered.
func (c *changing) flush() error {
	if err := c.allowed(); err != nil { // its link may have come up meanwhile
		return err
	}
	list := c.list[:0]
	for _, x := range c.list {
		if c.drops.Claim(c.desk, x.Receiver.Queue, x.Place) { // else it has gone since it was read, or is about to
			list = append(list, x)
		}
	}
	defer c.drops.Disown(c.desk) // what comes to nothing
	c.list, c.bytes = nil, 0
	err := c.commit(list)
	if len(list) > 1 && (errors.Is(err, bridge.ErrReleased) || bridge.KindOf(err) == bridge.TooLarge) {
		err = c.eachAlone(list)
	}
	if errors.Is(err, bridge.ErrReleased) {
		err = nil
	}
	return err
}

// eachAlone is for a batch of which somebody has released a record.
func (c *changing) eachAlone(list []*bridge.Stored) error {
	c.again = true
	defer func() { c.again = false }()
	for i := range list {
		if err := c.commit(list[i : i+1]); err != nil && !errors.Is(err, bridge.ErrReleased) {
			return err
		}
	}
	return nil
}

// commit changes all of the list, or nothing of it.
func (c *changing) commit(list []*bridge.Stored) error {
	if len(list) == 0 {
		return nil
	}
	var b bridge.Batch
	for _, x := range list {
		c.change(&b, x, c.again)
	}
	end := make(chan error, 1)
	c.Commit(&b, func(_ bridge.Seq, err error) { end <- err })
	if err := <-end; err != nil {
		return err
	}
	for _, x := range list {
		c.drops.Committed(c.desk, x.Receiver.Queue, x.Place)
	}
	c.soFar.Done += len(list)
	return nil
}

// delivers reports whether a queue is being delivered now: what is in flight of it
// is not to be moved. Of an upstream without a link nothing is in flight.
func (g *gateway) delivers(queue string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	is := func(q bridge.QueueRef) bool { return q.Name == queue }
	for _, c := range g.clouds {
		if slices.Contains(c.rawQueues, queue) || slices.ContainsFunc(c.downQueues, is) {
			return true
		}
		if slices.ContainsFunc(c.upQueues, is) && c.up.Stats().Connected {
			return true
		}
		for _, t := range c.things {
			if slices.ContainsFunc(t.queues, is) && t.up.Stats().Connected {
				return true
			}
		}
	}
	return false
}

// change does what changes records and says how many.
func (f *spoolFlags) change(cmd *cobra.Command, req spoolRequest, verb string) error {
	progress := progressOf(cmd.ErrOrStderr(), "message")
	var soFar soFarLine
	told := false
	err := f.do(cmd, req, func(l spoolLine) error {
		switch {
		case l.SoFar != nil:
			soFar = *l.SoFar
			if progress != nil {
				progress(soFar.Done-1, soFar.All)
			}
			return nil
		case l.Done == nil:
			return nil
		}
		told = true
		if progress != nil {
			_, _ = fmt.Fprint(cmd.ErrOrStderr(), "\x1b[K") // the line that told how far it is
		}
		if f.json {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(l)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d messages %s\n", *l.Done, verb)
		return err
	})
	switch {
	case err == nil || cmd.Context().Err() == nil:
		return err
	case told:
		return errors.New("interrupted: the other messages are where they were")
	default:
		return fmt.Errorf("interrupted: %d messages, or some more, were %s; the others are where they were", soFar.Done, verb)
	}
}
