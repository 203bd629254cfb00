package localbroker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

const (
	// localWindow is how many deliveries to local subscribers may be open.
	localWindow = 100
	// localParked is how many of them may wait for absent devices, so that
	// those never take the window from the present ones.
	localParked = localWindow / 2
)

// Local delivers what comes down from a cloud to the devices. It is a
// [bridge.Sender] whose outcome is the devices' own PUBACKs:
//
//   - ResultAcked: every QoS 1 receiver has acknowledged, or there were only
//     QoS 0 receivers;
//   - ResultAbsent: nobody subscribes, or only those who may not receive it. The
//     session of an absent device counts as somebody for QoS 1: its
//     acknowledgement is awaited until the session expires;
//   - ResultLost: a session ended before it acknowledged;
//   - ResultRetry: a session's queue was full, the message expired in it, or
//     too many wait for absent devices already;
//   - ResultRefused: larger than the device takes.
//
// The worst of several receivers counts.
type Local struct{ broker *Broker }

// Local returns the downlink to the broker's devices.
func (b *Broker) Local() *Local { return &Local{b} }

// Connect returns a link at once: the broker is in the same process.
func (l *Local) Connect(ctx context.Context) (bridge.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k := &localLink{broker: l.broker, open: map[*local]struct{}{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go k.reportAll()
	return k, nil
}

// localLink is a Link. Outcomes are decided under locks of sessions and told
// from one goroutine.
type localLink struct {
	broker *Broker

	mu       sync.Mutex
	open     map[*local]struct{}
	parked   int // of open, those that wait for an absent device
	outcomes []func()
	closed   bool

	wake chan struct{}
	done chan struct{}
}

// local is one delivery to all its receivers.
type local struct {
	link    *localLink
	report  func(bridge.Outcome)
	waiting int // receivers without a result, and Send itself; guarded by link.mu
	result  bridge.Result
	parked  bool
}

var errLinkClosed = errors.New("the link to the devices is closed")

// Window implements bridge.Link.
func (k *localLink) Window() int { return localWindow }

// Done implements bridge.Link.
func (k *localLink) Done() <-chan struct{} { return k.done }

// Err implements bridge.Link.
func (k *localLink) Err() error {
	select {
	case <-k.done:
		return errLinkClosed
	default:
		return nil
	}
}

// Send implements bridge.Link.
func (k *localLink) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l := &local{link: k, report: report, waiting: 1, result: bridge.ResultAcked}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return errLinkClosed
	}
	k.open[l] = struct{}{}
	k.mu.Unlock()

	m := &bridge.Message{Topic: d.Receiver.Topic, Payload: d.Payload, QoS: d.Receiver.QoS, Retain: d.Receiver.Retain, Properties: d.Properties}
	if m.HasExpiry {
		m.Expiry = d.Remaining
	}
	expires := k.broker.expiry(m)
	if m.Retain {
		k.broker.retained.store(m, expires)
	}
	to, sent := k.broker.receivers("", m.Topic), bridge.ResultAbsent
	for i := range to {
		if l.offer(&to[i], m, expires) {
			sent = bridge.ResultAcked
		}
	}
	l.settle(sent)
	return nil
}

// Flush implements bridge.Link: nothing is gathered.
func (k *localLink) Flush() {}

// offer hands the message to one session and reports whether there is somebody
// to take it.
func (l *local) offer(r *receiver, m *bridge.Message, expires time.Time) bool {
	d := r.delivery(m, expires)
	if d.qos > 0 {
		l.link.mu.Lock()
		l.waiting++
		l.link.mu.Unlock()
		d.await = l
	}
	switch r.session.offer(d) {
	case takenQueued:
		return true
	case takenFull:
		d.done(bridge.ResultRetry)
		return true
	default:
		if d.qos > 0 {
			l.link.mu.Lock()
			l.waiting--
			l.link.mu.Unlock()
		}
		return false
	}
}

// settle implements awaiter: it takes the result of one receiver, or of Send,
// and reports once all have one.
func (l *local) settle(r bridge.Result) {
	k := l.link
	k.mu.Lock()
	defer k.mu.Unlock()
	if worse(r, l.result) {
		l.result = r
	}
	if l.waiting--; l.waiting > 0 {
		return
	}
	k.finishLocked(l)
}

// park implements awaiter.
func (l *local) park() bool {
	k := l.link
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.parked || k.parked >= localParked {
		return l.parked
	}
	l.parked = true
	k.parked++
	return true
}

// worse orders results by how little was achieved.
func worse(a, b bridge.Result) bool { return rank(a) > rank(b) }

func rank(r bridge.Result) int {
	switch r {
	case bridge.ResultAcked:
		return 0
	case bridge.ResultAbsent:
		return 1
	case bridge.ResultRefused, bridge.ResultDenied:
		return 2
	case bridge.ResultRetry:
		return 3
	default:
		return 4
	}
}

func (k *localLink) finishLocked(l *local) {
	if _, open := k.open[l]; !open {
		return // the link was closed, and has said so
	}
	delete(k.open, l)
	if l.parked {
		k.parked--
	}
	out, report := bridge.Outcome{Result: l.result}, l.report
	if l.result == bridge.ResultRefused {
		out.Code, out.Reason = 0x95, "larger than the device takes"
	}
	k.outcomes = append(k.outcomes, func() { report(out) })
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// reportAll tells outcomes in the order in which they were decided.
func (k *localLink) reportAll() {
	for {
		k.mu.Lock()
		outcomes, closed := k.outcomes, k.closed
		k.outcomes = nil
		k.mu.Unlock()
		for _, tell := range outcomes {
			tell()
		}
		if len(outcomes) > 0 {
			continue
		}
		if closed {
			return
		}
		<-k.wake
	}
}

// Close implements bridge.Link.
func (k *localLink) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	close(k.done)
	for l := range k.open {
		l.result = bridge.ResultLost
		k.finishLocked(l)
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return nil
}
