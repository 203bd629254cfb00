package spool

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestShelf: what is put on the shelf is there once its commit is done, and
// after a start; what is forgotten is gone.
func TestShelf(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	const ns = bridge.ShelfPrefix + "queue"
	for i := range 3 {
		var b bridge.Batch
		b.Put(ns, fmt.Sprintf("s/%d", i), []byte{byte(i)})
		commitAll(t, s, &b)
	}
	s.Forget(ns, "s/1")
	check := func(s *Spool) {
		t.Helper()
		var keys []string
		if err := s.Keys(ns, "s/", func(k string) bool { keys = append(keys, k); return true }); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(keys); got != "[s/0 s/2]" {
			t.Errorf("keys %s", got)
		}
		v, err := s.Get(ns, "s/2")
		if err != nil || !bytes.Equal(v, []byte{2}) {
			t.Errorf("value %v, %v", v, err)
		}
		if v, err := s.Get(ns, "s/1"); err != nil || v != nil {
			t.Errorf("forgotten value %v, %v", v, err)
		}
	}
	check(s)
	closeTest(t, s)
	s = openTest(t, dir)
	check(s)
	closeTest(t, s)
}
