package peers_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMosquittoListensPlainAndTLS(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true, Users: map[string]string{"gw": "secret"}})
	for range 2 {
		c, err := net.Dial("tcp", b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		tc, err := tls.Dial("tcp", b.TLSAddr, &tls.Config{RootCAs: b.CA.Pool, Certificates: []tls.Certificate{b.ClientCert.TLS}})
		if err != nil {
			t.Fatal(err)
		}
		tc.Close()
		b.Kill()
		b.Start()
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// roundTrip sends one byte and waits for it to come back.
func roundTrip(c net.Conn, within time.Duration) error {
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestProxy(t *testing.T) {
	p := peers.NewProxy(t, peers.Echo(t))
	c := dial(t, p.Addr)
	if err := roundTrip(c, time.Minute); err != nil {
		t.Fatalf("through the proxy: %v", err)
	}

	p.BlackHole()
	if err := roundTrip(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("in a black hole: %v, want a time-out", err)
	}
	late := dial(t, p.Addr)
	p.Restore()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("what was sent into the black hole did not arrive afterwards: %v", err)
	}
	if err := roundTrip(late, time.Minute); err != nil {
		t.Fatalf("a connection made in the black hole: %v", err)
	}

	p.Cut()
	if err := roundTrip(c, time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after a cut: %v, want a reset", err)
	}
	if refused, err := net.Dial("tcp", p.Addr); err == nil { // the reset may come that early
		if err := roundTrip(refused, time.Minute); err == nil {
			t.Fatal("a cut proxy took a connection")
		}
		refused.Close()
	}

	p.Restore()
	p.Delay(30 * time.Millisecond)
	start := time.Now()
	if err := roundTrip(dial(t, p.Addr), time.Minute); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 60*time.Millisecond {
		t.Errorf("round trip of %v, want at least twice the delay", d)
	}
}
