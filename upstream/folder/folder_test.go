package folder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

func file(clientID, fileID, name, content string) *bridge.File {
	return &bridge.File{
		ClientID: clientID, FileID: fileID, Name: name, Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)),
		Meta: []byte(`{"name":"` + name + `"}`), Content: bytes.NewReader([]byte(content)),
	}
}

func opened(t *testing.T, o Options) *Folder {
	t.Helper()
	d, err := Open(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s is %q, %v", path, got, err)
	}
}

// A file is where EMQX puts it (F51), with its manifest, by a copy or by its name;
// putting it again changes nothing.
func TestF51(t *testing.T) {
	dir := t.TempDir()
	d := opened(t, Options{Dir: filepath.Join(dir, "exports"), Layout: layoutEMQX})
	const place = "8E/B5/7023DA998C12F0B2A6CA586027E48BEC6271/client-1/file-id-1/a.txt"
	for range 2 {
		if got, err := d.Put(t.Context(), file("client-1", "file-id-1", "a.txt", "hello")); err != nil || got != place {
			t.Fatalf("%q, %v", got, err)
		}
	}
	f := file("c", "f", "b.txt", "taken")
	f.Path = filepath.Join(dir, "segments")
	if err := os.WriteFile(f.Path, []byte("taken"), 0o600); err != nil {
		t.Fatal(err)
	}
	var taken string
	for range 2 { // the second time it has gone
		var err error
		if taken, err = d.Put(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	wantText(t, filepath.Join(dir, "exports", place), "hello")
	wantText(t, filepath.Join(dir, "exports", place+".MANIFEST.json"), `["filemeta",1,{"name":"a.txt"}]`)
	wantText(t, filepath.Join(dir, "exports", taken), "taken")
	in, err := d.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	_ = in.Close()
	if err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
	for range 2 {
		if err := errors.Join(d.Remove(t.Context(), place), d.Remove(t.Context(), taken)); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "exports")); err != nil || len(left) != 1 || left[0].Name() != leftovers {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What is not what was verified is refused for good, and leaves nothing; what was
// taken by its name and is another file now as well.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	d := opened(t, Options{Dir: dir, Layout: "${clientid}/${fileid}/${name}"})
	f := file("c", "f", "a.txt", "hello")
	f.Content = bytes.NewReader([]byte("hellO"))
	if _, err := d.Put(t.Context(), f); !bridge.OfFile(err) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "c", "f", "a.txt")); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "c", "f", "a.txt.MANIFEST.json")); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "c", "f"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c", "f", "a.txt"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Path = filepath.Join(dir, "gone")
	if _, err := d.Put(t.Context(), f); err == nil {
		t.Error("another file was taken for it")
	}
	if _, err := os.Stat(filepath.Join(dir, "c", "f", "a.txt.MANIFEST.json")); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Put(ctx, file("c", "f2", "a.txt", "hello")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A symbolic link leads nobody out of the folder, and what a crash has left goes
// at the next start.
func TestLinksAndLeftovers(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, leftovers), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, leftovers, "part"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := opened(t, Options{Dir: dir, Layout: "${clientid}/${fileid}/${name}"})
	if _, err := os.Stat(filepath.Join(dir, leftovers)); !os.IsNotExist(err) {
		t.Errorf("leftovers: %v", err)
	}
	if _, err := d.Put(t.Context(), file("c", "f", "a.txt", "hello")); err == nil {
		t.Error("it went somewhere")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v, %v", entries, err)
	}
}

// A file that went to another kind of target is not looked for here.
func TestElsewhere(t *testing.T) {
	d := opened(t, Options{Dir: t.TempDir(), Layout: layoutEMQX})
	const place = "s3://bucket/c/f/a.txt"
	if err := d.Remove(t.Context(), place); !bridge.OfFile(err) {
		t.Errorf("%v", err)
	}
	if _, err := d.Open(t.Context(), place); !bridge.OfFile(err) {
		t.Errorf("%v", err)
	}
}

// A file that was renamed before a crash, and that somebody has taken away, with its
// manifest and its folder or without, has been exported (F51); without a note of that,
// or with anything to make it of, it has not. What is on another disk needs none.
func TestTakenAway(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	d := opened(t, Options{Dir: filepath.Join(dir, "exports"), Layout: "${clientid}/${fileid}/${name}"})
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	place := filepath.Join(dir, "exports", "c", "f", "a.txt")
	f := file("c", "f", "a.txt", "hello")
	f.Path = filepath.Join(dir, "segments")
	noted := errors.New("no note can be made")
	f.Moving = func() error {
		f.Moved = noted == nil
		return noted
	}
	put := func(good bool) {
		t.Helper()
		if got, err := d.Put(t.Context(), f); (err == nil) != good || good && got != "c/f/a.txt" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	segments := func() {
		t.Helper()
		if err := os.WriteFile(f.Path, []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(false) // there never was one, and a failure leaves nothing
	segments()
	put(false)
	wantText(t, f.Path, "hello") // it was not noted
	if err := os.Remove(f.Path); err != nil {
		t.Fatal(err)
	}
	noted = nil
	f.Moving = nil
	put(false)
	f.Moving = func() error { f.Moved = true; return nil }
	segments()
	put(true)
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	segments()
	put(true) // it can be made again
	wantText(t, place, "hello")
	if log.Len() > 0 {
		t.Error(log.String())
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	put(true)
	if !strings.Contains(log.String(), "has taken it away") {
		t.Error(log.String())
	}
	if err := os.RemoveAll(filepath.Join(dir, "exports", "c")); err != nil { // the manifest too
		t.Fatal(err)
	}
	put(true)
	if _, err := os.Lstat(filepath.Join(dir, "exports", "c")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder is left for nothing: %v", err)
	}
	f.Moved = false
	put(false)
	if f.Moved {
		t.Error("it is noted that a file which is not there is renamed")
	}
}

// A file on another disk is copied, and no note is made.
func TestCopiedFromAnotherDisk(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "folder")
	if err != nil {
		t.Skip("no other disk here: ", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	d := opened(t, Options{Dir: t.TempDir(), Layout: layoutEMQX})
	f := file("c", "f", "a.txt", "hello")
	f.Path = filepath.Join(other, "segments")
	if err := os.WriteFile(f.Path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if file, err := os.Lstat(f.Path); err != nil || d.sameDisk(file) {
		t.Skip("no other disk here: ", err)
	}
	f.Moving = func() error { t.Error("it is noted that a file which is copied is renamed"); return nil }
	place, err := d.Put(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, filepath.Join(d.dir, place), "hello")
}
