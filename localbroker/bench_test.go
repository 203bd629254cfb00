package localbroker

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// instant is an Ingester that takes everything at once.
type instant struct{}

func (instant) Up(_ *bridge.Principal, _ bridge.Grants, _ *bridge.Message, _ func(*bridge.Batch), done func(error)) {
	done(nil)
}
func (instant) Authorized(_ *bridge.Principal, _ *bridge.Message, _ func(*bridge.Batch), done func(error)) {
	done(nil)
}

// BenchmarkIntake measures QoS 1 PUBLISHes of 256 B through the broker, PUBACK
// included, over TCP on loopback with a walk that costs nothing: the broker's
// share of a message. The load generator runs in the same process.
func BenchmarkIntake(b *testing.B) {
	b.Run("1x100", func(b *testing.B) { benchmarkIntake(b, 1, 100) })
	b.Run("50x20", func(b *testing.B) { benchmarkIntake(b, 50, 20) })
	b.Run("50x1", func(b *testing.B) { benchmarkIntake(b, 50, 1) })
}

func benchmarkIntake(b *testing.B, clients, window int) {
	h := open(b, people{}, plain(profileAWSEdge))
	h.ingest = instant{}
	packet := encode(b, publish(1, "dt/site/device/telemetry", string(make([]byte, 256))), 4)
	devices := make([]net.Conn, clients)
	for i := range devices {
		devices[i] = h.join(4, string(rune('a'+i))).Conn
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, conn := range devices {
		n := b.N / clients
		if i < b.N%clients {
			n++
		}
		wg.Go(func() { pump(b, conn, packet, n, window) })
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// pump keeps window PUBLISHes in flight: a slot for each, taken when it is
// written and given back with its PUBACK.
func pump(b *testing.B, conn net.Conn, packet []byte, n, window int) {
	slots := make(chan struct{}, window)
	go func() {
		out := bufio.NewWriterSize(conn, 64<<10)
		for i := range n {
			select {
			case slots <- struct{}{}:
			default:
				_ = out.Flush()
				slots <- struct{}{}
			}
			id := i%60_000 + 1
			packet := append([]byte{}, packet...)
			at := len(packet) - 256 - 2
			packet[at], packet[at+1] = byte(id>>8), byte(id)
			_, _ = out.Write(packet)
		}
		_ = out.Flush()
	}()
	in, ack := bufio.NewReader(conn), make([]byte, 4)
	for range n {
		if _, err := io.ReadFull(in, ack); err != nil {
			b.Error(err)
			return
		}
		<-slots
	}
}

// BenchmarkFanout measures one publisher and ten subscribers at QoS 0.
func BenchmarkFanout(b *testing.B) {
	h := open(b, people{}, plain(profileMQTT))
	h.ingest = instant{}
	var wg sync.WaitGroup
	for i := range 10 {
		d := h.join(4, string(rune('a'+i)))
		d.subscribe(0, "dt/#")
		wg.Go(func() { _, _ = io.Copy(io.Discard, d.Conn) })
	}
	pub := h.join(4, "pub")
	packet := encode(b, publish(1, "dt/site/device/telemetry", string(make([]byte, 256))), 4)
	b.ReportAllocs()
	b.ResetTimer()
	pump(b, pub.Conn, packet, b.N, 100)
	b.StopTimer()
	h.stop()
	wg.Wait()
}

// BenchmarkMatch measures the index with 10,000 devices' command filters.
func BenchmarkMatch(b *testing.B) {
	var x index
	p := profiles()[profileAWS]
	for i := range 10_000 {
		f, err := p.parseFilter("cmd/" + string(rune(0x4e00+i)) + "/#")
		if err != nil {
			b.Fatal(err)
		}
		x.add(&subscription{session: &session{}, filter: f})
	}
	topic := "cmd/" + string(rune(0x4e00+77)) + "/restart/now"
	var stack [16]*subscription
	b.ReportAllocs()
	for b.Loop() {
		if len(x.match(topic, stack[:0])) != 1 {
			b.Fatal("no match")
		}
	}
}
