package delivery

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
)

// maxQueued is how many requests of one device may wait for their turn: a device
// that is right asks for the next blocks when it has got the last.
const (
	maxQueued      = 16
	maxQueuedBytes = 128 << 10
)

// maxDevices bounds the devices that are remembered; the broker's bound of
// connections is reached before.
const maxDevices = 100_000

// job is one request.
type job struct {
	from    *bridge.Principal
	topic   topic
	payload []byte
	largest int  // largest packet that the device takes
	sent    int  // messages of its answer
	begun   bool // one of them is on its way; guarded by Service.mu, as the next
	failed  bool // one of them has not reached it
}

// device is what the service remembers of a client id for a while: the requests
// that wait, and what is on its way to it. It is guarded by Service.mu.
type device struct {
	queue   []*job // the first one is being served
	serving bool
	waiting int // bytes of the queue
	bytes   int // handed to the broker and not left
	room    chan struct{}
	pace    *rate.Limiter // nil: no limit
	idle    time.Time     // since when nothing waits
}

// keepIdle is how long a device is remembered, for its rate.
const keepIdle = 10 * time.Second

// enqueue takes a request, or says why not. What is the same as one of which nothing
// has been answered is dropped: a device repeats itself when it is impatient. One that
// has got something of an answer, all of it perhaps, asks anew.
func (s *Service) enqueue(t topic, r localbroker.FamilyRequest) (dropped string) {
	j := &job{from: r.From, topic: t, payload: r.Message.Payload, largest: r.Largest}
	j.topic.thing, j.topic.stream = clip(t.thing), clip(t.stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "stream-closing"
	}
	d := s.devices[r.From.Name()]
	if d == nil {
		if s.forgetLocked(); len(s.devices) >= maxDevices {
			return "stream-devices"
		}
		d = &device{room: make(chan struct{}, 1)}
		if n := int(s.o.BytesPerSecond); n > 0 {
			d.pace = rate.NewLimiter(rate.Limit(n), max(n, 2*maxAnswer))
		}
		s.devices[clip(r.From.Name())] = d
	}
	for _, other := range d.queue {
		if !other.begun && other.from == j.from && other.topic == j.topic && string(other.payload) == string(j.payload) {
			return "stream-duplicate"
		}
	}
	if len(d.queue) >= maxQueued || len(d.queue) > 0 && d.waiting+len(j.payload) > maxQueuedBytes {
		return "stream-queue-full"
	}
	d.queue, d.waiting = append(d.queue, j), d.waiting+len(j.payload)
	if !d.serving {
		d.serving = true
		s.workers.Go(func() { s.work(d) })
	}
	return ""
}

// clip copies a text out of the packet that it came in.
func clip(t string) string { return string([]byte(t)) }

// forgetLocked takes away devices that have been idle for a while.
func (s *Service) forgetLocked() {
	now := time.Now()
	if now.Sub(s.forgot) < keepIdle {
		return
	}
	s.forgot = now
	for id, d := range s.devices {
		if !d.serving && d.bytes == 0 && now.Sub(d.idle) > keepIdle {
			delete(s.devices, id)
		}
	}
}

// work serves a device as long as requests wait.
func (s *Service) work(d *device) {
	for {
		s.mu.Lock()
		if len(d.queue) == 0 || s.closed {
			d.queue, d.waiting, d.serving, d.idle = nil, 0, false, time.Now()
			s.mu.Unlock()
			return
		}
		j := d.queue[0]
		s.mu.Unlock()
		s.guard(j)
		s.mu.Lock()
		d.queue, d.waiting = d.queue[1:], d.waiting-len(j.payload)
		s.mu.Unlock()
	}
}

// guard answers; a panic costs that answer only.
func (s *Service) guard(j *job) {
	defer func() {
		if v := recover(); v != nil {
			s.deps.Log.Error("a stream's answer failed", "client", j.from.Name(), "stream", j.topic.stream, "panic", v)
		}
	}()
	s.answer(j)
}

// errUnheard is why an answer is given up: the device has gone, has not
// subscribed, or may not receive it; or it takes nothing.
var errUnheard = errors.New("nobody takes the answer: the device must be connected, subscribe to it and read it")

// send hands one message of an answer to the broker, when the device has room for
// it and its rate allows.
func (s *Service) send(ctx context.Context, j *job, verb string, payload []byte) error {
	s.mu.Lock()
	d := s.devices[j.from.Name()]
	s.mu.Unlock()
	if d.pace != nil {
		if err := d.pace.WaitN(ctx, len(payload)); err != nil {
			return errUnheard
		}
	}
	n := len(payload)
	if err := s.reserve(ctx, d, j, n); err != nil {
		return err
	}
	j.sent++
	s.hand.Hand(j.from, &bridge.Message{Topic: j.topic.with(verb), Payload: payload, QoS: 1}, func(r bridge.Result) {
		s.mu.Lock()
		d.bytes -= n
		j.failed = j.failed || r != bridge.ResultAcked
		s.mu.Unlock()
		select {
		case d.room <- struct{}{}:
		default:
		}
	})
	return nil
}

// reserve waits for room in the device's window (F84).
func (s *Service) reserve(ctx context.Context, d *device, j *job, n int) error {
	for {
		s.mu.Lock()
		fits, failed := d.bytes == 0 || d.bytes+n <= int(s.o.Window), j.failed
		if fits && !failed {
			d.bytes += n
			j.begun = true
		}
		s.mu.Unlock()
		switch {
		case failed:
			return errUnheard
		case fits:
			return nil
		}
		select {
		case <-d.room:
		case <-ctx.Done():
			return errUnheard
		}
	}
}
