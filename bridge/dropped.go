package bridge

import (
	"fmt"
	"time"
)

// What an operator gives up while it waits on a line to be sent, or was read and found no
// room there, is taken back. Its release is seen a moment after it was told, and until
// then it is looked for with each tick.
const dropSeen = time.Second

// takeDropped takes back what others have given up.
func (f *Forwarder) takeDropped(now time.Time) {
	if n := f.drops.GivenUp(); n != f.givenUp {
		f.givenUp, f.dropsTill = n, now.Add(dropSeen)
	}
	if now.After(f.dropsTill) {
		return
	}
	f.readOver(f.spool.Released)
	gone := func(fl *flight) bool { return f.spool.Released(fl.source.queue, fl.Place) }
	for _, l := range f.lines {
		for _, fl := range l.recall(gone) {
			f.landed(fl)
			f.acquit(fl.Seq)
			delete(fl.source.tries, fl.Place)
		}
	}
}

// tellDeadLetters keeps the warning of dead letters up while there are some, those of
// an earlier run too.
func (f *Forwarder) tellDeadLetters() {
	n := int64(0)
	for _, q := range f.cfg.Queues {
		n += int64(f.spool.Depth(DeadQueue(q.Name)).Records)
	}
	if n == 0 {
		f.health.Clear(f.deadCode())
		f.deadText = ""
		return
	}
	if f.deadText == "" {
		f.deadText = fmt.Sprintf("%d messages for %s are dead letters since an earlier run: see ebbgate spool ls %s", n, f.cfg.Upstream, f.firstDead())
	}
	f.health.Raise(Warning{Code: f.deadCode(), Severity: Degraded, Text: f.deadText})
}

// firstDead is the first queue of dead letters that has some.
func (f *Forwarder) firstDead() string {
	for _, q := range f.cfg.Queues {
		if d := DeadQueue(q.Name); f.spool.Depth(d).Records > 0 {
			return d
		}
	}
	return DeadQueue("")
}

func (f *Forwarder) deadCode() string { return "dead-letters-" + f.cfg.Upstream }
