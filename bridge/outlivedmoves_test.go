package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// While devices go over to a connection that has just come up, newer states of theirs
// come: what waits of the old ones on the other connection is taken back, and with that
// the devices are there. Whichever state comes first, those of a device go in order, and
// the newest is the last word.
func TestTheNewestIsTheLastWordOfWhoMoves(t *testing.T) {
	t.Parallel()
	const devices = 60
	for first := range 32 { // so many wait on a connection
		t.Run(fmt.Sprint(first), inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			log := openLog(t, s, bridge.DefaultDropLimits())
			k, stop := keeping(t, s, log, new(bridge.Health), bridge.KeepLastConfig{Last: 1})
			putStates(t, s, 0, devices, 0)
			var mu sync.Mutex
			last := map[string]int{} // by device
			order := func(d *bridge.Delivery) bridge.Outcome {
				mu.Lock()
				defer mu.Unlock()
				var n int
				if _, err := fmt.Sscan(string(d.Payload), &n); err != nil {
					t.Error(err)
				}
				if before, some := last[d.Device]; some && n <= before {
					t.Errorf("%s: %d comes after %d", d.Device, n, before)
				}
				last[d.Device] = n
				return bridge.Outcome{Result: bridge.ResultAcked}
			}
			senders := []bridge.Sender{&cloud{window: 1, after: time.Second, answer: order}, &cloud{window: 1, after: time.Second, answer: order}}
			var want atomic.Int64
			want.Store(1)
			time.AfterFunc(1500*time.Millisecond, func() { put(t, s, normal, "other", "0") }) // the first that is live
			time.AfterFunc(2500*time.Millisecond, func() { want.Store(2) })
			begun, published := time.Now(), false
			m := &stopping{stop: func() { // what comes is looked at before the forwarder goes on
				if !published && time.Since(begun) > 4500*time.Millisecond {
					published = true
					putStates(t, s, devices, devices, first)
					<-time.After(100 * time.Millisecond)
				}
			}}
			cfg := bridge.ForwarderConfig{Upstream: "cloud", Connections: func() int { return int(want.Load()) }, Queues: []bridge.QueueRef{{Name: normal, Priority: 4, LiveFirst: true, Last: k}}}
			f := bridge.NewForwarder(cfg, s, senders, m, log, new(bridge.Health), slog.New(slog.DiscardHandler))
			end := peers.Run(t, f.Run)
			await(t, func() string { return fmt.Sprintf("%+v %+v", f.Stats(), s.Ledger(normal)) }, func() bool {
				l := s.Ledger(normal)
				return l.Accepted == 2*devices+1 && l.Held == 0
			})
			end()
			stop()
			for i := range devices {
				if n := last[fmt.Sprint("d", i)]; n != devices+i {
					t.Errorf("the last of d%d is %d", i, n)
				}
			}
			if l := s.Ledger(normal); l.Dropped < devices/2 {
				t.Errorf("%+v", l)
			}
		}))
	}
}

// What a live message outlives, and a connection has not sent, is taken back before that
// goes: not a moment later, when the connection has sent both.
func TestWhatALiveMessageOutlivesGoesNoMore(t *testing.T) {
	inNoTime(testWhatALiveMessageOutlivesGoesNoMore)(t)
}

func testWhatALiveMessageOutlivesGoesNoMore(t *testing.T) {
	s := openUnsynced(t)
	log := openLog(t, s, bridge.DefaultDropLimits())
	k, stop := keeping(t, s, log, new(bridge.Health), bridge.KeepLastConfig{Last: 1})
	const devices, ahead = 60, 32 // so many wait on a connection
	putStates(t, s, 0, devices, 0)
	time.AfterFunc(1500*time.Millisecond, func() { put(t, s, normal, "other", "0") }) // the first that is live
	time.AfterFunc(5*time.Second, func() { putStates(t, s, devices, devices, 0) })
	goOn := make(chan struct{})
	var all, most sync.Once
	cfg := bridge.ForwarderConfig{
		Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4, LiveFirst: true, Last: k}},
		HoldBy: func(r *bridge.Stored) string {
			switch string(r.Payload) {
			case fmt.Sprint(devices): // what comes is looked at before the forwarder goes on,
				all.Do(func() { <-time.After(100 * time.Millisecond) })
			case fmt.Sprint(devices + ahead - 1): // and the connection sends what it has been given
				most.Do(func() { close(goOn); <-time.After(100 * time.Millisecond) })
			}
			return r.Device
		},
	}
	c := &cloud{window: 2 * devices}
	f := bridge.NewForwarder(cfg, s, []bridge.Sender{stalled{c, goOn}}, new(noMeter), log, new(bridge.Health), slog.New(slog.DiscardHandler))
	end := peers.Run(t, f.Run)
	await(t, func() string { return fmt.Sprintf("%+v %+v", f.Stats(), s.Ledger(normal)) }, func() bool {
		l := s.Ledger(normal)
		return l.Accepted == 2*devices+1 && l.Held == 0
	})
	end()
	stop()
	want := []string{"0", "0"} // the one that was on its way, and the other
	for i := range devices {
		want = append(want, fmt.Sprint(devices+i))
	}
	if got := c.payloads(); !slices.Equal(got, want) {
		t.Errorf("arrived %v, want %v", got, want)
	}
}

// stalled is a cloud to which nothing can be sent for a while.
type stalled struct {
	*cloud
	goOn chan struct{}
}

func (c stalled) Connect(ctx context.Context) (bridge.Link, error) {
	l, err := c.cloud.Connect(ctx)
	return stalledLink{l, c.goOn}, err
}

type stalledLink struct {
	bridge.Link
	goOn chan struct{}
}

func (l stalledLink) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	<-l.goOn
	return l.Link.Send(ctx, d, report)
}

// putStates appends states of n devices, those from one on first, numbered by device from
// a number on.
func putStates(t *testing.T, s bridge.Spool, from, n, first int) {
	t.Helper()
	b := new(bridge.Batch)
	for i := range n {
		device := (first + i) % n
		d := fmt.Sprint("d", device)
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "state/" + d, Payload: []byte(fmt.Sprint(from + device)), QoS: 1},
			Origin:    bridge.Origin{Device: d, ID: idOf(from + device), Instant: bridge.Instant{Age: s.Age(), Wall: time.Unix(1e9, 0)}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "state/" + d, QoS: 1}},
		})
	}
	commit(t, s, b)
}

// stopping is a meter that keeps the forwarder from going on.
type stopping struct {
	noMeter
	stop func()
}

func (m *stopping) Delivered(*bridge.Batch, string, *bridge.Stored, bridge.Outcome) { m.stop() }
