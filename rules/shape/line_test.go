package shape

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a line under test and what came out of it.
type bench struct {
	t     testing.TB
	line  bridge.Line
	place bridge.Place
	size  map[bridge.Place]int
	out   []*bridge.Product
}

const queue = "up/aws/telemetry"

func on(t testing.TB, edit func(*Options)) *bench {
	t.Helper()
	o := DefaultOptions()
	edit(&o)
	if ps := o.Validate(Around{}); len(ps) > 0 {
		t.Fatalf("the options are wrong: %v", ps)
	}
	return &bench{t: t, line: New(o, false, queue, Unit), size: map[bridge.Place]int{}}
}

// reading is a record as it waits in a raw queue.
func reading(topic, payload string, age time.Duration) *bridge.Stored {
	r := &bridge.Record{
		Message: bridge.Message{Topic: topic, Payload: []byte(payload), QoS: 1},
		Origin: bridge.Origin{Device: "d1", Instant: bridge.Instant{
			Age: age, Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(age), Synced: true}},
	}
	r.Receivers = []bridge.Receiver{{Queue: bridge.RawQueue(queue), Topic: topic, QoS: 1}}
	return &bridge.Stored{Record: r, Receiver: &r.Receivers[0]}
}

// give feeds a record and returns what it made come out.
func (b *bench) give(s *bridge.Stored) []*bridge.Product {
	b.place++
	s.Place, s.Seq = b.place, bridge.Seq(b.place)
	s.ID[15], s.ID[14] = byte(b.place), byte(b.place>>8)
	b.size[s.Place] = s.Size()
	n := len(b.out)
	b.line.Take(s, func(p *bridge.Product) { b.out = append(b.out, p) })
	return b.out[n:]
}

// ripe lets time pass.
func (b *bench) ripe(now time.Duration) []*bridge.Product {
	n := len(b.out)
	b.line.Ripe(now, func(p *bridge.Product) { b.out = append(b.out, p) })
	return b.out[n:]
}

// settled fails unless every record that was given has come out as a member of
// exactly one product, with its size.
func (b *bench) settled() {
	b.t.Helper()
	seen := map[bridge.Place]bool{}
	for _, p := range b.out {
		for _, m := range p.Members {
			if seen[m.Place] {
				b.t.Errorf("record %d is in two products", m.Place)
			}
			seen[m.Place] = true
			if m.Size != b.size[m.Place] {
				b.t.Errorf("record %d is released with %d bytes, it has %d", m.Place, m.Size, b.size[m.Place])
			}
		}
	}
	if len(seen) != int(b.place) {
		b.t.Errorf("%d of %d records came out", len(seen), b.place)
	}
}

// only is the one message of the one product.
func only(t testing.TB, ps []*bridge.Product) *bridge.Record {
	t.Helper()
	if len(ps) != 1 || len(ps[0].Records) != 1 {
		t.Fatalf("%d products came out, want one message", len(ps))
	}
	return ps[0].Records[0]
}

func metered(r *bridge.Record) int {
	return bridge.Outgoing(&bridge.Stored{Record: r, Receiver: &r.Receivers[0]}).MeteredSize()
}

func text(n int) string { return fmt.Sprintf("%0*d", n, 7) }
