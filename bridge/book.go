package bridge

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// book is an append-only log in the spool's state: what one batch notes is one
// block, written in the transaction that the note is about. Blocks are gathered in
// chapters, which go as a whole, the oldest first. The drop log is one, what became a
// part of products is another.
type book struct {
	spool  Spool
	limits DropLimits
	blocks string        // namespace: chapter and block, 8 hex digits each → block
	index  string        // namespace: chapter, and what: "age" when it began, "n" entries, "size" bytes of blocks
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

// chapters is how many make up a limit.
const chapters = 64

// page is where in a batch its block stands.
type page struct {
	put     int // of the block, in Puts
	n, size int // counters of the chapter, in Adds
	chapter uint32
}

// load reads what chapters there are. The first note begins a new one.
func (d *book) load() error {
	return d.spool.Scan(d.index, "", func(key string, value []byte) bool {
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

// begin gives a batch its block, which is empty yet.
func (d *book) begin(b *Batch) page {
	d.mu.Lock()
	defer d.mu.Unlock()
	age := d.spool.Age()
	last := len(d.chapters) - 1
	if last < 0 || !d.fresh || d.full(&d.chapters[last], age) {
		c := chapter{began: age}
		if last >= 0 {
			c.n = d.chapters[last].n + 1
		}
		b.Add(d.index, c.key("age"), int64(age))
		d.chapters, d.block, d.fresh = append(d.chapters, c), 0, true
		last++
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	c := &d.chapters[last]
	p := page{put: len(b.Puts), n: len(b.Adds), size: len(b.Adds) + 1, chapter: c.n}
	b.Put(d.blocks, fmt.Sprintf("%08x%08x", c.n, d.block), nil)
	b.Add(d.index, c.key("n"), 0)
	b.Add(d.index, c.key("size"), 0)
	d.block++
	return p
}

// grew notes that the block of a page has more entries and bytes.
func (d *book) grew(b *Batch, p page, entries, size int64) {
	b.Adds[p.n].Delta += entries
	b.Adds[p.size].Delta += size
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.chapters) - 1; i >= 0; i-- {
		if c := &d.chapters[i]; c.n == p.chapter {
			c.entries += entries
			c.size += size
			return
		}
	}
}

// full reports whether a chapter takes no more blocks.
func (d *book) full(c *chapter, age time.Duration) bool {
	return c.entries >= d.limits.Entries/chapters || c.size >= int64(d.limits.Size)/chapters || age-c.began >= d.limits.Age/chapters
}

// reaches is the age from which on nothing has been let go.
func (d *book) reaches() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.chapters) == 0 || d.chapters[0].n == 0 {
		return 0
	}
	return d.chapters[0].began
}

// prune removes the chapters that are over the bounds.
func (d *book) prune() error {
	for {
		old, ok := d.surplus()
		if !ok {
			return nil
		}
		if err := remove(d.spool, d.blocks, fmt.Sprintf("%08x", old.n)); err != nil {
			return err
		}
		if err := remove(d.spool, d.index, fmt.Sprintf("%08x/", old.n)); err != nil {
			return err
		}
		d.mu.Lock()
		d.chapters = d.chapters[1:]
		d.mu.Unlock()
	}
}

// surplus is the oldest chapter, when the others are enough or it is too old.
func (d *book) surplus() (oldest chapter, ok bool) {
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

// removeAtOnce is how many keys one batch removes.
const removeAtOnce = 1000

// remove deletes all keys with a prefix.
func remove(s Spool, namespace, prefix string) error {
	for {
		var b Batch
		err := s.Keys(namespace, prefix, func(key string) bool {
			b.Put(namespace, key, nil)
			return len(b.Puts) < removeAtOnce
		})
		if err != nil || b.Empty() {
			return err
		}
		end := make(chan error, 1)
		s.Commit(&b, func(_ Seq, err error) { end <- err })
		if err := <-end; err != nil {
			return err
		}
	}
}
