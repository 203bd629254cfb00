package folder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestRoom: a copy for which there is no room is not begun, and one that grows is ended
// when others have taken it; nothing is left of either, and the file goes when there is
// room again. What is renamed needs none.
func TestRoom(t *testing.T) {
	const size = 10*steadyPiece + 5
	noRoom := bridge.Errorf(bridge.OpExport, bridge.Full, "free 7 MiB more")
	for _, c := range []struct {
		name   string
		refuse int // which question
		copied int64
	}{
		{"before", 0, 0},
		{"under way", 4, 4 * steadyPiece},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			d := opened(t, Options{Dir: filepath.Join(dir, "exports"), Layout: "${clientid}/${fileid}/${name}"})
			full := true
			var asked []int64
			d.Keep(func(n int64) error {
				asked = append(asked, n)
				if full && len(asked) > c.refuse {
					return noRoom
				}
				return nil
			})
			f := file("c", "f", "a.bin", strings.Repeat("x", size))
			read := &readTo{ReaderAt: f.Content}
			f.Content = read
			if _, err := d.Put(t.Context(), f); !errors.Is(err, noRoom) || !bridge.OfTarget(err) || bridge.KindOf(err) != bridge.Full {
				t.Errorf("%v", err)
			}
			if asked[0] != size || len(asked) != c.refuse+1 || read.end > c.copied+steadyPiece {
				t.Errorf("asked for %v, and read to %d", asked, read.end)
			}
			if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					t.Errorf("%s is left", path)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
			g := file("c", "g", "a.bin", "renamed")
			g.Path = filepath.Join(dir, "segments")
			if err := os.WriteFile(g.Path, []byte("renamed"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Put(t.Context(), g); err != nil {
				t.Error(err)
			}
			full = false
			place, err := d.Put(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			wantText(t, filepath.Join(dir, "exports", place), strings.Repeat("x", size))
		})
	}
}

// readTo notes how far is read.
type readTo struct {
	io.ReaderAt
	end int64
}

// ReadAt implements io.ReaderAt.
func (r *readTo) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, at)
	r.end = max(r.end, at+int64(n))
	return n, err
}
