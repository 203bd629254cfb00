package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A check says whether the folder takes files, also one that is not there yet, and
// leaves everything as it was.
func TestCheckLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir string) error
		dir     string
		layout  string
		err     string // with its remedy
	}{
		"there":      {func(dir string) error { return os.Mkdir(filepath.Join(dir, "out"), 0o700) }, "out", layoutEMQX, ""},
		"to be made": {func(string) error { return nil }, "a/b/out", layoutEMQX, ""},
		"full name":  {func(string) error { return nil }, strings.Repeat("x", 300), layoutEMQX, "correct file_transfer.export.dir"},
		"no folder": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "out"), nil, 0o600) }, "out", layoutEMQX,
			"out is no folder; correct file_transfer.export.dir"},
		"below a file": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), nil, 0o600) }, "a/out", layoutEMQX,
			"not a directory; correct file_transfer.export.dir"},
		"dangling": {func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "out")) }, "out", layoutEMQX,
			"is a link to what is not there; correct"},
		"layout": {func(string) error { return nil }, "out", "${name}", "${clientid}"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.prepare(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			err := Check(Options{Dir: filepath.Join(dir, c.dir), Layout: c.layout})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v", err)
			}
			if after := tree(t, dir); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// A folder of which others may make no use is told, with whose it has to be.
func TestCheckWithoutTheRight(t *testing.T) {
	dir := "/proc/self" // nobody may make anything there, not even root
	err := Check(Options{Dir: dir, Layout: layoutEMQX})
	if err == nil || !strings.Contains(err.Error(), "cannot be written to") || !strings.Contains(err.Error(), "file_transfer.export.dir") {
		t.Errorf("%v", err)
	}
	if os.Getuid() == 0 {
		return // who may everything
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := Check(Options{Dir: closed, Layout: layoutEMQX}); err == nil || !strings.Contains(err.Error(), "give it to the user who runs the gateway") {
		t.Errorf("%v", err)
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		b.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
