package bridge

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The namespaces of the state in which the drop log is kept. Messages that are
// dropped in one batch are one block: they are written in the transaction that
// releases them. Blocks are gathered in chapters, which go as a whole.
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

// chapters is how many make up a limit.
const chapters = 64

// What one batch notes must fit into a transaction of the state. Whoever gathers
// a batch commits it when it is [Batch.heavy]; beyond that entries are short.
const (
	heavyNotes = 48 << 10
	shortNotes = 96 << 10
)

// OpenDropLog is a drop log that keeps in spool what was accepted and dropped.
// now is [Clock.Now].
func OpenDropLog(spool Spool, now func() Instant, limits DropLimits) (*DropLog, error) {
	book := &dropBook{spool: spool, now: now, limits: limits, wake: make(chan struct{}, 1)}
	if err := book.load(); err != nil {
		return nil, fmt.Errorf("read the drop log: %w", err)
	}
	return &DropLog{book: book}, nil
}

// dropBook is the durable part of a drop log.
type dropBook struct {
	spool  Spool
	now    func() Instant
	limits DropLimits
	wake   chan struct{} // of Keep, capacity 1

	mu       sync.Mutex
	chapters []chapter // the oldest first; the last is written to
	block    uint32    // the next of the last chapter
	fresh    bool      // the last chapter is of this process
}

// chapter is what is known of one. A batch that was refused is counted as well.
type chapter struct {
	n       uint32
	began   time.Duration // on the age clock
	entries int64
	size    int64
}

func (c *chapter) key(what string) string { return fmt.Sprintf("%08x/%s", c.n, what) }

// load reads what chapters there are. The first note begins a new one.
func (d *dropBook) load() error {
	return d.spool.Scan(nsChapters, "", func(key string, value []byte) bool {
		name, what, _ := strings.Cut(key, "/")
		n, err := strconv.ParseUint(name, 16, 32)
		if err != nil || len(value) != 8 {
			return true
		}
		if last := len(d.chapters) - 1; last < 0 || d.chapters[last].n != uint32(n) {
			c := chapter{n: uint32(n)}
			if last >= 0 {
				c.began = d.chapters[last].began // should its own not have been written
			}
			d.chapters = append(d.chapters, c)
		}
		c, v := &d.chapters[len(d.chapters)-1], counterValue(value)
		switch what {
		case "age":
			c.began = time.Duration(v)
		case "n":
			c.entries = v
		case "size":
			c.size = v
		}
		return true
	})
}

// notes is what a batch notes in the drop log: where in the batch it stands.
type notes struct {
	blockWriter
	put     int // of the block
	n, size int // counters of the chapter, in Adds
	chapter uint32
	hours   map[string]int // key of nsHours → its place in Adds
}

// note adds an entry to the batch that releases its message.
func (d *dropBook) note(b *Batch, e *DropEntry) {
	if b.notes == nil {
		d.begin(b)
	}
	n := b.notes
	block := &b.Puts[n.put]
	if len(block.Value) > shortNotes {
		e.Device, e.Topic, e.Detail = "", "", ""
	}
	before := len(block.Value)
	block.Value = n.append(block.Value, e)
	grown := int64(len(block.Value) - before)
	b.Adds[n.n].Delta++
	b.Adds[n.size].Delta += grown
	clock := byte('u')
	if e.Synced {
		clock = 's'
	}
	hour := fmt.Sprintf("%08x%c/%s/%s", uint32(e.Dropped.Unix()/3600), clock, e.Reason, e.Queue)
	at, ok := n.hours[hour]
	if !ok {
		at = len(b.Adds)
		n.hours[hour] = at
		b.Add(nsHours, hour, 0)
	}
	b.Adds[at].Delta++
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.chapters) - 1; i >= 0; i-- {
		if c := &d.chapters[i]; c.n == n.chapter {
			c.entries++
			c.size += grown
			return
		}
	}
}

// begin gives a batch its block.
func (d *dropBook) begin(b *Batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	age := d.spool.Age()
	last := len(d.chapters) - 1
	if last < 0 || !d.fresh || d.full(&d.chapters[last], age) {
		c := chapter{began: age}
		if last >= 0 {
			c.n = d.chapters[last].n + 1
		}
		b.Add(nsChapters, c.key("age"), int64(age))
		d.chapters, d.block, d.fresh = append(d.chapters, c), 0, true
		last++
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	c := &d.chapters[last]
	b.notes = &notes{put: len(b.Puts), n: len(b.Adds), size: len(b.Adds) + 1, chapter: c.n, hours: map[string]int{}}
	b.Put(nsDrops, fmt.Sprintf("%08x%08x", c.n, d.block), nil)
	b.Add(nsChapters, c.key("n"), 0)
	b.Add(nsChapters, c.key("size"), 0)
	d.block++
}

// full reports whether a chapter takes no more blocks.
func (d *dropBook) full(c *chapter, age time.Duration) bool {
	return c.entries >= d.limits.Entries/chapters || c.size >= int64(d.limits.Size)/chapters || age-c.began >= d.limits.Age/chapters
}

// heavy reports whether a batch notes so much that it should be committed.
func (b *Batch) heavy() bool {
	return b.notes != nil && len(b.Puts[b.notes.put].Value) > heavyNotes
}

// Keep keeps the drop log within its bounds until ctx ends. A failure is tried
// again: it costs space, and nothing else.
func (l *DropLog) Keep(ctx context.Context) {
	if l.book == nil {
		return
	}
	tick := time.NewTicker(l.book.limits.Age / chapters)
	defer tick.Stop()
	for {
		_ = l.book.prune()
		select {
		case <-ctx.Done():
			return
		case <-l.book.wake:
		case <-tick.C:
		}
	}
}

// prune removes the chapters that are over the bounds, and the oldest hours.
func (d *dropBook) prune() error {
	for {
		old, ok := d.surplus()
		if !ok {
			break
		}
		if err := d.remove(nsDrops, fmt.Sprintf("%08x", old.n)); err != nil {
			return err
		}
		if err := d.remove(nsChapters, fmt.Sprintf("%08x/", old.n)); err != nil {
			return err
		}
		d.mu.Lock()
		d.chapters = d.chapters[1:]
		d.mu.Unlock()
	}
	return d.pruneHours()
}

// surplus is the oldest chapter, when the others are enough or it is too old.
func (d *dropBook) surplus() (oldest chapter, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.chapters) < 2 {
		return chapter{}, false
	}
	var entries, size int64
	for _, c := range d.chapters[1:] {
		entries += c.entries
		size += c.size
	}
	oldest = d.chapters[0]
	// A chapter is as old as the next one's beginning.
	return oldest, entries >= d.limits.Entries || size+oldest.size > int64(d.limits.Size) || d.spool.Age()-d.chapters[1].began > d.limits.Age
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
		err = d.remove(nsHours, hours[0])
		hours = hours[1:]
	}
	return err
}

// removeAtOnce is how many keys one batch removes.
const removeAtOnce = 1000

// remove deletes all keys with a prefix.
func (d *dropBook) remove(namespace, prefix string) error {
	for {
		var b Batch
		err := d.spool.Keys(namespace, prefix, func(key string) bool {
			b.Put(namespace, key, nil)
			return len(b.Puts) < removeAtOnce
		})
		if err != nil || b.Empty() {
			return err
		}
		end := make(chan error, 1)
		d.spool.Commit(&b, func(_ Seq, err error) { end <- err })
		if err := <-end; err != nil {
			return err
		}
	}
}
