package scenario

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// crowd is many small devices, of MQTT 5 and 3.1.1 by turns: each connects, subscribes to
// its commands and waits.
type crowd struct {
	conns   []net.Conn
	readers sync.WaitGroup
	ended   chan int     // by index
	told    atomic.Int64 // of the ended, with DISCONNECT 0x87
}

func (c *crowd) version(i int) byte { return byte(4 + i/10%2) }
func (c *crowd) id(i int) string    { return fmt.Sprintf("device-%05d", i) }

// join connects n devices, several at a time.
func (c *crowd) join(ctx context.Context, t *testing.T, g *policyGateway, certs []*peers.Cert, n int) {
	t.Helper()
	c.conns, c.ended = make([]net.Conn, n), make(chan int, n)
	next, failed := atomic.Int64{}, make(chan error, 8)
	var workers sync.WaitGroup
	for range cap(failed) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := c.one(ctx, g, certs[i%len(certs)], i); err != nil {
					failed <- fmt.Errorf("%s: %w", c.id(i), err)
					return
				}
			}
		})
	}
	workers.Wait()
	t.Cleanup(func() {
		for _, conn := range c.conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
		c.readers.Wait()
	})
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

func (c *crowd) one(ctx context.Context, g *policyGateway, cert *peers.Cert, i int) error {
	d := tls.Dialer{Config: &tls.Config{RootCAs: g.ca.Pool, ServerName: "localhost", Certificates: []tls.Certificate{cert.TLS}}}
	conn, err := d.DialContext(ctx, "tcp", g.Listen)
	if err != nil {
		return err
	}
	c.conns[i] = conn
	in := bufio.NewReaderSize(conn, 256)
	id, version := c.id(i), c.version(i)
	for _, ask := range []struct {
		packet []byte
		answer byte
	}{{connectOf(version, id), 0x20}, {subscribeOf(version, "cmd/"+id+"/#"), 0x90}} { // one after the other (B17)
		if _, err := conn.Write(ask.packet); err != nil {
			return err
		}
		kind, body, err := readPacket(in)
		if err != nil {
			return err
		}
		if kind != ask.answer || kind == 0x20 && body[1] != 0 || kind == 0x90 && body[len(body)-1] > 1 {
			return fmt.Errorf("packet %#x %x", kind, body)
		}
	}
	c.readers.Go(func() {
		for {
			kind, body, err := readPacket(in)
			if err != nil {
				c.ended <- i
				return
			}
			if kind == 0xE0 && len(body) > 0 && body[0] == 0x87 {
				c.told.Add(1)
			}
		}
	})
	return nil
}

func text(b []byte, s string) []byte {
	return append(append(b, byte(len(s)>>8), byte(len(s))), s...)
}

// framed is a packet of fewer than 128 bytes.
func framed(kind byte, body []byte) []byte { return append([]byte{kind, byte(len(body))}, body...) }

func connectOf(version byte, id string) []byte {
	body := append(text(nil, "MQTT"), version, 2, 4, 0xB0) // clean, keep-alive of 1200 s
	if version == 5 {
		body = append(body, 0)
	}
	return framed(0x10, text(body, id))
}

func subscribeOf(version byte, filter string) []byte {
	body := []byte{0, 1}
	if version == 5 {
		body = append(body, 0)
	}
	return framed(0x82, append(text(body, filter), 1))
}

func readPacket(in *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, shift := 0, 0
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		n |= int(b&0x7f) << shift
		if shift += 7; b < 0x80 {
			break
		}
	}
	body = make([]byte, n)
	_, err = io.ReadFull(in, body)
	return kind, body, err
}

// fleetPolicyOf lets each client in under its own name and variables, so that
// each has a program of its own; those whose name ends in 7 may not connect when
// they are told off.
func fleetPolicyOf(g *policyGateway, toldOff bool) {
	statements := []string{
		statement("Allow", "iot:Connect", "client/${iot:ClientId}"),
		statement("Allow", "iot:Publish", "topic/dt/${iot:ClientId}/*"),
		statement("Allow", "iot:Subscribe", "topicfilter/cmd/${iot:ClientId}/*"),
		statement("Allow", "iot:Receive", "topic/cmd/${iot:ClientId}/*"),
	}
	if toldOff {
		statements = append(statements, statement("Deny", "iot:Connect", "client/*7"))
	}
	g.policy("device", statements...)
}

// TestPolicyChangeOfAFleet: with thousands of sessions connected a changed
// policy ends those that it no longer allows, and only them, while messages
// pass. The time it takes is printed; design: within a second at 10,000.
func TestPolicyChangeOfAFleet(t *testing.T) {
	t.Parallel()
	n := scaled(10_000, 1_000)
	ctx, cancel := context.WithTimeout(t.Context(), scaled(8*time.Minute, 2*time.Minute))
	defer cancel()
	g := newPolicyGateway(t, "mqtt://"+peers.FreeAddr(t))
	var things strings.Builder
	var certs []*peers.Cert
	things.WriteString("things:\n")
	for i := range 8 {
		certs = append(certs, g.ca.Client("device", peers.Validity{}))
		fmt.Fprintf(&things, "  group-%d: {certificates: [%s], policies: [device]}\n", i, certs[i].Fingerprint)
	}
	g.write("things.yaml", things.String())
	fleetPolicyOf(g, false)
	g.start()
	c := &crowd{}
	began := time.Now()
	c.join(ctx, t, g, certs, n)
	t.Logf("%d devices connected in %v", n, time.Since(began).Round(time.Millisecond))

	// A device that publishes meanwhile.
	busy := joinLAN(ctx, t, g, 5, lanOptions{id: "busy", cert: certs[0]})
	stop, slowest := make(chan struct{}), make(chan time.Duration)
	go func() {
		worst := time.Duration(0)
		for i := 0; ; i++ {
			select {
			case <-stop:
				slowest <- worst
				return
			default:
			}
			at := time.Now()
			if got := busy.publish(ctx, "dt/busy/x", 1, false, "x"); got != "PUBACK 0x00" {
				t.Errorf("publish %d: %s", i, got)
				<-stop
				slowest <- worst
				return
			}
			worst = max(worst, time.Since(at))
		}
	}()
	fleetPolicyOf(g, true)
	began = time.Now()
	g.reload()
	victims := n / 10
	for done := range victims {
		select {
		case i := <-c.ended:
			if i%10 != 7 {
				t.Fatalf("%s ended, which is allowed", c.id(i))
			}
		case <-ctx.Done():
			t.Fatalf("%d of %d ended", done, victims)
		}
	}
	took := time.Since(began)
	close(stop)
	t.Logf("%d of %d sessions ended within %v of SIGHUP at %v; the slowest PUBACK meanwhile took %v", victims, n, took.Round(time.Millisecond), began.UTC().Format("15:04:05.000"), (<-slowest).Round(time.Microsecond))
	if told := c.told.Load(); told != int64(victims/2) { // the half that speaks MQTT 5
		t.Errorf("%d of %d were told DISCONNECT 0x87", told, victims/2)
	}
	// The others are there: each answers its PINGREQ's PINGRESP by staying.
	for i, conn := range c.conns {
		if i%10 == 7 {
			continue
		}
		if _, err := conn.Write([]byte{0xC0, 0}); err != nil {
			t.Fatalf("%s: %v", c.id(i), err)
		}
	}
	want := fmt.Sprintf("policy changed: %d of %d sessions ended", victims, n+1)
	if !until(time.Minute, func() bool { return strings.Contains(g.log(), want) }) {
		t.Errorf("the log does not say %q", want)
	}
	for line := range strings.Lines(g.log()) {
		if strings.Contains(line, "level=INFO") && (strings.Contains(line, "policy changed: ") || strings.Contains(line, "msg=reloaded")) {
			t.Log(strings.TrimSpace(line))
		}
	}
	select {
	case i := <-c.ended:
		t.Errorf("%s ended, which is allowed", c.id(i))
	default:
	}
}
