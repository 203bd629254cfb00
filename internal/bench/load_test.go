package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// sink serves until the test ends.
func sink(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serveSink(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestFleetPublishesWhatItIsAskedFor(t *testing.T) {
	f, err := newFleet(t.Context(), sink(t), 7)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, n := range []int{3, 5000, 1} { // fewer than publishers, many windows, on top
		before := f.acked()
		if err := f.publish(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if got := f.acked() - before; got != uint64(n) {
			t.Errorf("%d messages asked for, %d acknowledged", n, got)
		}
	}
}

func TestFleetRate(t *testing.T) {
	f, err := newFleet(t.Context(), sink(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	calls := ""
	rate, err := f.rate(t.Context(), 50*time.Millisecond, func() { calls += "begin " }, func() { calls += "end" })
	if err != nil || rate < 1000 || calls != "begin end" {
		t.Errorf("%v messages a second, calls %q, %v", rate, calls, err)
	}
}

func TestFleetEndsWithItsContext(t *testing.T) {
	f, err := newFleet(t.Context(), sink(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.rate(ctx, time.Hour, func() {}, func() {}); err == nil {
		t.Error("no error")
	}
}

// answering is a broker that answers everything after the CONNECT with the
// bytes given.
func answering(t *testing.T, answer []byte) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 64<<10)
		for _, b := range [][]byte{{packetConnAck, 2, 0, 0}, answer} {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
		_, _ = conn.Read(buf)
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestPublisherRefusesWrongAnswers(t *testing.T) {
	for name, answer := range map[string][]byte{
		"out of order":  {packetPubAck, 2, 0, 2},
		"not a PUBACK":  {packetDisconnect, 0, 0, 0},
		"one too often": {packetPubAck, 2, 0, 1, packetPubAck, 2, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := newFleet(t.Context(), answering(t, bytes.Repeat(answer, ackBatch)), 1)
			if err != nil {
				t.Fatal(err)
			}
			defer f.close()
			if err := f.publish(t.Context(), 10); err == nil || !strings.Contains(err.Error(), "awaiting") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPaceMeasuresEveryMessage(t *testing.T) {
	p, err := newPace(t.Context(), sink(t), 5, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for range 2 { // the second run continues where the first ended
		start := time.Now()
		took, err := p.run(t.Context(), 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(took) != 100 {
			t.Errorf("%d latencies, want 100", len(took))
		}
		for _, d := range took {
			if d <= 0 || d > time.Since(start) {
				t.Errorf("a latency of %v", d)
			}
		}
	}
}

func TestPaceTellsOfABrokerThatIsTooSlow(t *testing.T) {
	p, err := newPace(t.Context(), answering(t, []byte{packetPubAck, 2, 0, 1}), 1, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if _, err := p.run(t.Context(), time.Second); err == nil {
		t.Error("no error")
	}
}

// arrivals are the QoS 0 PUBLISHes of publisher index with the numbers given.
func arrivals(index int, numbers ...uint64) (b []byte) {
	for _, n := range numbers {
		frame := newRing(index, "dt/x/t", 1).take(n, 1)
		_, body, _, _ := splitPacket(frame)
		body = append(body[:8:8], body[10:]...) // QoS 0 has no packet id
		b = append(append(appendRemaining(append(b, packetPublish), len(body)), body...), packetPubAck, 2, 0, 0)
	}
	return b
}

func TestSubscriberChecksWhatArrives(t *testing.T) {
	for _, c := range []struct {
		name    string
		numbers []uint64
		bad     int64
	}{
		{"complete", []uint64{0, 1, 2, 3}, 0},
		{"one missing", []uint64{0, 1, 3, 4}, 1},
		{"one twice", []uint64{0, 1, 1, 2}, 1},
		{"two exchanged", []uint64{0, 2, 1, 3}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &subscriber{next: make([]uint64, manyDevices)}
			all := append(arrivals(3, c.numbers...), arrivals(4, 0)...)
			// What has not arrived whole is kept.
			cut := len(all) - 20
			rest, n, err := s.take(all[:cut:cut])
			if err != nil {
				t.Fatal(err)
			}
			rest, m, err := s.take(append(rest, all[cut:]...))
			if err != nil || len(rest) != 0 || n+m != 5 || s.bad != c.bad {
				t.Errorf("%d messages, %d bad, %d bytes left, %v; want 5 messages, %d bad", n+m, s.bad, len(rest), err, c.bad)
			}
		})
	}
	s := &subscriber{next: make([]uint64, 2)}
	if _, _, err := s.take(arrivals(2, 0)); err == nil {
		t.Error("a message of a publisher that does not exist was taken")
	}
}
