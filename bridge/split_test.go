package bridge_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

var liveFirst = []bridge.QueueRef{{Name: normal, Priority: 4, LiveFirst: true}}

// begins waits in the answer to the first delivery, so that what is done
// meanwhile is live while the backlog waits.
func begins(c *cloud, then func()) {
	var once sync.Once
	c.answer = func(*bridge.Delivery) bridge.Outcome {
		once.Do(func() {
			then()
			<-time.After(time.Second) // until the forwarder has read all of that
		})
		return bridge.Outcome{Result: bridge.ResultAcked}
	}
}

// What is accepted now goes before what waited at the start, nine to one; both are
// in order, and the backlog does not starve, whatever the weight of priorities.
func TestLiveGoesBeforeTheBacklog(t *testing.T) { inNoTime(testLiveGoesBeforeTheBacklog)(t) }

func testLiveGoesBeforeTheBacklog(t *testing.T) {
	for _, weight := range []float64{0, 2} {
		s := openSpool(t)
		for i := range 300 {
			put(t, s, normal, "d", fmt.Sprint("old", i))
		}
		c := &cloud{window: 1}
		begins(c, func() {
			for i := range 200 {
				put(t, s, normal, "d", fmt.Sprint("new", i))
			}
		})
		f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: liveFirst, Weight: weight},
			s, []bridge.Sender{c}, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
		stop := running(t, f.Run)
		reach(t, "all has gone", empty(s, normal))
		stop()
		var olds, news, all []string
		for i := range 300 {
			olds = append(olds, fmt.Sprint("old", i))
		}
		for i := range 200 {
			news = append(news, fmt.Sprint("new", i))
		}
		isNew := func(p string) bool { return p[:3] == "new" }
		all = c.payloads()
		last := slices.Index(all, "new199")
		before := 0
		for _, p := range all[:max(last, 0)] {
			if !isNew(p) {
				before++
			}
		}
		if before < 200/9-2 || before > 150 {
			t.Errorf("weight %v: %d of the backlog went before the last live message", weight, before)
		}
		if got := slices.DeleteFunc(slices.Clone(all), isNew); !slices.Equal(got, olds) {
			t.Errorf("weight %v: the backlog went as %v", weight, got)
		}
		if got := slices.DeleteFunc(all, func(p string) bool { return !isNew(p) }); !slices.Equal(got, news) {
			t.Errorf("weight %v: the live messages went as %v", weight, got)
		}
	}
}

// Alarms go before what is live, and that before what else is of its priority.
func TestLiveKeepsItsPriority(t *testing.T) { inNoTime(testLiveKeepsItsPriority)(t) }

func testLiveKeepsItsPriority(t *testing.T) {
	s := openSpool(t)
	c := &cloud{window: 1}
	put(t, s, normal, "d", "old")
	begins(c, func() {
		for i := range 5 {
			put(t, s, "up/cloud/other", "e", "other")
			put(t, s, normal, "d", fmt.Sprint("new", i))
			put(t, s, alarms, "d", "fire")
		}
	})
	queues := append(slices.Clone(liveFirst), bridge.QueueRef{Name: "up/cloud/other", Priority: 4}, bridge.QueueRef{Name: alarms, Priority: 9})
	forwardFrom(t, queues, s, c, new(noMeter), new(bridge.DropLog), new(bridge.Health), empty(s, normal, alarms, "up/cloud/other"))
	want := []string{"old", "fire", "fire", "fire", "fire", "fire", "new0", "new1", "new2", "new3", "new4", "other", "other", "other", "other", "other"}
	if got := c.payloads(); !slices.Equal(got, want) {
		t.Errorf("went as %q", got)
	}
}

// A time to live and keep_last hold in both parts: of a topic with a newer message
// the backlog keeps none.
func TestLiveWithKeepLastAndTTL(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	log := openLog(t, s, bridge.DefaultDropLimits())
	k, stop := keeping(t, s, log, new(bridge.Health), bridge.KeepLastConfig{Last: 1})
	defer stop()
	topics := func(i int) string { return fmt.Sprint("state/", i%40) }
	publish(t, s, 0, 400, topics)
	reach(t, "the last of each of 40 topics", func() bool { return s.Depth(normal).Records == 40 })
	var expired bridge.Batch
	expired.Append(&bridge.Record{
		Message:   bridge.Message{Topic: "t", Payload: []byte("too old"), QoS: 1, Properties: bridge.Properties{HasExpiry: true, Expiry: 1}},
		Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age() - time.Hour}},
		Receivers: []bridge.Receiver{{Queue: normal, Topic: "t", QoS: 1}},
	})
	commit(t, s, &expired)
	c := &cloud{window: 1}
	begins(c, func() {
		publish(t, s, 420, 440, topics) // newer ones of the last 20 topics
		reach(t, "what they replace is given up", func() bool { return s.Depth(normal).Records <= 40+20 })
	})
	queues := slices.Clone(liveFirst)
	queues[0].Last = k
	forwardFrom(t, queues, s, c, new(noMeter), log, new(bridge.Health), empty(s, normal))
	l := s.Ledger(normal)
	if l.Accepted != 421 || l.Delivered+l.Dropped != 421 || l.Delivered != int64(len(c.payloads())) {
		t.Errorf("%+v, %d arrived", l, len(c.payloads()))
	}
	seen := map[string]int{}
	for _, p := range c.payloads() {
		seen[p]++
	}
	for i := 420; i < 440; i++ {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("%d arrived %d times", i, seen[fmt.Sprint(i)])
		}
	}
	if seen["too old"] > 0 {
		t.Error("what had expired was sent")
	}
}

// lowest is the lowest number of a device that has not come yet: what goes next of
// its backlog. r.mu is held.
func (r *fleet) lowest(device string) (n int) {
	for _, _ = fmt.Sscanf(device, "d%d", &n); r.first[device+fmt.Sprint(n)] > 0; {
		n += r.step
	}
	return n
}

// U8: while more comes in than may go, links die, messages are refused, the pool
// changes and the split moves all the time, each device's first transmissions are
// what is next of its backlog or later than all before: live. Nothing is lost, and
// whatever a kill leaves between two commits goes to the end, too.
func TestLiveFirstUnderFaultsAndKills(t *testing.T) {
	t.Parallel()
	const least, most, devices = 6000, 60_000, 13
	dir := t.TempDir()
	s := &images{Spool: openAt(t, dir), t: t, dir: dir, dice: rand.New(rand.NewPCG(5, 6)), most: 4, after: delivers}
	r := newReceiver(t, 10)
	r.faults, r.step = true, devices
	var wanted atomic.Int64
	wanted.Store(3)
	queues := []bridge.QueueRef{{Name: normal, Priority: 4, LiveFirst: true}}
	cfg := bridge.ForwarderConfig{
		Upstream: "cloud", Queues: queues, Weight: 2, LiveFor: 300 * time.Millisecond, Connections: func() int { return int(wanted.Load()) },
	}
	var f *bridge.Forwarder
	var end func()
	dice := rand.New(rand.NewPCG(7, 8))
	overtaken := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.over
	}
	n := 0 // a slow machine needs more until it has come to something live
	for i := 0; i < least || i < most && overtaken() == 0; n = i {
		if f == nil && i > least/4 {
			f, end = start(t, cfg, s, r.senders(3))
		}
		b := new(bridge.Batch)
		for stop := i + 1 + dice.IntN(60); i < stop; i++ {
			device := fmt.Sprint("d", i%devices)
			b.Append(&bridge.Record{
				Message:   bridge.Message{Topic: "dt/" + device, Payload: []byte(fmt.Sprint(i)), QoS: 1},
				Origin:    bridge.Origin{Device: device, ID: idOf(i), Instant: bridge.Instant{Age: s.Age()}},
				Receivers: []bridge.Receiver{{Queue: normal, Topic: "t", QoS: 1}},
			})
		}
		commit(t, s, b) // not past the images: a copy of files that are being written is nothing that a kill leaves
		switch dice.IntN(12) {
		case 0:
			for _, l := range r.cuttable() {
				_ = l.Close()
			}
		case 1:
			wanted.Store(1 + dice.Int64N(3))
		}
	}
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(normal)) }, empty(s, normal))
	end()
	r.mu.Lock()
	for i := range n {
		if r.first[fmt.Sprint("d", i%devices)+fmt.Sprint(i)] == 0 {
			t.Errorf("%d has not come", i)
		}
	}
	r.mu.Unlock()
	if l := s.Ledger(normal); l != (bridge.Ledger{Accepted: int64(n), Delivered: int64(n)}) {
		t.Errorf("%+v", l)
	}
	if overtaken() == 0 {
		t.Error("nothing live has overtaken anything")
	}
	if len(s.taken) == 0 {
		t.Error("no kill came in between")
	}
	for _, image := range s.taken {
		after := openAt(t, image)
		before := after.Ledger(normal)
		c := &cloud{window: 20}
		m := new(noMeter)
		forwardFrom(t, queues, after, c, m, new(bridge.DropLog), new(bridge.Health), empty(after, normal))
		if l := after.Ledger(normal); l.Delivered != before.Accepted || int64(m.delivered) != before.Held || l.Held != 0 {
			t.Errorf("an image with %+v ends with %+v, %d metered", before, l, m.delivered)
		}
		if !slices.IsSortedFunc(c.arrived, func(a, b *bridge.Delivery) int { return int(a.Place) - int(b.Place) }) {
			t.Error("what waits at a start is all backlog, and goes in order")
		}
	}
}

// shutter is a gate that is opened and closed by hand.
type shutter struct{ closed atomic.Bool }

func (g *shutter) Open(int) bool         { return !g.closed.Load() }
func (g *shutter) Account(*bridge.Batch) {}

// What has waited while a window was closed is backlog, though the link was up and
// it came when the queue was empty.
func TestWhatWaitedForAWindowIsBacklog(t *testing.T) { inNoTime(testWhatWaitedForAWindowIsBacklog)(t) }

func testWhatWaitedForAWindowIsBacklog(t *testing.T) {
	s := openSpool(t)
	c, gate := &cloud{window: 1}, new(shutter)
	var once sync.Once
	c.answer = func(d *bridge.Delivery) bridge.Outcome {
		if string(d.Payload) == "old0" {
			once.Do(func() {
				for i := range 5 {
					put(t, s, normal, "d", fmt.Sprint("new", i))
				}
			})
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}
	const short = 4 * time.Second // what comes last must not wait for as long, on a busy machine either
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: liveFirst, LiveFor: short, Gate: gate},
		s, []bridge.Sender{c}, new(noMeter), new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
	stop := running(t, f.Run)
	put(t, s, normal, "d", "first")
	reach(t, "the first has gone", empty(s, normal))
	gate.closed.Store(true)
	for i := range 50 {
		put(t, s, normal, "d", fmt.Sprint("old", i))
	}
	<-time.After(2 * short) // longer than anything is live
	gate.closed.Store(false)
	reach(t, "all has gone", empty(s, normal))
	stop()
	got := c.payloads()
	if len(got) != 56 || got[1] != "old0" || slices.Index(got, "new4") > 50 { // not behind all: how soon they are seen is the disk's
		t.Errorf("went as %v", got)
	}
}
