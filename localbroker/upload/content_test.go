package upload

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A file of segments that stand anywhere in their own file reads as what they make
// together, from any place on.
func TestContent(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 10_000)
	for i := range want {
		want[i] = byte(rnd.Uint32())
	}
	var plan []piece
	for at := int64(0); at < int64(len(want)); {
		n := min(1+rnd.Int64N(900), int64(len(want))-at)
		plan = append(plan, piece{span: span{at, n}})
		at += n
	}
	stored := make([]byte, 0, len(want))
	for _, i := range rnd.Perm(len(plan)) {
		p := &plan[i]
		p.at = int64(len(stored))
		stored = append(stored, want[p.offset:p.end()]...)
	}
	name := filepath.Join(t.TempDir(), "segments")
	if err := os.WriteFile(name, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	e := &ease{pacer: &pacer{messages: func() int64 { return 0 }}}
	c := content{data, plan, e}
	for range 1000 {
		at := rnd.Int64N(int64(len(want)))
		b := make([]byte, rnd.IntN(3000))
		n, err := c.ReadAt(b, at)
		if whole := at+int64(len(b)) <= int64(len(want)); n != min(len(b), len(want)-int(at)) || (err == nil) != whole || !whole && !errors.Is(err, io.EOF) || !bytes.Equal(b[:n], want[at:at+int64(n)]) {
			t.Fatalf("%d at %d: %d, %v", len(b), at, n, err)
		}
	}
	if n, err := c.ReadAt(make([]byte, 1), int64(len(want))); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if _, err := (content{nil, plan, e}).ReadAt(make([]byte, 1), 0); !os.IsNotExist(err) {
		t.Errorf("without its file: %v", err)
	}
}

// Who reads a file looks for messages after each yieldPiece, however small the reads
// are, and has what it has read.
func TestEase(t *testing.T) {
	const size = 5*yieldPiece + 100
	name := filepath.Join(t.TempDir(), "segments")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	asked := int64(0)
	c := content{data, []piece{{span: span{0, size}}}, &ease{pacer: &pacer{messages: func() int64 { asked++; return asked }}}}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(c, 0, size)}, make([]byte, 32<<10))
	if err != nil || n != size || asked != 5 {
		t.Errorf("%d bytes, %v, looked %d times, want 5", n, err, asked)
	}
}
