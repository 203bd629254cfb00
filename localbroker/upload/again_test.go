package upload

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// slowPace lets so many bytes go in a second, until it is told to hold after some.
type slowPace struct {
	mu    sync.Mutex
	rate  int
	after int // bytes, and then it holds; 0: never
	went  int
}

func (p *slowPace) Wait(ctx context.Context, n int) error {
	p.mu.Lock()
	p.went += n
	hold := p.after > 0 && p.went >= p.after
	p.mu.Unlock()
	if hold {
		return fmt.Errorf("%w: a budget", bridge.ErrHeld)
	}
	select {
	case <-time.After(time.Duration(n) * time.Second / time.Duration(p.rate)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *slowPace) Yields() bool { return false }

// elsewhere is a yard whose one exported file is behind a link with a pace; held says why
// nothing may go over it.
func elsewhere(t *testing.T, pace *slowPace, held *atomic.Pointer[string], size int) (*yard, chan int64) {
	from := make(chan int64, 100)
	y := openYard(t, func(y *yard) {
		y.tail = tailFolder{plainFolder(y.exports), from}
		y.deps.Pace = pace
		y.deps.Held = func() string {
			if why := held.Load(); why != nil {
				return *why
			}
			return ""
		}
	})
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", strings.Repeat("x", size))
	y.ok(fmt.Sprintf("$file/f/fin/%d", size), "")
	return y, from
}

// TestLookKeepsToTheWindow: while a window or a budget holds exports back an exported file
// is not read to answer a fin either: the device sends the whole again, of which nothing
// need be read, or asks when the window is open.
func TestLookKeepsToTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Pointer[string]
		y, from := elsewhere(t, &slowPace{rate: 1 << 20}, &held, 1000)
		why := "the window is shut"
		held.Store(&why)
		y.ok("$file/f/900", strings.Repeat("x", 100))
		for range 3 * looksBurst { // nor does asking use up what may be asked later
			y.refused(y.send("$file/f/fin/1000", ""), "incomplete", 0x80)
		}
		if n := len(from); n != 0 {
			t.Errorf("read %d times over a link that is held back", n)
		}
		held.Store(nil)
		y.ok("$file/f/fin/1000", "")
		if n := len(from); n != 1 {
			t.Errorf("read %d times over a link that is open", n)
		}
		held.Store(&why)
		y.ok("$file/f/0", strings.Repeat("x", 1000))
		y.ok("$file/f/fin/1000", "")
		if n := len(from); n != 1 {
			t.Errorf("read %d times, of a file that was sent again", n)
		}
	})
}

// TestLookKeepsToThePace: what is read of an exported file to answer a fin has the
// bandwidth of exports, and ends where a budget does.
func TestLookKeepsToThePace(t *testing.T) {
	for name, c := range map[string]struct {
		after int
		least time.Duration
		most  int
		done  bool
	}{
		"bandwidth": {0, 50 * time.Second, 50_000, true},
		"budget":    {20_000, 0, 20_000 + pacedRead, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var held atomic.Pointer[string]
				pace := &slowPace{rate: 1000}
				y, _ := elsewhere(t, pace, &held, 60_000)
				y.ok("$file/f/10000", strings.Repeat("x", 50_000))
				pace.after = c.after
				before := time.Now()
				err := y.send("$file/f/fin/60000", "")
				if (err == nil) != c.done || err != nil && err != errIncomplete {
					t.Errorf("answered %v", err)
				}
				if took := time.Since(before); took < c.least {
					t.Errorf("50,000 bytes took %v at 1000 a second", took)
				}
				if pace.went < min(50_000, c.most) && c.done || pace.went > c.most {
					t.Errorf("%d bytes went", pace.went)
				}
			})
		})
	}
}

// TestLookEnds: a fin that waits for the pace of the link does not hold up the end of the
// service, and is told to ask again.
func TestLookEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Pointer[string]
		y, _ := elsewhere(t, &slowPace{rate: 1}, &held, 60_000)
		y.ok("$file/f/10000", strings.Repeat("x", 50_000))
		answer := make(chan error, 1)
		go func() { answer <- y.send("$file/f/fin/60000", "") }()
		time.Sleep(time.Second)
		y.end()
		if err := <-answer; err != errBusy {
			t.Errorf("answered %v", err)
		}
	})
}
