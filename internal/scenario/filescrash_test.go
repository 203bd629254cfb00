package scenario

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// sendAll sends a file until the gateway has taken it, whatever becomes of the
// connection meanwhile. A device that has lost an answer sends fin again (F33).
func (u *filmUpload) sendAll(t *testing.T) {
	t.Helper()
	var err error
	if !until(time.Minute, func() bool { err = u.attempt(func(int) {}); return err == nil }) {
		t.Fatalf("%s is not taken: %v", u.file, err)
	}
}

// expectOnce waits until a file is in its place, whole, and nothing else is left of
// it: one file, of which the gateway says once that it is exported.
func (g *gateway) expectOnce(t *testing.T, u *filmUpload, path string) {
	t.Helper()
	var transfers []struct{ FileID, State string }
	if !until(time.Minute, func() bool {
		_, body, err := g.get("/api/v1/transfers?limit=1000")
		var page struct {
			Transfers []struct {
				FileID string `json:"file_id"`
				State  string `json:"state"`
			}
		}
		if err != nil || json.Unmarshal([]byte(body), &page) != nil {
			return false
		}
		transfers = transfers[:0]
		for _, one := range page.Transfers {
			if one.FileID == u.file {
				transfers = append(transfers, struct{ FileID, State string }(one))
			}
		}
		left, err := filepath.Glob(filepath.Join(g.Data, "files", "*.segments"))
		return err == nil && len(left) == 0 && len(transfers) == 1 && transfers[0].State == "exported"
	}) {
		t.Fatalf("%s does not come to its end: %v, the log:\n%s", u.file, transfers, tail(g.log(), 20))
	}
	if got, err := os.ReadFile(path); err != nil || sha256.Sum256(got) != sha256.Sum256(u.content) {
		t.Errorf("%s: %d bytes arrived that are not the %d sent, %v", u.file, len(got), len(u.content), err)
	}
}

// newCrashFilm is a file of its own, of so many bytes.
func newCrashFilm(t *testing.T, g *gateway, id string, size int, chance *rand.Rand) *filmUpload {
	u := newFilmUpload(t, g.Listen, size, chance)
	u.file = id
	return u
}

// TestKilledWhileExportingToS3 kills the gateway at each request of an export,
// before the store has it and before its answer is heard: the object is there once,
// as it was sent, and no upload stays behind.
func TestKilledWhileExportingToS3(t *testing.T) {
	t.Parallel()
	store := peers.NewStore(t, filmBucket)
	front := newStoreGate(t, store)
	g := local(t, append(exportsToS3(front.URL), "file_transfer.enabled=true")...)
	g.start()
	chance := dice(t)
	for i, c := range []struct {
		point string
		size  int
	}{
		{"before PutObject", 1 << 20}, {"after PutObject", 1 << 20},
		{"before CreateMultipartUpload", 6 << 20}, {"after CreateMultipartUpload", 6 << 20},
		{"before UploadPart 1", 6 << 20}, {"after UploadPart 2", 6 << 20},
		{"before CompleteMultipartUpload", 6 << 20}, {"after CompleteMultipartUpload", 6 << 20},
	} {
		u := newCrashFilm(t, g, "film-"+strconv.Itoa(i), c.size, chance)
		held := front.holdAt(c.point)
		u.sendAll(t)
		select {
		case <-held:
		case <-time.After(time.Minute):
			t.Fatalf("%s: the export does not come to it", c.point)
		}
		g.kill()
		g.start()
		g.expectOnce(t, u, filepath.Join(store.Dir, filmBucket, "camera", u.file, "film.bin"))
	}
	front.mu.Lock()
	defer front.mu.Unlock()
	if front.made != 6 {
		t.Errorf("%d objects were made of parts, of 6 files", front.made)
	}
	if left := unfinished(t, store); len(left) > 0 {
		t.Errorf("left at the store: %q", left)
	}
}

// tracer is an strace that kills a process as it begins a system call.
type tracer struct {
	cmd  *exec.Cmd
	said bytes.Buffer
}

// killAt attaches to a gateway and returns once its next such system call on a path
// kills it.
func killAt(t *testing.T, g *gateway, call, path string) *tracer {
	t.Helper()
	s := &tracer{cmd: exec.Command(peers.Need(t, "strace"), "-f", "-p", strconv.Itoa(g.cmd.Process.Pid), "-P", path,
		"-e", "trace="+call, "-e", "inject="+call+":signal=SIGKILL", "-o", os.DevNull)}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // it has ended with the gateway, unless the test has failed
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		s.said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "attached") {
			return s
		}
	}
	_ = s.cmd.Wait() // what it has said tells more
	t.Fatalf("strace does not attach: %s", &s.said)
	return nil
}

// TestKilledAtEachStepOfAnExport kills the gateway in every state of a transfer, at
// the system call with which it goes on to the next: while it assembles, before and
// after each name of the export, with the file in its place and no record of that,
// and with the record and the segments not yet removed. The file arrives once.
func TestKilledAtEachStepOfAnExport(t *testing.T) {
	t.Parallel()
	peers.NeedRoot(t) // to trace what is not its child
	g := local(t, "file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}")
	g.start()
	exports := filepath.Join(g.Data, "files", "exports")
	chance := dice(t)
	for _, c := range []struct {
		name    string
		shuffle bool // so that it is put together by copying, and not by its name
		call    string
		path    func(segments, folder string) string
	}{
		{"assembling", true, "pread64", func(segments, _ string) string { return segments }},
		{"verified", false, "mkdirat", func(string, string) string { return exports }},
		{"manifest-written", false, "renameat", func(string, string) string { return filepath.Join(exports, "%partial") }},
		{"manifest-named", false, "renameat", func(segments, _ string) string { return segments }},
		{"named", false, "fsync", func(_, folder string) string { return folder }},
		{"in-its-place", false, "fsync", func(string, string) string { return exports }},
		{"copied", true, "fsync", func(_, folder string) string { return folder }},
		{"copy-in-its-place", true, "fsync", func(string, string) string { return exports }},
		{"recorded", true, "unlinkat", func(segments, _ string) string { return segments }},
	} {
		u := newCrashFilm(t, g, c.name, 1<<20, chance)
		if c.shuffle {
			u.backwards = true
		}
		path := filepath.Join(exports, "camera", c.name, "film.bin")
		var s *tracer
		_ = u.attempt(func(done int) {
			if done < len(u.acked) {
				return
			}
			segments, err := filepath.Glob(filepath.Join(g.Data, "files", "*.segments"))
			if err != nil || len(segments) != 1 {
				t.Fatalf("%q, %v", segments, err)
			}
			s = killAt(t, g, c.call, c.path(segments[0], filepath.Dir(path)))
		}) // fails where it is killed before the fin is answered
		if s == nil {
			t.Fatalf("%s: the segments are not taken", c.name)
		}
		select {
		case <-g.done:
		case <-time.After(time.Minute):
			t.Fatalf("%s: it never comes to %s; strace: %s", c.name, c.call, &s.said)
		}
		_ = s.cmd.Wait() // it ends with what it traces
		if state := g.cmd.ProcessState.Sys().(syscall.WaitStatus); state.Signal() != syscall.SIGKILL {
			t.Errorf("%s: it ended with %v", c.name, g.cmd.ProcessState)
		}
		g.start()
		u.sendAll(t)
		g.expectOnce(t, u, path)
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) != 2 {
			t.Errorf("%s: beside the file and its manifest there is something: %v, %v", c.name, entries, err)
		}
		if left, err := filepath.Glob(filepath.Join(exports, "%partial", "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %q, %v", c.name, left, err)
		}
	}
	if code := g.stop(); code != 0 || strings.Contains(g.log(), "panic") {
		t.Errorf("exit code %d", code)
	}
}

// TestKilledWhileSendingOn kills the gateway as it sends a file on to another
// gateway: before and after its init and its fin are heard, and before it hears
// what became of them. The file is there once.
func TestKilledWhileSendingOn(t *testing.T) {
	t.Parallel()
	there := local(t, "file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}")
	there.start()
	link := newTrap(t, there.Listen)
	here := newGateway(t, site{Endpoint: "mqtt://" + link.addr, Set: []string{
		"file_transfer.enabled=true", "file_transfer.export.to=upstream", "file_transfer.export.upstream=cloud",
	}})
	here.write("policies/fleet.json", openPolicy)
	here.start()
	chance := dice(t)
	for i, c := range []struct {
		command string
		heard   bool
	}{{"/init", false}, {"/init", true}, {"/fin/", false}, {"/fin/", true}} {
		u := newCrashFilm(t, here, "film-"+strconv.Itoa(i), 1<<20, chance)
		held := link.holdAt(c.command, c.heard)
		u.sendAll(t)
		select {
		case <-held:
		case <-time.After(time.Minute):
			t.Fatalf("%+v: it is never sent", c)
		}
		if c.heard && c.command == "/fin/" && !until(time.Minute, func() bool { return len(exported(there)) == i+1 }) {
			t.Fatalf("%+v: the file is not there", c)
		}
		here.kill()
		link.free()
		here.start()
		if !until(time.Minute, func() bool { return len(exported(there)) == i+1 }) {
			t.Fatalf("%+v: %d files are there", c, len(exported(there)))
		}
		at := slices.IndexFunc(exported(there), func(path string) bool { return strings.Contains(path, u.file) })
		if at < 0 {
			t.Fatalf("%+v: %v", c, exported(there))
		}
		here.expectOnce(t, u, exported(there)[at])
	}
	if n := len(exported(there)); n != 4 || growing(there) != 0 {
		t.Errorf("%d files of 4, and %d bytes of others", n, growing(there))
	}
}

// TestPowerCutAfterFin takes the power away as soon as a device has heard that its
// file is taken: it is exported after that, from the copy of the disk, and the
// device does nothing more (F52).
func TestPowerCutAfterFin(t *testing.T) {
	t.Parallel()
	chance := dice(t)
	for i := range scaled(8, 1) {
		t.Run(fmt.Sprintf("moment %d", i+1), func(t *testing.T) {
			before := ext4(t, 512<<20)
			set := []string{"file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}"}
			g := newGateway(t, site{Data: before.Dir + "/data", Endpoint: "mqtt://127.0.0.1:1", Set: set})
			g.write("policies/fleet.json", openPolicy)
			g.start()
			u := newCrashFilm(t, g, "film", 8<<20, chance)
			u.backwards = i%2 == 1
			u.sendAll(t)
			pass(t, time.Duration(chance.IntN(scaled(60, 5)))*time.Millisecond)
			g.signal(syscall.SIGSTOP)
			image := before.copyImage()
			g.kill()
			before.unmount()

			after := mountImage(t, image)
			g2 := newGateway(t, site{Data: after.Dir + "/data", Endpoint: "mqtt://127.0.0.1:1", Set: set})
			g2.write("policies/fleet.json", openPolicy)
			g2.start()
			g2.expectOnce(t, u, filmPath(g2))
			if code := g2.stop(); code != 0 {
				t.Errorf("exit code %d on the copy", code)
			}
			after.unmount()
		})
	}
}
