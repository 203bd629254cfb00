package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/spool"
)

// The window of a thing that gets a connection of its own is cut in two, as
// docs/how-to/pay-less.md says: each of its two queues makes a sum of what it has,
// nothing is in both or in none, and from and to tell which is the earlier.
func TestTheWindowOfAThingThatMovesIsCutInTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const all = "up/cloud/all"
		own := bridge.OwnQueue(all, "pump")
		o := spool.DefaultOptions()
		o.Dir, o.Durability = t.TempDir(), spool.OS
		s, err := spool.Open(o, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		for i, queue := range []string{all, all, own, own, own} {
			var b bridge.Batch
			b.Append(&bridge.Record{
				Message:   bridge.Message{Topic: "dt/pump", Payload: fmt.Appendf(nil, `{"v":%d}`, 1<<i), QoS: 1},
				Origin:    bridge.Origin{Device: "pump", Thing: "pump", ID: bridge.MessageID{byte(i + 1)}, Instant: bridge.Instant{Age: s.Age(), Wall: time.Now()}},
				Receivers: []bridge.Receiver{{Queue: bridge.RawQueue(queue), Topic: "dt/pump", QoS: 1}},
			})
			done := make(chan error, 1)
			s.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
		}
		steps := rules.DefaultUpRoute().Steps
		steps.Window = shape.Window{Every: time.Hour, Fields: []string{"v"}}
		kin := bridge.NewKin()
		kin.Add(own, true)
		for _, queue := range []string{all, own} {
			line := func() bridge.Line { return shape.New(steps, false, queue, shape.Terms{}) }
			sh := bridge.NewShaper(bridge.ShaperConfig{Queue: queue, Line: line, Kin: kin}, s, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
			defer peers.Run(t, sh.Run)()
		}
		<-time.After(3 * time.Hour)
		type sum struct {
			From, To time.Time
			Count    int
			Fields   map[string]struct{ First, Last float64 }
		}
		var sums []sum
		for _, queue := range []string{all, own} {
			c := s.Cursor(queue)
			defer c.Close()
			for {
				r, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				if r == nil {
					break
				}
				var x sum
				if err := json.Unmarshal(r.Payload, &x); err != nil {
					t.Fatalf("%s: %v", r.Payload, err)
				}
				sums = append(sums, x)
			}
		}
		if len(sums) != 2 {
			t.Fatalf("%d sums, want 2: %+v", len(sums), sums)
		}
		if sums[0].Fields["v"].Last >= sums[1].Fields["v"].First || !sums[0].To.Before(sums[1].From) {
			t.Errorf("from and to do not tell which is the earlier: %+v", sums)
		}
		if sums[0].Count != 2 || sums[1].Count != 3 {
			t.Errorf("the parts of the window have %d and %d messages, want 2 and 3", sums[0].Count, sums[1].Count)
		}
	})
}
