package s3

import (
	"maps"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// cloned is a gateway whose disk was copied from another's: it has its state, and the
// same store.
func (r *rig) cloned() *rig {
	r.t.Helper()
	r.shelf.mu.Lock()
	copied := &shelf{kept: maps.Clone(r.shelf.kept)}
	r.shelf.mu.Unlock()
	c := &rig{t: r.t, store: r.store, shelf: copied, o: r.o}
	c.open()
	return c
}

// Two gateways on copies of one disk have the same upload under way. Whatever one of them
// does with it, finish it or give it up, before the other or while it sends, the other has
// the object there in the end, whole, and neither leaves anything.
func TestClonedSpool(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func(t *testing.T, r *rig, f *bridge.File){
		"has finished": func(_ *testing.T, r *rig, f *bridge.File) { r.put(f) },
		"has given up": func(t *testing.T, r *rig, _ *bridge.File) {
			if err := r.Abandon(t.Context(), func(string, string) bool { return false }); err != nil {
				t.Fatal(err)
			}
		},
		"is as far": func(_ *testing.T, r *rig, f *bridge.File) { r.putUntil(f, 15*mib) },
		"is dead":   func(*testing.T, *rig, *bridge.File) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, midway := range []bool{false, true} {
				r := openRig(t)
				f := file("c1", "f1", "a.bin", 16*mib)
				r.putUntil(f, 5*mib)
				c := r.cloned()
				if midway { // the other acts while this one sends
					g := *f
					g.Content = &between{f.Content.(reader), 10 * mib, func() { other(t, c, f) }}
					if _, err := r.Put(t.Context(), &g); err != nil {
						r.put(f) // the next attempt, which every export gets
					}
				} else {
					other(t, c, f)
					r.put(f)
				}
				r.wantObject("c1/f1/a.bin", f)
				if name == "is as far" {
					c.put(f)
				}
				if name != "is dead" {
					c.wantClean()
				}
				r.wantObject("c1/f1/a.bin", f)
				r.wantClean()
			}
		})
	}
}

// reader is a content in memory.
type reader interface {
	ReadAt(b []byte, at int64) (int, error)
}

// between calls act once, before what is at an offset is read.
type between struct {
	reader
	at  int64
	act func()
}

// ReadAt implements io.ReaderAt.
func (b *between) ReadAt(p []byte, at int64) (int, error) {
	if at == b.at && b.act != nil {
		act := b.act
		b.act = nil
		act()
	}
	return b.reader.ReadAt(p, at)
}
