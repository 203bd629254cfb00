package shape

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A message that differs from those that wait does not pass them, nor is it passed: the
// open batch goes first.
func TestADeviceKeepsItsOrderInABatch(t *testing.T) {
	unit := func(s *bridge.Stored) { s.User = []bridge.UserProperty{{Key: "unit", Value: "C"}} }
	other := func(s *bridge.Stored) { s.Device = "d2" }
	for _, c := range []struct {
		name string
		odd  func(*bridge.Stored) // the second of four
		want string
	}{
		{"the same", func(*bridge.Stored) {}, "[0,1,2,3]"},
		{"a property", unit, "[0] [1] [2,3]"},
		{"a property that is a gateway's word", func(s *bridge.Stored) { s.User = []bridge.UserProperty{{Key: bridge.PropHops, Value: "7"}} }, "[0,1,2,3]"},
		{"a request", func(s *bridge.Stored) { s.ResponseTopic = "r" }, "[0] 1 [2,3]"},
		{"a request with a property", func(s *bridge.Stored) { unit(s); s.ResponseTopic = "r" }, "[0] 1 [2,3]"},
		{"another time to live, as after a reload", func(s *bridge.Stored) { s.Receiver.TTL = time.Hour }, "[0] [1] [2,3]"},
		{"another origin, as after a reload", func(s *bridge.Stored) { s.Receiver.Origin = bridge.OriginUserProperties }, "[0] [1] [2,3]"},
		{"another topic", func(s *bridge.Stored) { s.Receiver.Topic = "dt/b" }, "[0,2,3] [1]"},
		{"another device", other, "[0,1,2,3]"},
		{"another device with a property", func(s *bridge.Stored) { other(s); unit(s) }, "[0,2,3] [1]"}, // as full as they can be
		{"another device's request with a property", func(s *bridge.Stored) { other(s); unit(s); s.ResponseTopic = "r" }, "[0] 1 [2,3]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := on(t, func(o *Options) { o.Batch.Format = JSON })
			for i := range 4 {
				s := reading("dt/a", fmt.Sprint(i), time.Duration(i)*time.Second)
				if i == 1 {
					c.odd(s)
				}
				b.give(s)
			}
			b.ripe(time.Hour)
			b.settled()
			if got := strings.Join(b.sent(), " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// Whatever differs, and by whatever a batch ends: the messages of a device to a topic come
// out in the order in which it sent them.
func TestOrderOfWhatIsBatched(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		apart := r.IntN(3) == 0
		o := DefaultOptions()
		o.Batch.Format, o.Batch.Count = []string{JSON, NDJSON, LengthPrefixed}[r.IntN(3)], r.IntN(3)*5
		o.Batch.Size = bridge.Size(r.IntN(2) * 1000)
		o.Compress = []string{None, Gzip, Zstd}[r.IntN(3)]
		b := &bench{t: t, line: New(o, false, queue, Terms{Unit: Unit, Apart: apart}), size: map[bridge.Place]int{}}
		of, now := map[bridge.Place]stream{}, time.Duration(0)
		for i := range 1500 {
			now += time.Duration(r.IntN(400)) * time.Millisecond
			s := reading(fmt.Sprint("dt/", r.IntN(3)), fmt.Sprintf(`{"seq":%d,"pad":%q}`, i, strings.Repeat("x", r.IntN(60))), now)
			s.Device = fmt.Sprint("d", r.IntN(3))
			switch r.IntN(12) {
			case 0, 1, 2:
				s.User = []bridge.UserProperty{{Key: "unit", Value: fmt.Sprint(r.IntN(3))}}
			case 3:
				s.ResponseTopic = "r"
			case 4:
				s.Receiver.TTL = time.Hour
			case 5:
				s.Receiver.Origin = bridge.OriginEnvelope
			case 6:
				s.Payload = []byte(strings.Repeat("y", 1+r.IntN(7000)))
			}
			b.give(s)
			of[s.Place] = stream{s.Receiver.Topic, s.Device}
			if r.IntN(5) == 0 {
				b.ripe(now)
			}
		}
		b.ripe(now + time.Hour)
		b.settled()
		last := map[stream]bridge.Place{}
		for _, p := range b.out {
			for _, m := range p.Members {
				if s := of[m.Place]; m.Place < last[s] {
					t.Fatalf("seed %d: message %d of %v comes behind %d", seed, m.Place, s, last[s])
				}
				last[of[m.Place]] = m.Place
			}
		}
		if w := b.line.(*line).steps[0].(*batcher); len(w.waits)+len(w.groups)+w.waiting != 0 {
			t.Errorf("seed %d: %d streams, %d batches and %d bytes stay", seed, len(w.waits), len(w.groups), w.waiting)
		}
	}
}
