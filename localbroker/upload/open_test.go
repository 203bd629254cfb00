package upload

import (
	"fmt"
	"testing"
)

// TestOpenFiles: however many transfers there are, few of their files are open: the
// process needs descriptors for what comes of others. What was closed goes on as it was.
func TestOpenFiles(t *testing.T) {
	const transfers = 3 * keepOpen
	y := openYard(t, func(y *yard) { y.opts.ClientTransfers = transfers })
	open := func() (n int) {
		y.mu.Lock()
		defer y.mu.Unlock()
		for t := range y.allLocked() {
			if t.data != nil {
				n++
			}
		}
		if n != y.opened {
			t.Errorf("%d files are open, and %d counted", n, y.opened)
		}
		return n
	}
	for i := range transfers {
		y.ok(fmt.Sprintf("$file/f%d/init", i), `{"name":"a.bin"}`)
		y.ok(fmt.Sprintf("$file/f%d/6", i), "second")
	}
	if n := open(); n > keepOpen {
		t.Errorf("%d files are open, want %d at most", n, keepOpen)
	}
	for i := range transfers {
		y.ok(fmt.Sprintf("$file/f%d/0", i), "first ")
		y.ok(fmt.Sprintf("$file/f%d/fin/12", i), "")
	}
	if n := open(); n != 0 {
		t.Errorf("%d files are open, of none", n)
	}
}
