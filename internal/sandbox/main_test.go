package sandbox

import (
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openGate runs a gate until the test ends.
func openGate(t *testing.T, target string) *Gate {
	t.Helper()
	g, err := OpenGate("127.0.0.1:0", target)
	if err != nil {
		t.Fatal(err)
	}
	peers.Run(t, g.Run)
	return g
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask writes text and reads its echo within d.
func ask(c net.Conn, text string, d time.Duration) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	return answer(c, text, d)
}

func answer(c net.Conn, text string, d time.Duration) error {
	_ = c.SetReadDeadline(time.Now().Add(d))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return io.ErrUnexpectedEOF
	}
	return nil
}
