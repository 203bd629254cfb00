package upload

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// looked is a shelf that counts how often the exported files are read.
type looked struct {
	lasting
	times int
}

func (l *looked) Scan(namespace, prefix string, fn func(string, []byte) bool) error {
	if namespace == shelfFile {
		l.times++
	}
	return l.lasting.Scan(namespace, prefix, fn)
}

// stuck is a target that removes nothing for now.
type stuck struct {
	plainFolder
	fails bool
}

func (s *stuck) Remove(ctx context.Context, place string) error {
	if s.fails {
		return errAway
	}
	return s.plainFolder.Remove(ctx, place)
}

// TestExportedAreLeftAlone: the records of exported files are not read again before one
// of them can have expired, or there are too many; what could not be removed is tried
// with the next sweep.
func TestExportedAreLeftAlone(t *testing.T) {
	shelf := &looked{lasting: lasting{memoryShelf: &memoryShelf{values: map[string][]byte{}}}}
	target, wall, synced := &stuck{}, time.Unix(1000, 0), true
	y := openYard(t, func(y *yard) {
		y.deps.Shelf, y.now, y.sync.commit = shelf, shelf.Age, shelf.Commit
		target.plainFolder = plainFolder(y.exports)
		y.deps.Target = &observed{FileTarget: target, of: y.Service}
		y.deps.Wall = func() (time.Time, bool) { return wall, synced }
		y.opts.Export.ExpireAt, y.opts.Export.KeepFor = expireRemove, 2*time.Hour
	})
	sweeps := func(what string, want, left int) {
		t.Helper()
		y.mu.Lock()
		before := shelf.times
		y.mu.Unlock()
		y.Sweep()
		if n := shelf.times - before; n != want {
			t.Errorf("%s: read %d times, want %d", what, n, want)
		}
		all, _, err := y.Exported("", 10)
		if err != nil || len(all) != left {
			t.Errorf("%s: %d are there, want %d; %v", what, len(all), left, err)
		}
	}
	later := func(d time.Duration) {
		y.mu.Lock()
		shelf.late += d
		wall = wall.Add(d)
		y.mu.Unlock()
	}
	y.Sweep() // of the start, or that of Run
	sweeps("nothing", 0, 0)
	y.takes("c", "plain")
	if err := y.sendsFile("c", "dated", `{"name":"a.bin","expire_at":5000}`); err != nil {
		t.Fatal(err)
	}
	sweeps("two", 0, 2)
	later(time.Hour)
	sweeps("an hour later", 0, 2)
	synced = false
	later(20 * time.Minute)
	sweeps("at the date, by a clock that is not to be believed", 0, 2)
	synced = true
	sweeps("at the date", 1, 1)
	sweeps("after it", 0, 1)
	later(time.Hour)
	target.fails = true
	sweeps("after its time, and it stays", 1, 1)
	sweeps("again", 1, 1)
	target.fails = false
	sweeps("and again", 1, 0)
	sweeps("when all are gone", 0, 0)
	y.mu.Lock()
	y.Service.exports.count = rememberKept + 1
	y.mu.Unlock()
	sweeps("too many", 1, 0)
	if _, err := os.Stat(y.exports + "/c/dated/a.bin"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
