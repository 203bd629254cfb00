package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// mirror acknowledges everything, some at a time, as a fast cloud does.
type mirror struct{}

func (mirror) Connect(ctx context.Context) (bridge.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &mirrorLink{reports: make(chan func(bridge.Outcome), 100), done: make(chan struct{}), ended: make(chan struct{})}
	go l.answer()
	return l, nil
}

type mirrorLink struct {
	reports     chan func(bridge.Outcome)
	done, ended chan struct{}
}

func (l *mirrorLink) answer() {
	defer close(l.ended)
	for {
		select {
		case report := <-l.reports:
			report(bridge.Outcome{Result: bridge.ResultAcked})
		case <-l.done:
			return
		}
	}
}

func (l *mirrorLink) Window() int           { return 100 }
func (l *mirrorLink) Flush()                {}
func (l *mirrorLink) Done() <-chan struct{} { return l.done }
func (l *mirrorLink) Err() error            { return nil }
func (l *mirrorLink) Close() error {
	close(l.done)
	<-l.ended
	for len(l.reports) > 0 {
		(<-l.reports)(bridge.Outcome{})
	}
	return nil
}
func (l *mirrorLink) Send(_ context.Context, _ *bridge.Delivery, report func(bridge.Outcome)) error {
	l.reports <- report
	return nil
}

// BenchmarkForward replays a backlog of 50 devices, without a network.
func BenchmarkForward(b *testing.B) {
	for _, connections := range []int{1, 4} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			s := openSpool(b)
			fillBench(b, s)
			var senders []bridge.Sender
			for range connections {
				senders = append(senders, mirror{})
			}
			cfg := bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}, Weight: 2}
			f := bridge.NewForwarder(cfg, s, senders, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			b.ReportAllocs()
			b.ResetTimer()
			go func() { ended <- f.Run(ctx) }()
			for f.Stats().Acked < int64(b.N) {
				time.Sleep(100 * time.Microsecond) // polls a condition
			}
			b.StopTimer()
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// fillBench puts b.N messages of 256 bytes.
func fillBench(b *testing.B, s bridge.Spool) {
	b.Helper()
	payload := bytes.Repeat([]byte("x"), 256)
	for n := 0; n < b.N; {
		batch := new(bridge.Batch)
		for ; n < b.N && len(batch.Appends) < 256; n++ {
			d := fmt.Sprint("device-", n%50)
			batch.Append(&bridge.Record{
				Message:   bridge.Message{Topic: "dt/" + d, Payload: payload, QoS: 1},
				Origin:    bridge.Origin{Device: d, Instant: bridge.Instant{Age: s.Age()}},
				Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/" + d, QoS: 1, Origin: bridge.OriginUserProperties}},
			})
		}
		commit(b, s, batch)
	}
}
