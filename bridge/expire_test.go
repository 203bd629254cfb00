package bridge_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// far is a cloud that is away until it is back.
type far struct {
	*cloud
	back chan struct{}
}

func (c far) Connect(ctx context.Context) (bridge.Link, error) {
	select {
	case <-c.back:
		return c.cloud.Connect(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// putMortal puts n messages, of which every fifth stays for ever, every fifth lives for
// two hours, and the others for one.
func putMortal(t *testing.T, s bridge.Spool, n int) {
	t.Helper()
	b := new(bridge.Batch)
	for i := range n {
		to := bridge.Receiver{Queue: normal, Topic: "dt/d", QoS: 1}
		switch i % 5 {
		case 0:
		case 3:
			to.TTL = 2 * time.Hour
		default:
			to.TTL = time.Hour
		}
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/d", Payload: []byte(fmt.Sprint(i)), QoS: 1},
			Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{to},
		})
		if len(b.Appends) == 1000 || i == n-1 {
			commit(t, s, b)
			b = new(bridge.Batch)
		}
	}
}

// What expires while the cloud is away makes room then, in the whole of a long queue.
// What comes in meanwhile does, too, and what has not expired goes when the cloud is
// back.
func TestExpiresWhileTheCloudIsAway(t *testing.T) { inNoTime(testExpiresWhileTheCloudIsAway)(t) }

func testExpiresWhileTheCloudIsAway(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	const n = 27_500 // two fifths outlive the hour: more than are looked at ahead
	putMortal(t, s, n)
	c := far{&cloud{window: 100}, make(chan struct{})}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }
	<-time.After(59 * time.Minute)
	if l := s.Ledger(normal); l.Dropped != 0 {
		t.Errorf("before its time: %+v", l)
	}
	<-time.After(10 * time.Minute)
	if l := s.Ledger(normal); l.Dropped != n*3/5 {
		t.Errorf("of those of an hour: %+v", l)
	}
	putMortal(t, s, 1000)
	<-time.After(62 * time.Minute)
	if l := s.Ledger(normal); l.Dropped != n*4/5+600 {
		t.Errorf("of those of two hours: %+v", l)
	}
	close(c.back)
	await(t, state, empty(s, normal))
	end()
	if l := s.Ledger(normal); l.Delivered != n/5+400 {
		t.Errorf("in the end: %+v", l)
	}
	next := 0
	for _, p := range c.payloads()[:n/5] {
		if p != fmt.Sprint(next) {
			t.Fatalf("%s arrived, want %d", p, next)
		}
		next += 5
	}
}

// So does what expires while a window of the link is shut, and others go.
func TestExpiresWhileTheWindowIsShut(t *testing.T) { inNoTime(testExpiresWhileTheWindowIsShut)(t) }

func testExpiresWhileTheWindowIsShut(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	putMortal(t, s, 500)
	gate := new(randomGate)
	gate.closed[4].Store(true)
	c := &cloud{window: 100}
	queues := []bridge.QueueRef{{Name: normal, Priority: 4}, {Name: alarms, Priority: 9}}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: queues, Gate: gate}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %+v", f.Stats(), s.Ledger(normal)) }
	<-time.After(61 * time.Minute)
	put(t, s, alarms, "d", "alarm")
	await(t, state, empty(s, alarms))
	if l := s.Ledger(normal); l.Dropped != 300 || l.Delivered != 0 {
		t.Errorf("while it is shut: %+v", l)
	}
	gate.closed[4].Store(false)
	await(t, state, empty(s, normal))
	end()
	if l := s.Ledger(normal); l.Delivered != 200 {
		t.Errorf("in the end: %+v", l)
	}
}

// So does what expires while its route is paused, or its device held, and what had been
// read of it already is not sent after all.
func TestExpiresWhileItIsDenied(t *testing.T) {
	t.Parallel()
	for name, devices := range map[string]int{"a device": 1, "a route": 200} {
		t.Run(name, inNoTime(func(t *testing.T) {
			s, h := openUnsynced(t), new(bridge.Health)
			b := new(bridge.Batch)
			for i := range 1000 {
				d := fmt.Sprint("denied", i%devices)
				b.Append(&bridge.Record{
					Message:   bridge.Message{Topic: "dt/d", Payload: []byte(fmt.Sprint(i)), QoS: 1},
					Origin:    bridge.Origin{Device: d, Instant: bridge.Instant{Age: s.Age()}},
					Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/d", QoS: 1, TTL: 8 * time.Second}},
				})
			}
			commit(t, s, b)
			c := denying(ofDenied, new(atomic.Bool))
			f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
			<-time.After(21 * time.Second) // less than a device that is denied waits for its next try
			if l := s.Ledger(normal); l.Dropped != 1000 || l.Held != 0 {
				t.Errorf("%+v, %v", l, h.Warnings())
			}
			sent := f.Stats().Sent
			put(t, s, normal, "good", "later")
			await(t, func() string { return fmt.Sprint(f.Stats()) }, empty(s, normal))
			end()
			if n := f.Stats().Sent - sent; n != 1 {
				t.Errorf("%d were sent in the end", n)
			}
		}))
	}
}

// A message that was read while the window was open, and had to wait for room, is not
// sent when it has been given up since.
func TestWhatWasReadExpires(t *testing.T) { inNoTime(testWhatWasReadExpires)(t) }

func testWhatWasReadExpires(t *testing.T) {
	s, h := openUnsynced(t), new(bridge.Health)
	b := new(bridge.Batch)
	for i := range 5000 {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/d", Payload: []byte(fmt.Sprint(i)), QoS: 1},
			Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/d", QoS: 1, TTL: 8 * time.Second}},
		})
	}
	commit(t, s, b)
	gate := new(randomGate)
	c := &cloud{window: 1, after: 6 * time.Second}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Priority: 4}}, Gate: gate}, s, []bridge.Sender{c}, h)
	<-time.After(time.Second)
	gate.closed[4].Store(true)
	<-time.After(20 * time.Second)
	given := s.Ledger(normal).Dropped
	gate.closed[4].Store(false)
	await(t, func() string { return fmt.Sprintf("%+v %+v", f.Stats(), s.Ledger(normal)) }, empty(s, normal))
	end()
	if l := s.Ledger(normal); given < 4000 || l.Dropped+l.Delivered != 5000 || l.Delivered != f.Stats().Sent {
		t.Errorf("%d were given up, %+v", given, l)
	}
	for _, p := range c.payloads() {
		if n, _ := strconv.Atoi(p); n >= 5000-int(given) {
			t.Errorf("%d was sent after it was given up", n)
		}
	}
}

// What waits for days is not read over and over: what has come since is, and all of it
// from time to time.
func TestWhatWaitsIsReadSeldom(t *testing.T) { inNoTime(testWhatWaitsIsReadSeldom)(t) }

func testWhatWaitsIsReadSeldom(t *testing.T) {
	s := &unreadable{Spool: openUnsynced(t)}
	const n = 1000
	putMortal(t, s, n)
	c := far{new(cloud), make(chan struct{})}
	_, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c})
	<-time.After(30 * time.Minute)
	putMortal(t, s, n)
	<-time.After(29 * time.Minute)
	end()
	if got := s.reads.Load(); got < 2*n || got > 10*2*n {
		t.Errorf("%d records were read in an hour, of %d that waited", got, 2*n)
	}
}

// Who cannot read what may have expired says so, and takes it back.
func TestExpiresFromADiskThatFails(t *testing.T) { inNoTime(testExpiresFromADiskThatFails)(t) }

func testExpiresFromADiskThatFails(t *testing.T) {
	s, h := &unreadable{Spool: openUnsynced(t)}, new(bridge.Health)
	putMortal(t, s, 5)
	s.fails.Store(true)
	c := far{new(cloud), make(chan struct{})}
	f, end := startWith(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal}}}, s, []bridge.Sender{c}, h)
	state := func() string { return fmt.Sprintf("%+v, %v", f.Stats(), h.Warnings()) }
	await(t, state, func() bool { return warned(h, "unreadable-cloud") })
	s.fails.Store(false)
	await(t, state, func() bool { return !warned(h, "unreadable-cloud") })
	end()
}

// unreadable is a spool whose disk may fail. It counts what is read.
type unreadable struct {
	bridge.Spool
	fails atomic.Bool
	reads atomic.Int64
}

func (u *unreadable) Cursor(queue string) bridge.Cursor {
	return unreadableCursor{u.Spool.Cursor(queue), u}
}

type unreadableCursor struct {
	bridge.Cursor
	of *unreadable
}

func (c unreadableCursor) Next() (*bridge.Stored, error) {
	if c.of.fails.Load() {
		return nil, fmt.Errorf("input/output error")
	}
	r, err := c.Cursor.Next()
	if r != nil {
		c.of.reads.Add(1)
	}
	return r, err
}
