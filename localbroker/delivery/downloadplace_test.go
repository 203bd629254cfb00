package delivery

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/partfile"
)

// TestDownloadLeavesOthersAlone: what is in the way, or is being written to by another,
// is told before anything is asked, and stays as it is.
func TestDownloadLeavesOthersAlone(t *testing.T) {
	for name, there := range map[string]func(path string) error{
		"a folder":        func(path string) error { return os.Mkdir(path, 0o700) },
		"a device":        func(path string) error { return os.Symlink(os.DevNull, path) },
		"somebody's part": func(path string) error { return os.WriteFile(path+".part", []byte("precious"), 0o600) },
		"another download": func(path string) error {
			f, err := partfile.Open(path, 0o600)
			t.Cleanup(func() { _ = f.Close() })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fw.bin")
			if err := there(path); err != nil {
				t.Fatal(err)
			}
			end := &depot{t: t, files: [2][]byte{bytes.Repeat([]byte("firmware"), 1000)}, blocks: 1000}
			end.client = NewClient("pump-7", CBOR, end)
			d := &Download{Client: end.client, Stream: "fw", Path: path, Block: 1024, Blocks: 4, Wait: time.Minute}
			_, err := d.Run(t.Context())
			if _, refused := errors.AsType[*partfile.Refused](err); !refused || end.blocks != 1000 {
				t.Errorf("%v, %d blocks were asked for", err, 1000-end.blocks)
			}
			if b, err := os.ReadFile(path + ".part"); strings.HasPrefix(name, "somebody") && string(b) != "precious" {
				t.Errorf("%q %v", b, err)
			}
		})
	}
}
