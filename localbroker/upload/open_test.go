package upload

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
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

// TestDescriptors: what transfers are said to need is what they need when all that may
// be there have sent fin, and their files wait to be read.
func TestDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y, c, stop := runCounted(t)
		y.opts.Enabled, y.opts.Transfers, y.opts.ClientTransfers = true, 100, 100
		y.occupy() // others are being read
		var answers []chan error
		for i := range y.opts.Transfers {
			file := fmt.Sprintf("$file/f%d", i)
			y.ok(file+"/init", `{"name":"a.bin"}`)
			y.ok(file+"/6", "second")
			y.ok(file+"/0", "first ")
			answers = append(answers, y.begin(file+"/fin/12", ""))
			synctest.Wait()
		}
		said := y.opts.Descriptors()
		if n := y.descriptors(); n > said || n < said/2 {
			t.Errorf("%d descriptors, said to be %d at most", n, said)
		}
		for range rehashAtOnce {
			y.reads.leave()
		}
		for range answers {
			<-c.asked
			c.let <- struct{}{}
		}
		for _, answer := range answers {
			if err := <-answer; err != nil {
				t.Error(err)
			}
		}
		if n := y.descriptors(); n != 0 {
			t.Errorf("%d descriptors stay", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if n := DefaultOptions().Descriptors(); n != 0 {
		t.Errorf("%d descriptors of what is off", n)
	}
}

// descriptors counts those of this process that are of the yard's files.
func (y *yard) descriptors() (n int) {
	y.t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		y.t.Skipf("needs /proc/self/fd of Linux: %v", err)
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.HasPrefix(to, y.opts.Dir+"/") {
			n++
		}
	}
	return n
}
