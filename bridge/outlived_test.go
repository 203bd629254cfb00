package bridge_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Where live messages go first a state that was read, or sent over a link that broke,
// does not come after the newer one of its topic: the newest is the last word.
func TestTheNewestOfATopicIsTheLastWord(t *testing.T) {
	t.Parallel()
	const topics, window = 10, 3
	for name, c := range map[string]struct {
		cut       bool
		delivered int64
	}{
		"of what was read ahead":     {false, window + topics},
		"of what a broken link lost": {true, topics},
	} {
		t.Run(name, inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			log := openLog(t, s, bridge.DefaultDropLimits())
			k, stop := keeping(t, s, log, new(bridge.Health), bridge.KeepLastConfig{Last: 1})
			topic := func(i int) string { return fmt.Sprint("state/", i%topics) }
			publish(t, s, 0, topics, topic)
			to := &cloud{window: window, after: 10 * time.Second}
			time.AfterFunc(2*time.Second, func() { publish(t, s, topics, 2*topics, topic) })
			if c.cut {
				time.AfterFunc(5*time.Second, func() { to.link.end(errors.New("cut")) })
			}
			queues := slices.Clone(liveFirst)
			queues[0].Last = k
			forwardFrom(t, queues, s, to, new(noMeter), log, new(bridge.Health), func() bool { return s.Ledger(normal).Accepted == 2*topics && s.Ledger(normal).Held == 0 })
			stop()
			want := "[0 1 2 10 11 12 13 14 15 16 17 18 19]"
			if got := fmt.Sprint(to.payloads()); got != want {
				t.Errorf("arrived %s, want %s", got, want)
			}
			if l := s.Ledger(normal); l.Delivered != c.delivered || l.Dropped != 2*topics-c.delivered {
				t.Errorf("%+v", l)
			}
			conflated := 0
			if err := log.Entries(func(e *bridge.DropEntry) bool {
				if e.Reason == bridge.Conflated {
					conflated++
				}
				return true
			}); err != nil || int64(conflated) != 2*topics-c.delivered {
				t.Errorf("%d stand in the drop log: %v", conflated, err)
			}
		}))
	}
}

// What was read before a window closes does not go after it, but for what is in flight.
func TestAWindowThatClosesHoldsWhatWasRead(t *testing.T) {
	inNoTime(testAWindowThatClosesHoldsWhatWasRead)(t)
}

func testAWindowThatClosesHoldsWhatWasRead(t *testing.T) {
	s := openUnsynced(t)
	putMany(t, s, normal, 200, func(i int) string { return fmt.Sprint("d", i%7) })
	gate := new(randomGate)
	c := &cloud{window: 2, after: time.Second}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4}, {Name: alarms, Priority: 9}}, Gate: gate}, s, []bridge.Sender{c}, new(bridge.Health))
	<-time.After(10 * time.Second)
	gate.closed[4].Store(true)
	before := len(c.payloads())
	put(t, s, alarms, "d0", "fire")
	<-time.After(time.Hour)
	if after := len(c.payloads()); before < 10 || after != before+1 || f.Stats().InFlight != 0 || s.Depth(alarms).Records != 0 {
		t.Errorf("%d of 200 went before the window closed, and %d after, one an alarm", before, after-before)
	}
	gate.closed[4].Store(false)
	await(t, func() string { return fmt.Sprintf("%+v", f.Stats()) }, empty(s, normal))
	end()
	if n := len(c.payloads()); n != 201 {
		t.Errorf("%d arrived, want 201", n)
	}
}

// What expires between the reading and the sending, which at a slow rate is long, is not
// sent.
func TestWhatIsReadMayStillExpire(t *testing.T) { inNoTime(testWhatIsReadMayStillExpire)(t) }

func testWhatIsReadMayStillExpire(t *testing.T) {
	s := openUnsynced(t)
	const n, lives = 60, 5
	b := new(bridge.Batch)
	for i := range n {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/d", Payload: []byte(fmt.Sprint(i)), QoS: 1},
			Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/d", QoS: 1, TTL: lives * time.Second}},
		})
	}
	commit(t, s, b)
	c := &cloud{window: 1, after: time.Second}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, new(bridge.Health))
	await(t, func() string { return fmt.Sprintf("%+v", f.Stats()) }, empty(s, normal))
	end()
	if l, sent := s.Ledger(normal), len(c.payloads()); sent > lives+1 || l.Delivered != int64(sent) || l.Dropped != int64(n-sent) {
		t.Errorf("%d were sent, %+v", sent, l)
	}
}

// Whichever of the backlog is replaced while the link is busy, and wherever the reading
// stands then, the newest of its topic is the last word.
func TestWhateverIsReplacedIsTheLastWord(t *testing.T) {
	t.Parallel()
	const topics = 60
	for only := 28; only < 44; only++ { // the link's queue begins with 32
		t.Run(fmt.Sprint(only), inNoTime(func(t *testing.T) {
			s := openUnsynced(t)
			log := openLog(t, s, bridge.DefaultDropLimits())
			k, stop := keeping(t, s, log, new(bridge.Health), bridge.KeepLastConfig{Last: 1})
			topic := func(i int) string { return fmt.Sprint("state/", i%topics) }
			publish(t, s, 0, topics, topic)
			to := &cloud{window: 3, after: time.Second}
			time.AfterFunc(2*time.Second, func() { publish(t, s, topics+only, topics+only+1, topic) })
			queues := slices.Clone(liveFirst)
			queues[0].Last = k
			forwardFrom(t, queues, s, to, new(noMeter), log, new(bridge.Health), func() bool { return s.Ledger(normal).Accepted == topics+1 && s.Ledger(normal).Held == 0 })
			stop()
			if got := to.payloads(); slices.Contains(got, fmt.Sprint(only)) || !slices.Contains(got, fmt.Sprint(topics+only)) {
				t.Errorf("arrived %v", got)
			}
		}))
	}
}

// What was read before a window closes expires behind it like what was not.
func TestWhatWasReadExpiresBehindAClosedWindow(t *testing.T) {
	inNoTime(testWhatWasReadExpiresBehindAClosedWindow)(t)
}

func testWhatWasReadExpiresBehindAClosedWindow(t *testing.T) {
	s, gate := openUnsynced(t), new(randomGate)
	putMortal(t, s, 100)
	c := &cloud{window: 1, after: 10 * time.Second}
	_, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4}}, Gate: gate}, s, []bridge.Sender{c}, new(bridge.Health))
	<-time.After(15 * time.Second)
	gate.closed[4].Store(true)
	<-time.After(3 * time.Hour)
	if l, sent := s.Ledger(normal), int64(len(c.payloads())); l.Held != 20-1 || l.Delivered != sent || sent != 2 {
		t.Errorf("%d were sent, and of those that live for ever 19 wait: %+v", sent, l)
	}
	end()
}
