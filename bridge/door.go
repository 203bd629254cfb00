package bridge

import (
	"strings"
	"sync"
)

// Turned is a message that a route was to have and has not taken: its condition
// or its sample has left it out, or no budget is left for it. Its giver is
// acknowledged all the same, so the ledger of the queue counts it as accepted,
// and as consumed by that step or as dropped for that reason.
type Turned struct {
	Queue  string
	Fate   Fate   // Consumed or Dropped
	Why    string // the step that left it out, or the reason in the drop log
	Detail string // for a person, when it was dropped
}

// nsDoor counts what was turned away at the door of each queue: <queue>|dropped and
// <queue>|step/<step>. It never had a place there, so the spool does not know of
// it. It is counted in the batch that its giver's acknowledgement waits for.
const nsDoor = "door"

const (
	doorDropped = "|dropped"
	doorStep    = "|step/"
)

// Door is what was turned away at the door of a queue, since the spool was made.
type Door struct {
	Dropped int64
	Steps   map[string]int64 // by step
}

// ReadDoors reads what was turned away, by queue.
func ReadDoors(spool Spool) (map[string]Door, error) {
	all := map[string]Door{}
	err := spool.Scan(nsDoor, "", func(key string, value []byte) bool {
		queue, what, ok := strings.Cut(key, "|")
		if !ok || len(value) != 8 {
			return true
		}
		d, known := all[queue]
		if !known {
			d.Steps = map[string]int64{}
		}
		if step, is := strings.CutPrefix("|"+what, doorStep); is {
			d.Steps[step] = counterValue(value)
		} else {
			d.Dropped = counterValue(value)
		}
		all[queue] = d
		return true
	})
	return all, err
}

// ReadLedgers tells what became of everything that each queue was ever given, or
// turned away at its door.
func ReadLedgers(spool Spool) (map[string]Ledger, error) {
	doors, err := ReadDoors(spool)
	if err != nil {
		return nil, err
	}
	all := make(map[string]Ledger, len(doors))
	for _, queue := range spool.Queues() {
		all[queue] = spool.Ledger(queue)
	}
	for queue, d := range doors {
		l := all[queue]
		l.Dropped += d.Dropped
		l.Accepted += d.Dropped
		for _, n := range d.Steps {
			l.Consumed += n
			l.Accepted += n
		}
		all[queue] = l
	}
	return all, nil
}

// turn counts in b that a message was turned away, and notes it in the drop log
// when it was dropped.
func (l *DropLog) turn(b *Batch, t Turned, m *Message, from *Origin) {
	if t.Fate == Consumed {
		b.count(nsDoor, t.Queue+doorStep+t.Why)
		return
	}
	b.count(nsDoor, t.Queue+doorDropped)
	l.enter(b, &DropEntry{
		ID: from.ID, Reason: t.Why, Queue: t.Queue, Size: len(m.Topic) + len(m.Payload),
		Device: from.Device, Topic: m.Topic, Detail: t.Detail, Accepted: from.Wall,
	})
}

// NoteTurned records in b that a message was accepted and goes to no queue at all,
// for want of one that would take it. It has no message id then.
func (l *DropLog) NoteTurned(b *Batch, t Turned, device string, m *Message) {
	l.turn(b, t, m, &Origin{Device: device})
}

// count adds one to a counter. There are few of them in a batch.
func (b *Batch) count(namespace, key string) {
	for i := range b.Adds {
		if a := &b.Adds[i]; a.Namespace == namespace && a.Key == key {
			a.Delta++
			return
		}
	}
	b.Add(namespace, key, 1)
}

// door makes durable what goes nowhere else, before its givers are acknowledged.
// What comes while one commit is under way goes into the next: a device that
// sends thousands of messages which a sample leaves out does not have each of
// them synced, and those that are dropped are one block in the drop log.
type door struct {
	spool Spool
	drops *DropLog

	mu    sync.Mutex
	queue []*gathered // the last one grows
	busy  bool        // a goroutine commits them
}

// gathered is a batch and who waits for it.
type gathered struct {
	Batch
	done []func(error)
}

// turn takes a message that goes nowhere else, and does not block.
func (d *door) turn(turned []Turned, m *Message, from *Origin, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.queue); n == 0 || d.queue[n-1].heavy() {
		d.queue = append(d.queue, new(gathered))
	}
	last := d.queue[len(d.queue)-1]
	for _, t := range turned {
		d.drops.turn(&last.Batch, t, m, from)
	}
	last.done = append(last.done, done)
	if !d.busy {
		d.busy = true
		go d.commit()
	}
}

// commit commits what waits, in order, until nothing does.
func (d *door) commit() {
	for g := d.next(); g != nil; g = d.next() {
		end := make(chan error, 1)
		d.spool.Commit(&g.Batch, func(_ Seq, err error) { end <- err })
		err := <-end
		for _, done := range g.done {
			done(err)
		}
	}
}

func (d *door) next() *gathered {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		d.busy = false
		return nil
	}
	g := d.queue[0]
	d.queue = d.queue[1:]
	return g
}
