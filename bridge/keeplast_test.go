package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// keeping runs a KeepLast on the queue normal until stop.
func keeping(t *testing.T, s bridge.Spool, log *bridge.DropLog, h *bridge.Health, cfg bridge.KeepLastConfig) (k *bridge.KeepLast, stop func()) {
	t.Helper()
	cfg.Queue = normal
	k = bridge.NewKeepLast(cfg, s, log, h, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return k, func() { cancel(); running.Wait() }
}

// publish appends messages i in from to below to, on so many topics.
func publish(t *testing.T, s bridge.Spool, from, to int, topic func(i int) string) {
	t.Helper()
	b := new(bridge.Batch)
	for i := from; i < to; i++ {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: topic(i), Payload: []byte(fmt.Sprint(i)), QoS: 1},
			Origin:    bridge.Origin{Device: "d", ID: idOf(i), Instant: bridge.Instant{Age: s.Age(), Wall: time.Unix(1e9, 0)}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "t", QoS: 1}},
		})
	}
	commit(t, s, b)
}

// reach polls a condition: the test fails by the context, not by time.
func reach(t *testing.T, what string, until func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !until() {
		select {
		case <-ctx.Done():
			t.Fatalf("not reached: %s", what)
		case <-tick.C:
		}
	}
}

// Only the newest messages of each topic wait; what they replace is in the log,
// and the sum holds. A second start, which finds a queue, does the same.
func TestKeepLastWhileTheLinkIsDown(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	log := openLog(t, s, bridge.DefaultDropLimits())
	topics := func(i int) string { return fmt.Sprint("state/", i%5) }
	for round := range 2 {
		_, stop := keeping(t, s, log, new(bridge.Health), bridge.KeepLastConfig{Last: 2, Exempt: "spBv1.0/"})
		publish(t, s, 1000*round, 1000*round+500, topics)
		publish(t, s, 1000*round+500, 1000*round+1000, topics)
		reach(t, "the last two of five topics", func() bool { return s.Depth(normal).Records == 10 })
		stop()
		if got, want := strings.Join(content(t, s, normal), " "), "990 991 992 993 994 995 996 997 998 999"; round == 0 && got != want {
			t.Errorf("held: %s, want %s", got, want)
		}
	}
	n := 0
	if err := log.Entries(func(e *bridge.DropEntry) bool {
		if n++; e.Reason != bridge.Conflated || !strings.HasPrefix(e.Topic, "state/") || e.Device != "d" || e.Size == 0 || e.Accepted.Unix() != 1e9 {
			t.Errorf("%+v", e)
		}
		return true
	}); err != nil || n != 1990 {
		t.Errorf("%d entries, %v", n, err)
	}
	if l, want := s.Ledger(normal), (bridge.Ledger{Accepted: 2000, Held: 10, Dropped: 1990}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
}

// While it is sent, no message is both sent and given up, none is neither, and
// the newest of each topic arrives.
func TestKeepLastWhileSending(t *testing.T) {
	t.Parallel()
	const n, topics = 6000, 7
	s := openSpool(t)
	log := openLog(t, s, bridge.DefaultDropLimits())
	k, stop := keeping(t, s, log, new(bridge.Health), bridge.KeepLastConfig{Last: 1})
	c := &cloud{window: 3}
	go func() {
		for i := 0; i < n; i += 20 {
			publish(t, s, i, i+20, func(i int) string { return fmt.Sprint("state/", i%topics) })
		}
	}()
	queues := []bridge.QueueRef{{Name: normal, Last: k}}
	forwardFrom(t, queues, s, c, new(noMeter), log, new(bridge.Health), func() bool {
		l := s.Ledger(normal)
		return l.Accepted == n && l.Held == 0
	})
	stop()
	where := map[string]int{}
	for _, p := range c.payloads() {
		where[p]++
	}
	sent := int64(len(where))
	if err := log.Entries(func(e *bridge.DropEntry) bool {
		where[fmt.Sprint(int(e.ID[14])<<8+int(e.ID[15]))]++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if where[fmt.Sprint(i)] != 1 {
			t.Fatalf("message %d was sent or given up %d times", i, where[fmt.Sprint(i)])
		}
	}
	if l, want := s.Ledger(normal), (bridge.Ledger{Accepted: n, Delivered: sent, Dropped: n - sent}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
	arrived := strings.Join(c.payloads(), " ") + " "
	for i := n - topics; i < n; i++ {
		if !strings.Contains(arrived, fmt.Sprint(i, " ")) {
			t.Errorf("%d, the newest of its topic, has not arrived", i)
		}
	}
}

// What the forwarder has read and keepLast gave up before it said so is gone.
func TestReachedTooLate(t *testing.T) {
	s := openSpool(t)
	k := bridge.NewKeepLast(bridge.KeepLastConfig{Queue: normal, Last: 1}, s, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
	publish(t, s, 0, 2, func(int) string { return "state" })
	b := new(bridge.Batch)
	b.ReleaseAs(stored(t, s, normal, 1)[0], bridge.Dropped)
	commit(t, s, b)
	for p, want := range map[bridge.Place]bool{1: true, 2: false} {
		if gone, open := k.Reached(0, p); gone != want || open {
			t.Errorf("place %d is gone: %v, and open: %v", p, gone, open)
		}
	}
}

// With more topics than it remembers, those beyond keep all, until the others
// have been sent. What is exempt is left alone.
func TestKeepLastIsBounded(t *testing.T) {
	t.Parallel()
	s, h := openSpool(t), new(bridge.Health)
	log := openLog(t, s, bridge.DefaultDropLimits())
	k, stop := keeping(t, s, log, h, bridge.KeepLastConfig{Last: 1, Most: 10, Exempt: "spBv1.0/"})
	defer stop()
	publish(t, s, 0, 20, func(int) string { return "spBv1.0/g/NDATA/n" })
	publish(t, s, 20, 80, func(i int) string { return fmt.Sprint("state/", i%30) })
	reach(t, "ten topics keep one", func() bool { return s.Depth(normal).Records == 20+60-10 })
	if ws := h.Warnings(); len(ws) != 1 || ws[0].Code != "keep-last-full-"+normal {
		t.Errorf("%+v", ws)
	}
	k.Reached(0, 80) // all of it
	publish(t, s, 80, 120, func(i int) string { return fmt.Sprint("new/", i%4) })
	reach(t, "the new topics are remembered", func() bool { return s.Depth(normal).Records <= 70+4+10 })
}
