package spool

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// unpack makes a folder of an archive in testdata.
func unpack(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		data, err := io.ReadAll(r)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A folder that was written before there was the file TAIL, with one generation
// closed and one left by a kill, opens as it did, and goes on as others do. The
// archive was written by the program of that time: 61 records, one of them for
// another queue too, and one key on the shelf; a start; 30 more and another key,
// while ten were released.
func TestFolderFromBeforeTheMark(t *testing.T) {
	t.Parallel()
	dir := unpack(t, "before-tail.tar.gz")
	if _, err := os.Stat(filepath.Join(dir, tailName)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the archive has a %s: %v", tailName, err)
	}
	if r, err := Verify(dir, nil); err != nil || !r.Sound() {
		t.Errorf("verify: %+v, %v", r, err)
	}
	for i := range 3 {
		s := openTest(t, dir)
		expectRange(t, drain(t, s, up, false), 10, 91+i)
		if got := drain(t, s, other, false); len(got) != 2 {
			t.Errorf("%d records of the other queue, want 2", len(got))
		}
		for k, want := range map[string]string{"old": "on a run", "new": "in the log"} {
			if v, err := s.Get(shelfQueue, k); string(v) != want || err != nil {
				t.Errorf("%s is %q on the shelf, %v", k, v, err)
			}
		}
		if n, err := s.Count("meter", "units"); n != 7 || err != nil {
			t.Errorf("counter %d, %v", n, err)
		}
		if lost := s.Missing(); len(lost) > 0 || s.damages.Load() > 0 {
			t.Errorf("start %d: missing %v, %d reports of damage", i, lost, s.damages.Load())
		}
		fill(t, s, 91+i, 92+i, up)
		if i == 1 {
			k := killed(t, dir)
			closeTest(t, s)
			dir = k
			continue
		}
		closeTest(t, s)
	}
}

// A mark that lags behind the log says nothing: a program from before it has
// written meanwhile.
func TestMarkFromLongAgo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	fill(t, s, 0, 10, up)
	mark, err := os.ReadFile(filepath.Join(dir, tailName))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 10, 2500, up)
	drain(t, s, up, true)
	fill(t, s, 2500, 2600, up)
	k := killed(t, dir)
	closeTest(t, s)
	for name, dir := range map[string]string{"closed": dir, "killed": k} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, tailName), mark, 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(dir, nil); err != nil || !r.Sound() {
				t.Errorf("verify: %+v, %v", r, err)
			}
			s := openTest(t, dir)
			defer closeTest(t, s)
			expectRange(t, drain(t, s, up, false), 2500, 2600)
			if s.writer.seq <= bridge.Seq(100) || s.damages.Load() > 0 {
				t.Errorf("the next sequence is %d, %d reports of damage", s.writer.seq, s.damages.Load())
			}
		})
	}
}
