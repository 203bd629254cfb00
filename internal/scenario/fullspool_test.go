package scenario

import (
	"bufio"
	wire "encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestFullSpoolOfOpenBatches fills the spool of a route that makes batches while the
// cloud is away: what waits for its batch, and the batches. A device of MQTT 5 is
// then told 0x97 (B84), one of 3.1.1 is closed; a kill changes nothing of it. When the
// cloud is back intake goes on, long before the open batches are as old as they may be,
// and everything that was acknowledged arrives.
func TestFullSpoolOfOpenBatches(t *testing.T) {
	t.Parallel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	proxy.Cut()
	consumer := watchUnpacked(t, broker.Addr, unpackPrefixed)
	g := newGateway(t, site{
		Endpoint: "mqtt://" + proxy.Addr,
		Set:      []string{"spool.max_size=64MiB", "routes.up[0].batch={format: length_prefixed, size: 100KiB, age: 5m}"},
	})
	g.start()
	f := &fleet{devices: 30, window: 20, size: 8 << 10}
	f.start(t, g.Listen)
	full := func() bool {
		_, status, _ := g.get("/api/v1/status")
		return strings.Contains(status, `"spool-full"`)
	}
	refused := func(when string) {
		t.Helper()
		var code byte
		if !until(time.Minute, func() bool { code = publishOnce(t, g.Listen); return code != 0 }) || code != 0x97 {
			t.Errorf("%s: PUBACK %#x, want 0x97", when, code)
		}
	}
	if !until(2*time.Minute, full) {
		t.Fatal("the spool takes messages for ever")
	}
	refused("full")
	before := sumsOf(t, g)
	raw := before["raw/up/cloud/telemetry"]
	if raw.Held == 0 || before["up/cloud/telemetry"].Held == 0 {
		t.Errorf("it is full of %+v", before)
	}
	t.Logf("full: %v, raw: %v", before.total(), raw)

	g.kill()
	g.launch() // it is not ready while it is full, but it lives
	if !until(time.Minute, func() bool { code, _, err := g.get("/livez"); return err == nil && code == 200 }) {
		t.Fatalf("it does not come up; the log:\n%s", tail(g.log(), 20))
	}
	refused("full, after a kill")
	if after := sumsOf(t, g); after["raw/up/cloud/telemetry"].Accepted < f.acked.Len() {
		t.Errorf("%d are acknowledged, %+v", f.acked.Len(), after)
	}

	acked := f.acked.Len()
	proxy.Restore()
	if !until(2*time.Minute, func() bool { return f.acked.Len() > acked+100 }) {
		t.Errorf("intake did not recover; the log:\n%s", tail(g.log(), 20))
	}
	f.stop()
	if code := g.stop(); code != 0 { // what is in open batches stays
		t.Errorf("exit code %d", code)
	}
	g.Set[1] = "routes.up[0].batch={format: length_prefixed, age: 100ms}"
	g.start()
	if !until(2*time.Minute, func() bool { return sumsOf(t, g).total().Held == 0 }) {
		t.Errorf("it does not drain: %+v", sumsOf(t, g))
	}
	d := consumer.await(&f.acked, 10*time.Second)
	if d.Lost > 0 || consumer.late.Load() > 0 || consumer.foreign.Load() > 0 {
		t.Errorf("%d of %d lost, such as %v; %d out of order: %s; %d foreign", d.Lost, f.acked.Len(), d.Sample, consumer.late.Load(), consumer.disorder(), consumer.foreign.Load())
	}
	t.Logf("at the end: %v", sumsOf(t, g).total())
}

// publishOnce publishes a message as a device of MQTT 5 does, and returns the reason
// code of its PUBACK. A connection that ends without one is 0: ask again.
func publishOnce(t *testing.T, addr string) byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	connect := []byte{0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, 4, 'o', 'n', 'c', 'e'}
	body := payload("once", 1, 8<<10)
	publish := append([]byte{0, 7, 'd', 't', '/', 'o', 'n', 'c', 'e', 0, 1, 0}, body...)
	for _, p := range []struct {
		first byte
		body  []byte
	}{{0x10, connect}, {0x32, publish}} {
		if _, err := conn.Write(append(wire.AppendUvarint([]byte{p.first}, uint64(len(p.body))), p.body...)); err != nil {
			return 0
		}
	}
	in := bufio.NewReader(conn)
	for {
		packet, at, err := nextPacket(in)
		if err != nil {
			return 0
		}
		if packet[0]>>4 == 4 {
			if len(packet) < at+3 {
				return 0
			}
			return packet[at+2]
		}
	}
}
