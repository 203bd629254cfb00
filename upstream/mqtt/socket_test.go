package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// ends are the two ends of a connection on loopback, ours wrapped.
func ends(t *testing.T) (*socket, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	return newSocket(ours), theirs.(*net.TCPConn)
}

// TestAWriteNeverBlocks writes far more than the kernel takes to a peer that does
// not read, and then lets it read: all comes, in order.
func TestAWriteNeverBlocks(t *testing.T) {
	s, peer := ends(t)
	drained := make(chan error, 1)
	s.drained = func(err error) { drained <- err }
	var want bytes.Buffer
	chunk := make([]byte, 64<<10)
	for i := range 200 { // 12 MB: more than both buffers of the kernel
		for j := range chunk {
			chunk[j] = byte(i + j)
		}
		want.Write(chunk)
		if n, err := s.Write(chunk); n != len(chunk) || err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
	}
	if s.waiting() == 0 {
		t.Fatal("the kernel took all: the test shows nothing")
	}
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("what came is not what was written")
	}
	if err := receive(t, drained, "the end of what was pending is told"); err != nil {
		t.Error(err)
	}
	if n := s.waiting(); n != 0 {
		t.Errorf("%d bytes wait", n)
	}
}

// TestAClosedConnectionTellsWhoWrites ends a connection with much to write.
func TestAClosedConnectionTellsWhoWrites(t *testing.T) {
	s, _ := ends(t)
	drained := make(chan error, 1)
	s.drained = func(err error) { drained <- err }
	for s.waiting() == 0 {
		if _, err := s.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	if err := receive(t, drained, "the end is told"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the end is %v", err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write afterwards: %v", err)
	}
}

// TestFinishWritesWhatIsPending says goodbye to a peer that reads late, and to
// one that never does.
func TestFinishWritesWhatIsPending(t *testing.T) {
	t.Run("late", func(t *testing.T) {
		s, peer := ends(t)
		for s.waiting() == 0 {
			_, _ = s.Write(make([]byte, 1<<20))
		}
		_, _ = s.Write([]byte("goodbye"))
		s.finish(patience)
		got, err := io.ReadAll(peer)
		if err != nil || !bytes.HasSuffix(got, []byte("goodbye")) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("never", func(t *testing.T) {
		s, _ := ends(t)
		drained := make(chan error, 1)
		s.drained = func(err error) { drained <- err }
		for s.waiting() == 0 {
			_, _ = s.Write(make([]byte, 1<<20))
		}
		s.finish(10 * time.Millisecond)
		if receive(t, drained, "the end is told") == nil {
			t.Error("all was written to who does not read")
		}
	})
}

// TestWhatIsWorthWaitingForNeverHoldsBack sends less than a reader waits for,
// again and again: it gets it all the same.
func TestWhatIsWorthWaitingForNeverHoldsBack(t *testing.T) {
	s, peer := ends(t)
	s.worth.Store(80)
	s.fast = true
	buf := make([]byte, 256)
	for i := range 5 {
		if _, err := peer.Write([]byte{1, 2, byte(i)}); err != nil {
			t.Fatal(err)
		}
		n, err := s.Read(buf)
		if err != nil || n != 3 || buf[2] != byte(i) {
			t.Fatalf("read %v: %v", buf[:max(n, 0)], err)
		}
		s.fast = true
	}
	if s.lowMark <= 1 {
		t.Fatal("it never waited for more: the test shows nothing")
	}
	_ = peer.Close()
	if _, err := s.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A wait in vain halves what is waited for: the broker may not be able to send more
// before it is read.
func TestAWaitInVainHalvesTheNext(t *testing.T) {
	s, peer := ends(t)
	s.worth.Store(burstAcks * pubackSize)
	buf := make([]byte, 256)
	for try := 0; s.trust > pubackSize; try++ { // one that began too late did not wait
		if try == 100 {
			t.Fatalf("still waits for %d bytes", s.trust)
		}
		s.fast = true
		read := make(chan error, 1)
		go func() {
			_, err := s.Read(buf) // nothing comes while it waits for more than a byte
			read <- err
		}()
		<-time.After(2 * linger)
		if _, err := peer.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, read, "what little came is read"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBytesCarried: what is read and written is told, as it is.
func TestBytesCarried(t *testing.T) {
	s, peer := ends(t)
	total := 0
	s.carried = func(n int) { total += n }
	if _, err := s.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if total != 1300 {
		t.Errorf("%d bytes were told of, want 1300", total)
	}
}
