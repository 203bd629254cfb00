package bridge

import (
	"context"
	"fmt"
	"time"
)

// The namespaces of the state in which the drop log is kept. Messages that are
// dropped in one batch are one block: they are written in the transaction that
// releases them.
const (
	nsDrops    = "drops"          // chapter and block, 8 hex digits each → block
	nsChapters = "drops-chapters" // chapter, and what: "age" when it began, "n" entries, "size" bytes of blocks
	nsHours    = "drops-hours"    // hour since 1970, 8 hex digits; s or u for the clock; /reason/queue → how many
)

// DropLimits bound what a drop log keeps one by one. What is over them goes, the
// oldest chapter first; there are some hundred of them at most.
type DropLimits struct {
	Entries int64
	Size    Size
	Age     time.Duration
	Hours   int // of which the sums are kept
}

// DefaultDropLimits keep the last million of seven days, and 90 days of sums.
func DefaultDropLimits() DropLimits {
	return DropLimits{Entries: 1_000_000, Size: 64 << 20, Age: 7 * 24 * time.Hour, Hours: 90 * 24}
}

// What one batch notes must fit into a transaction of the state. Whoever gathers
// a batch commits it when it is [Batch.heavy]; beyond that entries are short.
const (
	heavyNotes = 48 << 10
	shortNotes = 96 << 10
)

// OpenDropLog is a drop log that keeps in spool what was accepted and dropped.
// now is [Clock.Now].
func OpenDropLog(spool Spool, now func() Instant, limits DropLimits) (*DropLog, error) {
	wake := make(chan struct{}, 1)
	drops := &dropBook{book: book{spool: spool, limits: limits, blocks: nsDrops, index: nsChapters, wake: wake}, now: now}
	parts := &book{spool: spool, limits: limits, blocks: nsParts, index: nsPartsChapters, wake: wake}
	for _, b := range []*book{&drops.book, parts} {
		if err := b.load(); err != nil {
			return nil, fmt.Errorf("read the drop log: %w", err)
		}
	}
	return &DropLog{book: drops, parts: parts}, nil
}

// dropBook is the durable part of a drop log.
type dropBook struct {
	book
	now func() Instant
}

// notes is what a batch notes in the drop log: where in the batch it stands.
type notes struct {
	blockWriter
	page
	hours map[string]int // key of nsHours → its place in Adds
}

// note adds an entry to the batch that releases its message, and to the sums.
func (d *dropBook) note(b *Batch, e *DropEntry) {
	if b.notes != nil && len(b.Puts[b.notes.put].Value) > shortNotes {
		e.Device, e.Topic, e.Detail = "", "", ""
	}
	d.append(b, e)
	n := b.notes
	hour := hourKey(Instant{Wall: e.Dropped, Synced: e.Synced}, e.Reason, e.Queue)
	at, ok := n.hours[hour]
	if !ok {
		at = len(b.Adds)
		n.hours[hour] = at
		b.Add(nsHours, hour, 0)
	}
	b.Adds[at].Delta++
}

// append adds an entry to the batch.
func (d *dropBook) append(b *Batch, e *DropEntry) {
	if b.notes == nil {
		b.notes = &notes{page: d.begin(b), hours: map[string]int{}}
	}
	n := b.notes
	block := &b.Puts[n.put]
	before := len(block.Value)
	block.Value = n.blockWriter.append(block.Value, e)
	d.grew(b, n.page, 1, int64(len(block.Value)-before))
}

// hourKey is the key of a sum in nsHours.
func hourKey(at Instant, reason, queue string) string {
	clock := byte('u')
	if at.Synced {
		clock = 's'
	}
	return fmt.Sprintf("%08x%c/%s/%s", uint32(at.Wall.Unix()/3600), clock, reason, queue)
}

// heavy reports whether a batch notes so much that it should be committed.
func (b *Batch) heavy() bool {
	return b.notes != nil && len(b.Puts[b.notes.put].Value) > heavyNotes
}

// Keep keeps the drop log within its bounds, and writes what was missed, until ctx
// ends. A failure is tried again: it costs space, and nothing else.
func (l *DropLog) Keep(ctx context.Context) {
	if l.book == nil {
		return
	}
	tick, save := time.NewTicker(l.book.limits.Age/chapters), time.NewTicker(missedEvery)
	defer tick.Stop()
	defer save.Stop()
	for {
		_ = l.book.prune()
		_ = l.parts.prune()
		_ = l.book.pruneHours()
		for saving := true; saving; {
			_ = l.saveMissed()
			l.endClaims()
			select {
			case <-ctx.Done():
				_ = l.saveMissed() // the last
				return
			case <-l.book.wake:
				saving = false
			case <-tick.C:
				saving = false
			case <-save.C:
			}
		}
	}
}

// missedEvery is what a crash forgets of what devices of the site have missed.
const missedEvery = time.Second

// saveMissed adds to the sums by hour what was missed since the last time.
func (l *DropLog) saveMissed() error {
	var b Batch
	now, fresh := l.book.now(), map[*dropped]int64{}
	for reason, d := range l.missed.known() {
		if n := d.count.Load() - d.saved; n > 0 {
			fresh[d] = n
			b.Add(nsHours, hourKey(now, reason, SiteQueue), n)
		}
	}
	if b.Empty() {
		return nil
	}
	end := make(chan error, 1)
	l.book.spool.Commit(&b, func(_ Seq, err error) { end <- err })
	if err := <-end; err != nil {
		return err
	}
	for d, n := range fresh {
		d.saved += n
	}
	return nil
}

// pruneHours goes by how many hours there are, not by the clock: a clock that
// jumps years ahead and back removes nothing.
func (d *dropBook) pruneHours() error {
	var hours []string
	err := d.spool.Keys(nsHours, "", func(key string) bool {
		if hour := key[:min(8, len(key))]; len(hours) == 0 || hours[len(hours)-1] != hour {
			hours = append(hours, hour)
		}
		return true
	})
	for len(hours) > d.limits.Hours && err == nil {
		err = remove(d.spool, nsHours, hours[0])
		hours = hours[1:]
	}
	return err
}
