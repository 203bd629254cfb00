package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream/folder"
)

// TestDiskRoom: on the disk of the messages all that is to stay free does, and on another
// no more than a tenth of it, as it may be small.
func TestDiskRoom(t *testing.T) {
	spool := t.TempDir()
	free := func(dir string) (free, all int64) {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
	}
	const much, near = 1 << 50, 1 << 30 // others write to these disks too
	isAbout := func(what string, got, want int64) {
		t.Helper()
		if got < want-near || got > want+near {
			t.Errorf("%s: %d bytes are missing, want about %d", what, got, want)
		}
	}
	here, all := free(spool)
	isAbout("the same disk", diskRoom{spool, much, spool}.missing(much), 2*much-here)
	if n := (diskRoom{spool, 0, spool}).missing(0); n != 0 {
		t.Errorf("with nothing to keep %d bytes are missing", n)
	}
	isAbout("a disk without messages", diskRoom{spool, much, spool + "/nowhere"}.missing(much), all/10+much-here)
	if n := (diskRoom{spool + "/nowhere", much, spool}).missing(much); n != 0 {
		t.Errorf("of a folder that is not there %d bytes are missing", n)
	}
	peers.NeedRoot(t)
	other := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", other).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", other).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	there, all := free(other)
	if got, want := (diskRoom{other, much, spool}).missing(much), all/10+much-there; got != want {
		t.Errorf("another disk: %d bytes are missing, want %d", got, want)
	}
}

// TestRoomOfCache: the cache leaves more than messages and files need.
func TestRoomOfCache(t *testing.T) {
	for _, c := range []struct {
		name          string
		files         bool
		spool, ofFile bridge.Size
		want          bridge.Size
	}{
		{"no files", false, 64 << 20, 256 << 20, 128 << 20},
		{"files", true, 64 << 20, 256 << 20, 320 << 20},
		{"much for messages", true, 1 << 30, 1 << 28, 2 << 30},
	} {
		cfg := configs.Default()
		cfg.Spool.Headroom, cfg.FileTransfer.Enabled, cfg.FileTransfer.Headroom = c.spool, c.files, c.ofFile
		if got := roomOfCache(cfg); got.keep != c.want || got.dir != cfg.Streams.Dir || got.spool != cfg.Spool.Dir {
			t.Errorf("%s: %+v, want %v", c.name, got, c.want)
		}
	}
}

// TestRoomOfStreams: the files of a stream that is defined here leave what messages and
// files need, and the command says what to do.
func TestRoomOfStreams(t *testing.T) {
	for _, c := range []struct {
		name          string
		files         bool
		spool, ofFile bridge.Size
		want          bridge.Size
	}{
		{"no files", false, 64 << 20, 256 << 20, 128 << 20},
		{"files", true, 64 << 20, 256 << 20, 256 << 20},
		{"much for messages", true, 1 << 30, 1 << 28, 2 << 30},
	} {
		cfg := configs.Default()
		cfg.Spool.Headroom, cfg.FileTransfer.Enabled, cfg.FileTransfer.Headroom = c.spool, c.files, c.ofFile
		if got := roomOfStreams(cfg); got.keep != c.want || got.dir != cfg.Streams.Dir || got.spool != cfg.Spool.Dir {
			t.Errorf("%s: %+v, want %v", c.name, got, c.want)
		}
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"ebbgate.yaml": "policy: {things: \"\", policies: \"\"}\nstreams: {dir: streams}\nspool: {dir: .}\n", "fw.bin": "firmware"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	create := func(set string) (int, string) {
		var stderr bytes.Buffer
		code := execute([]string{"streams", "create", "fw", filepath.Join(dir, "fw.bin"), "--config", filepath.Join(dir, "ebbgate.yaml"), "--set", set}, io.Discard, &stderr)
		return code, stderr.String()
	}
	if code, text := create("spool.headroom=1000000GiB"); code != 1 || !strings.Contains(text, "streams/local has no room for a copy of these files: free ") {
		t.Errorf("%d: %s", code, text)
	}
	if code, text := create("spool.headroom=32MiB"); code != 0 {
		t.Errorf("%d: %s", code, text)
	}
}

// TestRoomOfExports: a copy into the folder of exports leaves what file_transfer.headroom
// says, and says what to do.
func TestRoomOfExports(t *testing.T) {
	dir := t.TempDir()
	cfg := configs.Default()
	cfg.Spool.Dir, cfg.FileTransfer.Export.Folder.Dir, cfg.FileTransfer.Headroom = dir, dir, 1<<50
	o := folder.DefaultOptions()
	o.Dir = dir
	d, err := openFolder(o, roomOfExports(cfg).take, slog.New(slog.DiscardHandler), new(bridge.Health))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	f := largeFile("f", "x")
	if _, err := d.Put(t.Context(), f); bridge.KindOf(err) != bridge.Full || !strings.Contains(err.Error(), dir+" has no room for a copy") || !strings.Contains(err.Error(), "file_transfer.headroom, 1048576GiB") {
		t.Errorf("%v", err)
	}
	cfg.FileTransfer.Headroom = 0
	d.at.Keep(roomOfExports(cfg).take)
	if _, err := d.Put(t.Context(), f); err != nil {
		t.Error(err)
	}
}
