package sandbox

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

const soon = 5 * time.Second

func TestGateForwards(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	c := dial(t, g.Addr())
	if err := ask(c, "hello", soon); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789"), 200_000)
	go func() {
		_, _ = c.Write(big)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	_ = c.SetReadDeadline(time.Now().Add(soon))
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%d bytes back of %d: %v", len(got), len(big), err)
	}
}

func TestCutResetsAndTakesNewConnections(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	c := dial(t, g.Addr())
	if err := ask(c, "hello", soon); err != nil {
		t.Fatal(err)
	}
	if n := g.Cut(); n != 1 {
		t.Errorf("cut %d connections, want 1", n)
	}
	if err := answer(c, "x", soon); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if err := ask(dial(t, g.Addr()), "again", soon); err != nil {
		t.Error(err)
	}
}

func TestBlackHoleIsSilentAndLosesNothing(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	c := dial(t, g.Addr())
	if err := ask(c, "hello", soon); err != nil {
		t.Fatal(err)
	}
	g.BlackHole()
	if err := ask(c, "kept", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want silence", err)
	}
	fresh := dial(t, g.Addr()) // accepted, but nobody is there
	if err := ask(fresh, "new", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want silence", err)
	}
	g.Restore()
	if err := answer(c, "kept", soon); err != nil {
		t.Errorf("old connection: %v", err)
	}
	if err := answer(fresh, "new", soon); err != nil {
		t.Errorf("new connection: %v", err)
	}
}

func TestBlackHolePassesTheEndOnAfterwards(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	c := dial(t, g.Addr())
	if err := ask(c, "hello", soon); err != nil {
		t.Fatal(err)
	}
	g.BlackHole()
	_, _ = io.WriteString(c, "last words")
	_ = c.(*net.TCPConn).CloseWrite()
	g.Restore()
	_ = c.SetReadDeadline(time.Now().Add(soon))
	if got, err := io.ReadAll(c); err != nil || string(got) != "last words" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A connection that was opened and given up in the black hole never reaches the
// far side, as its SYN would not have: a late CONNECT would take over the link
// that lives.
func TestBlackHoleForgetsWhatWasGivenUp(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	g := openGate(t, target.Addr().String())
	g.BlackHole()
	for range 3 {
		c := dial(t, g.Addr())
		if _, err := io.WriteString(c, "given up"); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	c := dial(t, g.Addr())
	if _, err := io.WriteString(c, "alive"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(soon); g.Stats().Accepted < 4 || g.Stats().Live != 1; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v: want the last connection to live, alone", g.Stats())
		}
	}
	g.Restore()
	arrived, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer arrived.Close()
	if err := answer(arrived, "alive", soon); err != nil {
		t.Error(err)
	}
	if s := g.Stats(); s.Live != 1 {
		t.Errorf("%+v: more than one connection arrived", s)
	}
}

func TestRefuseResetsNewConnectionsOnly(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	c := dial(t, g.Addr())
	if err := ask(c, "hello", soon); err != nil {
		t.Fatal(err)
	}
	g.Set(Fault{Refuse: true})
	fresh, err := net.Dial("tcp", g.Addr())
	if err == nil {
		err = ask(fresh, "new", soon)
		_ = fresh.Close()
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a reset", err)
	}
	if err := ask(c, "old", soon); err != nil {
		t.Errorf("the old connection: %v", err)
	}
	if s := g.Stats(); s.Refused != 1 || s.Accepted != 1 || s.Live != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestSlow(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	c := dial(t, g.Addr())
	g.Set(Fault{Latency: 40 * time.Millisecond})
	_ = ask(c, "x", soon) // the read under way knew nothing of the latency
	start := time.Now()
	if err := ask(c, "hello", soon); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 80*time.Millisecond {
		t.Errorf("there and back in %s, want 80 ms or more", d)
	}
	g.Set(Fault{BytesPerSecond: 10_000})
	_ = ask(c, "x", soon)
	start = time.Now()
	if err := ask(c, string(bytes.Repeat([]byte("x"), 3000)), soon); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 200*time.Millisecond {
		t.Errorf("3,000 B at 10,000 B/s in %s", d)
	}
}

func TestGateEndsInABlackHole(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	c := dial(t, g.Addr())
	if err := ask(c, "hello", soon); err != nil {
		t.Fatal(err)
	}
	g.BlackHole()
	dial(t, g.Addr())
	_, _ = io.WriteString(c, "kept")
	// openGate's cleanup ends Run and waits for it; goleak finds what stays
}

func TestGateWithNobodyBehindIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	g := openGate(t, l.Addr().String())
	c, err := net.Dial("tcp", g.Addr())
	if err == nil {
		err = ask(c, "x", soon)
		_ = c.Close()
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the end of the connection", err)
	}
}
