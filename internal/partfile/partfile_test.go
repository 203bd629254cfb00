package partfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

type what struct{ Of string }

func opened(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

// TestGoesOn: a run finds what the one before has noted, until the file is whole.
func TestGoesOn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f := opened(t, path)
	var n what
	if f.Note(&n) {
		t.Error("a note of nothing")
	}
	must(t, f.Close())
	wantFiles(t, dir) // what was not begun leaves nothing
	f = opened(t, path)
	must(t, f.Begin(what{"a"}))
	_, err := f.WriteString("content")
	must(t, err, f.Keep(what{"b"}), f.Close())
	wantFiles(t, dir, "f.part", "f.part.json")
	f = opened(t, path)
	if !f.Note(&n) || n.Of != "b" {
		t.Errorf("%+v", n)
	}
	must(t, f.Finish(), f.Close())
	wantFiles(t, dir, "f")
	if b, err := os.ReadFile(path); string(b) != "content" || err != nil {
		t.Errorf("%s %v", b, err)
	}
	f = opened(t, path)
	must(t, f.Begin(what{"c"}), f.Discard(), f.Close())
	wantFiles(t, dir, "f")
}

// TestLeavesOthersAlone: what is not ours stays as it is, and is told.
func TestLeavesOthersAlone(t *testing.T) {
	write := func(name, text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	}
	pipe := func(name string) func(string) error {
		return func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, name), 0o600) }
	}
	for name, c := range map[string]struct {
		there func(dir string) error
		want  string
	}{
		"a folder":                {func(dir string) error { return os.Mkdir(filepath.Join(dir, "f"), 0o700) }, "f is a folder: name a file in it"},
		"a pipe":                  {pipe("f"), "f is no regular file"},
		"a device":                {func(dir string) error { return os.Symlink(os.DevNull, filepath.Join(dir, "f")) }, "f is no regular file"},
		"somebody's part":         {write("f.part", "precious"), "f.part is in the way"},
		"somebody's JSON":         {write("f.part.json", `{"of": 1}`), "f.part.json is in the way"},
		"a part that is a folder": {func(dir string) error { return os.Mkdir(filepath.Join(dir, "f.part"), 0o700) }, "f.part is in the way"},
		"a part that is a pipe":   {pipe("f.part"), "f.part is in the way"},
		"a part that is a link":   {func(dir string) error { return os.Symlink("x", filepath.Join(dir, "f.part")) }, "f.part is in the way"},
		"JSON that is a link":     {func(dir string) error { return os.Symlink("x", filepath.Join(dir, "f.part.json")) }, "f.part.json is in the way"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, c.there(dir))
			_, err := Open(filepath.Join(dir, "f"), 0o600)
			if _, refused := errors.AsType[*Refused](err); !refused || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if name != "somebody's part" {
				return
			}
			if b, err := os.ReadFile(filepath.Join(dir, "f.part")); string(b) != "precious" {
				t.Errorf("%s %v", b, err)
			}
		})
	}
}

// TestOneAtATime: who comes second is told, and goes on when the first has ended; who
// was turned away while the file got its name begins a new one.
func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	first := opened(t, path)
	must(t, first.Begin(what{"a"}))
	if _, err := Open(path, 0o600); err == nil || !strings.Contains(err.Error(), "another ebbgate is fetching to") {
		t.Error(err)
	}
	must(t, first.Finish(), first.Close())
	second := opened(t, path)
	if second.Note(new(what)) {
		t.Error("it goes on with what is finished")
	}
	must(t, second.Close())
	wantFiles(t, dir, "f")
}

// TestPlaceTakenMeanwhile: a folder that was made in the place stays, and so does the part.
func TestPlaceTakenMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f := opened(t, path)
	must(t, f.Begin(what{"a"}), os.Mkdir(path, 0o700))
	if err := f.Finish(); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Error(err)
	}
	must(t, f.Close())
	wantFiles(t, dir, "f", "f.part", "f.part.json")
}
