package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// history is what a spool has lived through, and what it must hold for it.
type history struct {
	t     *testing.T
	rnd   *rand.Rand
	dir   string
	s     *Spool
	n     int
	given map[string][]string // payloads by queue; the place is the index + 1
	done  map[string]map[bridge.Place]bool
	shelf map[string]string
	sure  map[string]int // how many of given the mark of the log's end is sure to know of
	how   string         // how it ended
	sizes sizes
	large int                              // what its largest records are padded to
	fault func(format string, args ...any) // what the judge says
}

var historyQueues = []string{"up/a/x", "up/a/y", "dead/up/b"}

// live makes a random history, with kills and reopenings, that ends in one of
// the three ways in which a spool is left.
func live(t *testing.T, seed uint64) *history {
	h := &history{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), given: map[string][]string{},
		done: map[string]map[bridge.Place]bool{}, shelf: map[string]string{}, sure: map[string]int{}, sizes: smallSizes(), large: 3000, fault: t.Errorf}
	if h.rnd.IntN(3) == 0 { // a generation has several files
		h.sizes.generation, h.large = 4<<20, 20000
	}
	for _, q := range historyQueues {
		h.done[q] = map[bridge.Place]bool{}
	}
	h.s = h.open(h.dir)
	for range 4 + h.rnd.IntN(14) {
		switch h.rnd.IntN(8) {
		case 0, 1, 2:
			h.append(1 + h.rnd.IntN(300))
		case 3:
			h.put()
		case 4:
			h.release()
		case 5:
			h.s.shelf.force()
		case 6:
			h.kill()
		case 7:
			closeTest(t, h.s)
			h.s = h.open(h.dir)
		}
	}
	h.append(1 + h.rnd.IntN(50))
	h.end([]string{"closed", "killed", "cut"}[h.rnd.IntN(3)])
	return h
}

func (h *history) open(dir string) *Spool { return openSized(h.t, dir, h.sizes) }

// append appends records, each a batch of its own, in commits as they come.
func (h *history) append(n int) {
	var wg sync.WaitGroup
	size := []int{0, 0, 300, h.large}[h.rnd.IntN(4)]
	for range n {
		queues := slices.Clone(historyQueues)
		h.rnd.Shuffle(len(queues), func(i, j int) { queues[i], queues[j] = queues[j], queues[i] })
		queues = queues[:1+h.rnd.IntN(2)]
		r := record(h.n, queues...)
		r.Payload = fmt.Appendf(r.Payload, "%*d", size, h.n)
		h.n++
		for _, q := range queues {
			h.given[q] = append(h.given[q], string(r.Payload))
		}
		var b bridge.Batch
		b.Append(r)
		if h.rnd.IntN(20) == 0 {
			h.shelve(&b)
		}
		wg.Add(1)
		h.s.Commit(&b, func(_ bridge.Seq, err error) {
			defer wg.Done()
			if err != nil {
				h.t.Error(err)
			}
		})
	}
	wg.Wait()
}

func (h *history) shelve(b *bridge.Batch) {
	k, v := fmt.Sprint("device/", h.rnd.IntN(100)), fmt.Sprint(h.n, h.rnd.Uint64())
	b.Put(shelfQueue, k, []byte(v))
	h.shelf[k] = v
}

func (h *history) put() {
	for range 1 + h.rnd.IntN(20) {
		var b bridge.Batch
		h.shelve(&b)
		h.n++
		commitAll(h.t, h.s, &b)
	}
}

// release releases some or all of a queue, in order or here and there.
func (h *history) release() {
	h.releaseSome(historyQueues[h.rnd.IntN(len(historyQueues))], 1+h.rnd.IntN(3), h.rnd.IntN(1000))
}

// releaseSome releases one of every so many of the next of a queue.
func (h *history) releaseSome(q string, every, most int) {
	c := h.s.Cursor(q)
	defer c.Close()
	var b bridge.Batch
	for i := range most {
		r, err := c.Next()
		if err != nil {
			h.t.Fatal(err)
		}
		if r == nil {
			break
		}
		if i%every == 0 {
			b.Release(r)
			h.done[q][r.Place] = true
		}
	}
	if !b.Empty() {
		commitAll(h.t, h.s, &b)
	}
}

func (h *history) kill() {
	dir := killed(h.t, h.dir)
	closeTest(h.t, h.s)
	h.dir, h.s = dir, h.open(dir)
}

// end leaves the spool closed, killed, or as after a power cut: the index of
// what was not closed is not there, and the mark of the log's end and the number of
// the state's commits are old ones.
func (h *history) end(how string) {
	h.how = how
	mark := h.mark()
	number, err := os.ReadFile(filepath.Join(h.dir, serialName))
	if err != nil {
		h.t.Fatal(err)
	}
	h.append(1 + h.rnd.IntN(50))
	h.put()
	dir := killed(h.t, h.dir)
	closeTest(h.t, h.s)
	if how == "closed" {
		dir = h.dir
	}
	h.dir = dir
	if how != "cut" {
		h.mark()
		return
	}
	mems, _ := filepath.Glob(filepath.Join(dir, "log", "*", "*.mem"))
	for _, path := range mems {
		if err := os.Truncate(path, 0); err != nil {
			h.t.Fatal(err)
		}
	}
	for name, b := range map[string][]byte{tailName: mark, serialName: number} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

// mark notes what the mark of the log's end says now, and returns the file.
func (h *history) mark() []byte {
	b, err := os.ReadFile(filepath.Join(h.dir, tailName))
	if err != nil {
		h.t.Fatal(err)
	}
	for q, list := range h.given {
		if h.how != "cut" || h.sure[q] == 0 {
			h.sure[q] = len(list)
		}
	}
	return b
}

// stateLog is the kind of file that the state's last commits are in.
const stateLog = "state .mem"

// harm damages one file, or folder, of the spool in one way, of any kind or of
// only one, when there is such a file. It returns what it harmed: the first name of
// its path, such as "log".
func (h *history) harm(only string) (top, what string) {
	byKind := map[string][]string{}
	err := filepath.WalkDir(h.dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(h.dir, path)
		switch {
		case err != nil || rel == ".":
		case !e.IsDir():
			if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
				kind := filepath.Ext(rel)
				if kind == "" {
					kind = filepath.Base(rel)
				}
				kind = topOf(rel) + " " + kind
				byKind[kind] = append(byKind[kind], rel)
			}
		case filepath.Dir(rel) == "log":
			byKind["generation"] = append(byKind["generation"], rel)
		case rel != "log":
			byKind["folder"] = append(byKind["folder"], rel)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	kinds := slices.Sorted(maps.Keys(byKind))
	files := byKind[kinds[h.rnd.IntN(len(kinds))]]
	if logs := byKind["log .vlog"]; len(logs) > 0 && h.rnd.IntN(2) == 0 { // what is in them exists nowhere else
		if files = logs; h.rnd.IntN(2) == 0 { // and behind the end of the newest is nothing that would tell
			files = []string{slices.Max(logs)}
		}
	}
	if len(byKind[only]) > 0 {
		files = byKind[only]
	}
	rel := files[h.rnd.IntN(len(files))]
	path := filepath.Join(h.dir, rel)
	top = topOf(rel)
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		if err := os.RemoveAll(path); err != nil {
			h.t.Fatal(err)
		}
		return top, rel + " removed"
	}
	b, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	at := h.rnd.IntN(max(used(b), 1))
	switch h.rnd.IntN(6) {
	case 0, 1:
		b[at] ^= 1 << h.rnd.IntN(8)
		what = fmt.Sprint("bit flipped at ", at)
	case 2:
		b = b[:at]
		what = fmt.Sprint("cut at ", at)
	case 3:
		clear(b[at:])
		what = fmt.Sprint("zeros from ", at)
	case 4:
		clear(b[at:min(at+512, len(b))])
		what = fmt.Sprint("a block of zeros at ", at)
	case 5:
		if err := os.Remove(path); err != nil {
			h.t.Fatal(err)
		}
		return top, rel + " missing"
	}
	if err := os.WriteFile(path, b, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.t.Fatal(err)
	}
	return top, rel + " " + what
}

// topOf is the first name of a path.
func topOf(rel string) string {
	first, _, _ := strings.Cut(rel, string(filepath.Separator))
	return first
}
