package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// mountExt4 mounts an image, made when size is not 0, and returns where.
func mountExt4(t *testing.T, image string, size int64) string {
	t.Helper()
	peers.NeedRoot(t)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		peers.Missing(t, "loop devices")
	}
	if size > 0 {
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		shell(t, peers.Need(t, "mkfs.ext4"), "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	}
	dir := t.TempDir()
	shell(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { shell(t, "umount", dir) })
	return dir
}

func shell(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// loopWrites tells the writes of an image's loop device.
func loopWrites(t *testing.T, image string) string {
	t.Helper()
	name, _, _ := strings.Cut(shell(t, "losetup", "-j", image), ":")
	stat, err := os.ReadFile("/sys/block/" + filepath.Base(name) + "/stat")
	f := strings.Fields(string(stat))
	if err != nil || len(f) < 9 {
		t.Fatalf("statistics of %q: %v", name, err)
	}
	return f[4] + " " + f[8]
}

// TestPowerCutOfTheShelf copies the image of the disk under the spool, which
// holds what the file system had written and not what the kernel only has in
// memory: nothing is reported damaged or missing, whatever was put on the shelf and not forgotten is on the copy, with
// its value, and nothing that was never put. The state is written all the while.
func TestPowerCutOfTheShelf(t *testing.T) {
	t.Parallel()
	rounds := 3
	if os.Getenv("EBBGATE_SOAK") != "" {
		rounds = 30
	}
	for range rounds {
		image := filepath.Join(t.TempDir(), "disk.img")
		dir := filepath.Join(mountExt4(t, image, 256<<20), "data")
		s := openTest(t, dir)
		stop := time.Now().Add(time.Duration(100+rand.IntN(1500)) * time.Millisecond)
		var mu sync.Mutex
		want, ever := map[string]string{}, map[string]string{}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), rand.Uint64()))
				for i := 0; time.Now().Before(stop); i++ {
					var b bridge.Batch
					if rnd.IntN(2) == 0 {
						b.Append(record(i, up))
					}
					k, v := fmt.Sprintf("g%d/%06d", g, i), strings.Repeat(fmt.Sprint(rnd.Uint64()), 1+rnd.IntN(100))
					b.Put(shelfQueue, k, []byte(v))
					if err := ended(s, &b); err != nil {
						t.Error(err)
						return
					}
					var meter bridge.Batch // of the state alone
					meter.Add("meter", "units", 1)
					s.Commit(&meter, nil)
					mu.Lock()
					want[k], ever[k] = v, v
					if i%3 > 0 {
						old := fmt.Sprintf("g%d/%06d", g, rnd.IntN(i+1))
						delete(want, old)
						s.Forget(shelfQueue, old)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		copied := filepath.Join(t.TempDir(), "copy.img")
		for before := ""; before != loopWrites(t, image); {
			before = loopWrites(t, image)
			shell(t, "cp", "--sparse=always", image, copied)
		}
		closeTest(t, s)

		dir = filepath.Join(mountExt4(t, copied, 0), "data")
		if r, err := Verify(dir, nil); err != nil || !r.Sound() {
			t.Errorf("a power cut is no damage, but verify says %+v, %v", r, err)
		}
		after := openTest(t, dir)
		if n := after.damages.Load(); n > 0 {
			t.Errorf("%d reports of damage, such as %v", n, after.deps.Health.Warnings())
		}
		got := map[string]string{}
		if err := after.Scan(shelfQueue, "", func(k string, v []byte) bool { got[k] = string(v); return true }); err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			if got[k] != v {
				t.Fatalf("%s of %d keys is gone, or %d bytes instead of %d", k, len(want), len(got[k]), len(v))
			}
		}
		for k, v := range got {
			if ever[k] != v {
				t.Fatalf("%s holds what was never put", k)
			}
		}
		t.Logf("%d keys put, %d kept, %d there after the cut, %d files", len(ever), len(want), len(got), after.shelf.store.Stats().Runs)
		closeTest(t, after)
	}
}
