package delivery

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestOtherUnderItsVersion: a stream that is replaced by another of the same version, of
// another source too, is not mixed with it: a device that is half-way through is told
// VersionMismatch until it begins anew; another is not (F79).
func TestOtherUnderItsVersion(t *testing.T) {
	create := func(s *site, content []byte) {
		s.t.Helper()
		if _, err := s.library.Create(t.Context(), "fw", Change{Paths: []string{s.write("fw.bin", content)}}); err != nil {
			s.t.Fatal(err)
		}
	}
	old, other := bytes.Repeat([]byte("old!"), 128), bytes.Repeat([]byte("new."), 128)
	for name, c := range map[string]struct{ before, between func(s *site, a *aws) }{
		"made anew by hand": {
			func(s *site, _ *aws) { create(s, old) },
			func(s *site, _ *aws) {
				if err := os.RemoveAll(filepath.Join(s.library.dir, "fw")); err != nil {
					s.t.Fatal(err)
				}
				create(s, other)
			},
		},
		"defined here over the cloud's": {
			func(_ *site, a *aws) { a.put("fw", 1, old) },
			func(s *site, _ *aws) { create(s, other) },
		},
		"deleted here, and the cloud's is left": {
			func(s *site, a *aws) { create(s, old); a.put("fw", 1, other) },
			func(s *site, _ *aws) {
				if err := s.library.Delete(t.Context(), "fw"); err != nil {
					s.t.Fatal(err)
				}
			},
		},
		"made anew in the cloud": {
			func(_ *site, a *aws) { a.put("fw", 1, old) },
			func(_ *site, a *aws) { a.put("fw", 1, append([]byte{}, append(other, "more"...)...)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, s := newAWS(t), openSite(t)
			s.t = t
			s.service.mu.Lock()
			s.service.deps.Cloud = a.site(t.TempDir())
			s.service.mu.Unlock()
			c.before(s, a)
			d, late := s.listener("t1"), s.listener("t2")
			block := func(d *dev, n int, want string) {
				t.Helper()
				d.ask("fw", verbGet, JSON, fmt.Appendf(nil, `{"s":1,"f":0,"l":256,"o":%d,"n":1}`, n))
				m := d.next()
				if m.verb != verbData || len(m.p) != 256 || string(m.p[:4]) != want {
					t.Fatalf("block %d: %s %s, want %s", n, m.verb, m.raw, want)
				}
			}
			block(d, 0, "old!")
			c.between(s, a)
			for range 2 {
				d.ask("fw", verbGet, JSON, []byte(`{"s":1,"f":0,"l":256,"o":1,"n":1}`))
				d.rejected(VersionMismatch)
			}
			block(late, 1, "new.")
			block(d, 0, "new.")
			block(d, 1, "new.")
		})
	}
}

// TestEditions: downloads are bounded in number and in time.
func TestEditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e editions
		k := begunKey{"t1", "fw", 1, 0}
		want := func(k begunKey, edition string, first, may bool) {
			t.Helper()
			if e.goOn(k, edition, first) != may {
				t.Errorf("%v, %s, first %v: want %v", k, edition, first, may)
			}
		}
		want(k, "a", false, true)
		want(k, "b", false, false)
		want(begunKey{"t2", "fw", 1, 0}, "b", false, true)
		want(begunKey{"t1", "fw", 1, 1}, "b", false, true)
		want(begunKey{"t1", "fw", 2, 0}, "b", false, true)
		time.Sleep(begunFor - 1)
		want(k, "b", false, false)
		want(k, "a", false, true) // the cloud has it again
		time.Sleep(begunFor)
		want(k, "b", false, true)
		want(k, "a", true, true)
		for i := range maxBegun {
			want(begunKey{fmt.Sprint(i), "fw", 1, 0}, "a", false, true)
		}
		if len(e.byKey) != maxBegun || e.order.Len() != maxBegun {
			t.Errorf("%d and %d are remembered", len(e.byKey), e.order.Len())
		}
		want(k, "b", false, true)
	})
}
