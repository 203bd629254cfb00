package scenario

import (
	"crypto/sha256"
	wire "encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// newFilmUpload is a device with a file of noise.
func newFilmUpload(t *testing.T, addr string, size int, chance *rand.Rand) *filmUpload {
	u := &filmUpload{t: t, addr: addr, content: noise(size, chance)}
	u.cut(128 << 10)
	return u
}

// cut makes the segments so large. The gateway writes whole blocks of 4 KiB and
// other sizes to the disk in different ways.
func (u *filmUpload) cut(segment int) {
	u.segment = segment
	u.acked = make([]bool, (len(u.content)+segment-1)/segment)
}

// noise is content that nothing makes smaller.
func noise(size int, chance *rand.Rand) []byte {
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = wire.LittleEndian.AppendUint64(b, chance.Uint64())
	}
	return b[:size]
}

// filmPath is where the gateway of a scenario exports the film.
func filmPath(g *gateway) string {
	return filepath.Join(g.Data, "files", "exports", "camera", "film", "film.bin")
}

// TestPowerCutOfFiles takes the power away while a file comes, as TestPowerCut
// does while messages come. Of the segments that were acknowledged none is sent
// again, and the file must be whole (F40).
func TestPowerCutOfFiles(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	for i := range scaled(16, 2) {
		t.Run(fmt.Sprintf("moment %d", i+1), func(t *testing.T) {
			if !filePowerCut(t, rnd, "disk", []int{128 << 10, 100_000, 12 << 10, 4<<10 + 1}[i%4]) {
				t.Error("acknowledged segments are gone: the file is never whole")
			}
		})
	}
}

// TestPowerCutOfFilesWithoutSyncs is the same with durability "os", and must
// lose.
func TestPowerCutOfFilesWithoutSyncs(t *testing.T) {
	rnd := dice(t)
	for range 3 {
		if !filePowerCut(t, rnd, "os", 128<<10) {
			return
		}
	}
	t.Error("nothing was lost without syncs: the power cut of these tests cuts nothing")
}

// filePowerCut cuts the power at a random moment of an upload in segments of that
// size, lets the device send on a copy of the disk what it has no acknowledgement
// for, and reports whether the whole file arrives.
func filePowerCut(t *testing.T, rnd *rand.Rand, durability string, segment int) bool {
	t.Helper()
	before := ext4(t, 1<<30)
	set := []string{"spool.durability=" + durability, "file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}"}
	g := newGateway(t, site{Data: before.Dir + "/data", Endpoint: "mqtt://127.0.0.1:1", Set: set})
	g.write("policies/fleet.json", openPolicy)
	g.start()
	u := newFilmUpload(t, g.Listen, scaled(100<<20, 16<<20), rnd)
	u.cut(segment)
	image, moment := "", 1+rnd.IntN(len(u.acked))
	_ = u.attempt(func(done int) {
		if image != "" || done < moment {
			return
		}
		g.signal(syscall.SIGSTOP)
		image = before.copyImage()
		g.kill() // acknowledgements that had left are still read
	}) // its error is the cut
	if image == "" {
		t.Fatal("the upload ended before the cut")
	}
	g.kill()
	before.unmount()

	after := mountImage(t, image)
	g2 := newGateway(t, site{Data: after.Dir + "/data", Endpoint: "mqtt://127.0.0.1:1", Set: set})
	g2.write("policies/fleet.json", openPolicy)
	g2.start()
	acked := 0
	for _, ok := range u.acked {
		if ok {
			acked++
		}
	}
	u.addr = g2.Listen
	if err := u.attempt(func(int) {}); err != nil {
		t.Fatal(err)
	}
	whole := until(time.Duration(scaled(20, 10))*time.Second, func() bool { _, err := os.Stat(filmPath(g2)); return err == nil })
	if whole {
		got, err := os.ReadFile(filmPath(g2))
		if err != nil || sha256.Sum256(got) != sha256.Sum256(u.content) {
			t.Errorf("%d bytes are exported that are not the %d sent, %v", len(got), len(u.content), err)
		}
	}
	t.Logf("%s, cut when %d of %d segments were acknowledged: whole %v", durability, acked, len(u.acked), whole)
	if code := g2.stop(); code != 0 {
		t.Errorf("exit code %d on the copy, want 0", code)
	}
	after.unmount()
	return whole
}
