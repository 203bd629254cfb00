package bridge_test

import (
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// commits counts those that do nothing but set a mark, and keeps the highest
// mark that was set at all.
type commits struct {
	bridge.Spool
	alone   atomic.Int64
	highest atomic.Int64
}

func (c *commits) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	for _, p := range b.Puts {
		if n, err := strconv.ParseInt(string(p.Value), 10, 64); p.Namespace == "sent" && err == nil {
			c.highest.Store(max(c.highest.Load(), n))
			if len(b.Releases) == 0 {
				c.alone.Add(1)
			}
		}
	}
	c.Spool.Commit(b, done)
}

// A mark of what may have been sent costs no commit of its own but at the
// beginning of a link: it goes with the releases.
func TestMarksGoWithReleases(t *testing.T) {
	const n = 20_000
	s := openSpool(t)
	b := new(bridge.Batch)
	for i := range n {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/d", Payload: []byte(fmt.Sprint(i)), QoS: 1},
			Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/d", QoS: 1}},
		})
		if len(b.Appends) == 1000 {
			commit(t, s, b)
			b = new(bridge.Batch) // the spool owns what it was given
		}
	}
	c := &commits{Spool: s}
	forward(t, c, &cloud{window: 10}, new(noMeter), new(bridge.Health), empty(s, normal))
	if alone := c.alone.Load(); alone > 20 { // a disk that is busy takes more of them at the beginning
		t.Errorf("%d commits for marks alone on the way of %d messages", alone, n)
	}
	if c.highest.Load() < n {
		t.Errorf("the highest mark is %d: %d were sent", c.highest.Load(), n)
	}
}

// A link that has sent little is marked little ahead, so that a crash leaves
// little uncertain in the bill.
func TestMarksOfASlowLinkAreNear(t *testing.T) {
	s := openSpool(t)
	for i := range 20 {
		put(t, s, normal, "d", fmt.Sprint(i))
	}
	c := &commits{Spool: s}
	forward(t, c, &cloud{window: 1}, new(noMeter), new(bridge.Health), empty(s, normal))
	if m := c.highest.Load(); m < 20 || m > 20+256 {
		t.Errorf("20 were sent, and the mark is at %d", m)
	}
}

// What a crash has left on the way is at most the window of every connection and a
// release batch of each queue, of both of its parts together, and nothing beyond the
// mark (U1: delivered ≤ seen ≤ delivered + uncertain).
func TestACrashLeavesAWindowUncertain(t *testing.T) {
	const n, releaseBatch = 2000, 1024
	for _, c := range []struct {
		window, connections int
		sent, live          string
		want                int
	}{
		{window: 0, connections: 1, sent: "2000", want: 100 + releaseBatch},
		{window: 700, connections: 1, sent: "2000", want: 700 + releaseBatch},
		{window: 300, connections: 3, sent: "2000", want: 900 + releaseBatch},
		{window: 5000, connections: 1, sent: "2000", want: 1999}, // places begin with 1
		{window: 5000, connections: 1, sent: "256", want: 255},
		{window: 100, connections: 1, sent: "1001", live: "1001 2001", want: 100 + releaseBatch},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			s := openSpool(t)
			putMany(t, s, normal, n, func(i int) string { return fmt.Sprint("d", i%9) })
			var b bridge.Batch
			b.Put("sent", normal, []byte(c.sent))
			if c.live != "" {
				b.Put("live", normal, []byte(c.live))
			}
			commit(t, s, &b)
			m := new(noMeter)
			f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Window: c.window, Queues: []bridge.QueueRef{{Name: normal, LiveFirst: c.live != ""}}},
				s, newReceiver(t, 10).senders(c.connections), m, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
			end := peers.Run(t, f.Run)
			await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
			end()
			if m.uncertain != c.want || m.delivered != n {
				t.Errorf("%d uncertain, want %d; %d delivered", m.uncertain, c.want, m.delivered)
			}
		})
	}
}

// What is held at the front of a queue may not have been sent, and what was read past it
// may: the largest that wait are counted, so that the sum is no less than what was (U1).
func TestACrashCountsTheLargest(t *testing.T) {
	const held, sent, releaseBatch = 2000, 50, 1024
	inNoTime(func(t *testing.T) {
		s := openUnsynced(t)
		putMany(t, s, normal, held, func(int) string { return "held" })
		for range sent {
			put(t, s, normal, "large", strings.Repeat("x", 10_000))
		}
		var b bridge.Batch
		b.Put("sent", normal, []byte("1000000"))
		commit(t, s, &b)
		m := &bySize{}
		f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Window: 100, Queues: []bridge.QueueRef{{Name: normal}}},
			s, []bridge.Sender{&cloud{window: 100}}, m, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
		defer peers.Run(t, f.Run)()
		await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
		if m.uncertain != 100+releaseBatch || m.large != sent {
			t.Errorf("%d uncertain, of which %d are large; want %d and %d", m.uncertain, m.large, 100+releaseBatch, sent)
		}
	})(t)
}

// bySize counts what is uncertain and large apart.
type bySize struct {
	noMeter
	large int
}

func (m *bySize) Uncertain(b *bridge.Batch, upstream string, r *bridge.Stored, o bridge.Outcome) {
	if m.noMeter.Uncertain(b, upstream, r, o); r.Size() > 1000 {
		m.large++
	}
}

// A start may have another configuration than the run that has crashed: what that may
// have had on its way goes by its own (U1).
func TestACrashGoesByTheWindowBefore(t *testing.T) {
	t.Parallel()
	const n, releaseBatch = 2000, 1024
	for _, c := range []struct{ before, after, want int }{
		{before: 700, after: 10, want: 700 + releaseBatch},
		{before: 10, after: 700, want: 10 + releaseBatch},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, m := openUnsynced(t), new(noMeter)
				run := func(window int, until func() bool) {
					queues := []bridge.QueueRef{{Name: normal}}
					f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Window: window, Queues: queues}, s, []bridge.Sender{&cloud{window: 10}}, m, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
					defer peers.Run(t, f.Run)()
					await(t, func() string { return fmt.Sprint(f.Stats()) }, until)
				}
				put(t, s, normal, "d", "before")
				run(c.before, empty(s, normal))
				putMany(t, s, normal, n, func(i int) string { return fmt.Sprint("d", i%9) })
				var b bridge.Batch
				b.Put("sent", normal, []byte("2000")) // it crashes with its mark there
				commit(t, s, &b)
				run(c.after, empty(s, normal))
				if m.uncertain != c.want {
					t.Errorf("%d uncertain, want %d", m.uncertain, c.want)
				}
			})
		})
	}
}

// placed is a meter that counts by place what is uncertain.
type placed struct {
	noMeter
	t       *testing.T
	now     bridge.Billed
	perhaps map[bridge.Billed]int
}

func (m *placed) Place(string) bridge.Billed { return m.now }

func (m *placed) Uncertain(_ *bridge.Batch, _ string, _ *bridge.Stored, o bridge.Outcome) {
	if o.Before == nil {
		m.t.Error("something is uncertain that no run before has sent")
		return
	}
	m.perhaps[*o.Before]++
}

// What a crash has left on the way went to where the upstream was in the run that had sent
// it, and how it was reached then, wherever it is in the start that counts it, or was in
// starts between that did not.
func TestACrashGoesByThePlaceBefore(t *testing.T) {
	t.Parallel()
	const n = 30
	in := func(place int, how string) bridge.Billed { return bridge.Billed{Place: place, How: how} }
	for _, c := range []struct {
		name  string
		had   string        // what the run before has written; empty: nothing
		place bridge.Billed // of the run before, where it is asked
		now   bridge.Billed
		want  bridge.Billed // where it went
		text  string        // what it writes
	}{
		{"it stays", "", in(0, ""), in(0, ""), in(0, ""), "1124"},
		{"it has moved", "", in(0, ""), in(1, ""), in(0, ""), "1124 1"},
		{"it has moved back", "", in(1, ""), in(0, ""), in(1, ""), "1124"},
		{"an earlier version", "1124", in(0, ""), in(2, ""), in(0, ""), "1124 2"},
		{"the run between was killed before it counted", "1124 3", in(3, ""), in(4, ""), in(3, ""), "1124 4"},
		{"it was reached otherwise", "", in(0, "https"), in(0, ""), in(0, "https"), "1124"},
		{"it is reached otherwise", "", in(2, ""), in(0, "3.1.1,unit=5000"), in(2, ""), "1124 0 3.1.1,unit=5000"},
		{"the run between, which was reached otherwise, too", "1124 3 https", in(3, "https"), in(4, "3.1.1"), in(3, "https"), "1124 4 3.1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, m := openUnsynced(t), &placed{t: t, now: c.place, perhaps: map[bridge.Billed]int{}}
				run := func() {
					f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{&cloud{window: 10}}, m, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
					defer peers.Run(t, f.Run)()
					await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
				}
				var b bridge.Batch
				if c.had != "" {
					b.Put("sent-most", normal, []byte(c.had))
				} else {
					put(t, s, normal, "d", "before")
					run()
				}
				putMany(t, s, normal, n, func(i int) string { return fmt.Sprint("d", i%9) })
				b.Put("sent", normal, []byte("2000")) // it crashes with its mark there
				commit(t, s, &b)
				m.now = c.now
				run()
				if len(m.perhaps) != 1 || m.perhaps[c.want] != n {
					t.Errorf("%v uncertain by place, want %d in %v", m.perhaps, n, c.want)
				}
				text, err := s.Get("sent-most", normal)
				if err != nil || string(text) != c.text {
					t.Errorf("it has written %q, want %q, %v", text, c.text, err)
				}
			})
		})
	}
}

// What a crash has left on the way of a queue that nobody has any more is counted once, as
// the run before had it, whoever has the queue later.
func TestACrashOfAQueueThatHasGone(t *testing.T) {
	t.Parallel()
	const n = 30
	for _, c := range []struct {
		name, had string
		marks     map[string]string
		want      map[bridge.Billed]int
	}{
		{"where it was", "1124 3 https", map[string]string{"sent": "2000"}, map[bridge.Billed]int{{Place: 3, How: "https"}: n}},
		{"not more than were on the way", "7", map[string]string{"sent": "2000"}, map[bridge.Billed]int{{}: 7}},
		{"of an earlier version", "", map[string]string{"sent": "2000"}, map[bridge.Billed]int{{}: n}},
		{"of the live part", "1124", map[string]string{"live": "21 2000"}, map[bridge.Billed]int{{}: n - 20}},
		{"nothing was sent", "1124", nil, map[bridge.Billed]int{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, m := openUnsynced(t), &placed{t: t, perhaps: map[bridge.Billed]int{}}
				putMany(t, s, normal, n, func(i int) string { return fmt.Sprint("d", i%9) })
				var b bridge.Batch
				if c.had != "" {
					b.Put("sent-most", normal, []byte(c.had))
				}
				for space, mark := range c.marks {
					b.Put(space, normal, []byte(mark))
				}
				commit(t, s, &b)
				for range 2 { // of two starts the second finds nothing
					bridge.AccountForGone(s, m, "cloud", normal)
				}
				f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{&cloud{window: 10}}, m, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
				defer peers.Run(t, f.Run)()
				await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
				if !maps.Equal(m.perhaps, c.want) {
					t.Errorf("%v are uncertain, want %v", m.perhaps, c.want)
				}
			})
		})
	}
}
