package upstream

import (
	"io"
	"net"
	"testing"
)

func TestCounted(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	total := 0
	c := Counted(ours, func(n int) { total += n })
	defer c.Close()
	if Counted(ours, nil) != ours {
		t.Error("a connection that nobody counts is wrapped")
	}
	go func() {
		_, _ = io.CopyN(theirs, theirs, 100)
	}()
	if _, err := c.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 100)); err != nil || total != 200 {
		t.Errorf("%d bytes were told of, want 200 (%v)", total, err)
	}
}
