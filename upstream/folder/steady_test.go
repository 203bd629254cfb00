package folder

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A copy that is written out piece by piece is the file, whatever its size.
func TestCopyInPieces(t *testing.T) {
	d := opened(t, Options{Dir: t.TempDir(), Layout: "${clientid}/${fileid}/${name}"})
	for name, size := range map[string]int{"less": steadyPiece - 1, "one": steadyPiece, "some": 5*steadyPiece + 12345} {
		content := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(content) // never fails
		place, err := d.Put(t.Context(), file("c", name, "a.bin", string(content)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(d.dir, place))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes that are not the %d given, %v", name, len(got), size, err)
		}
	}
}

// A file that cannot be written out is an error of the write, not of a later sync.
func TestSteadyFailure(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	w := &steady{out: f}
	if _, err := w.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(make([]byte, steadyPiece)); err == nil {
		t.Errorf("%d bytes went to a file that is closed", n)
	}
}
