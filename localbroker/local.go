package localbroker

import (
	"context"
	"errors"
	"sync"

	"github.com/ebbgate/ebbgate/bridge"
)

// localWindow is how many deliveries to local subscribers may be open.
const localWindow = 100

// Local delivers what comes down from a cloud to the devices. It is a
// [bridge.Sender]:
//
//   - ResultAcked: the message is in the queues of all sessions that are kept,
//     durably, whether their devices are there or not, and every QoS 1 receiver
//     whose session is not kept has acknowledged it;
//   - ResultAbsent: nobody subscribes, or only those who may not receive it;
//   - ResultLost: a session that is not kept ended before it acknowledged;
//   - ResultRetry: all queues were full, the shelf takes nothing now, or the
//     message expired in a queue that is not kept;
//   - ResultRefused: larger than the device takes.
//
// The worst of several receivers counts. A full queue beside others that took
// the message is no reason to send it to those again: it loses the message, and
// that is counted (B63).
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

// localLink is a Link. Messages are handed to sessions and outcomes, which are
// decided under locks of sessions, are told from one goroutine, in order.
type localLink struct {
	broker *Broker

	mu       sync.Mutex
	open     map[*local]struct{}
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
	p := &parcel{broker: k.broker, msg: m, promised: true, expires: k.broker.expiry(m)}
	var batch bridge.Batch
	p.extend(&batch)
	landed := func(_ bridge.Seq, err error) {
		p.settle(err)
		k.do(func() { l.deliver(p, err) })
	}
	if batch.Empty() {
		landed(0, nil)
	} else {
		k.broker.store.Commit(&batch, landed)
	}
	return nil
}

// do runs fn on the link's goroutine, after all that was asked before. A link
// that is closed has none any more; what is durable is delivered all the same.
func (k *localLink) do(fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		go k.broker.guard(fn)
		return
	}
	k.doLocked(fn)
}

func (k *localLink) doLocked(fn func()) {
	k.outcomes = append(k.outcomes, fn)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// deliver hands the message to its receivers once it is durable, or says that it
// could not be made so.
func (l *local) deliver(p *parcel, err error) {
	if err != nil {
		l.settle(bridge.ResultRetry)
		return
	}
	sent := bridge.ResultAbsent
	switch {
	case p.queued > 0:
		sent = bridge.ResultAcked
	case p.full > 0:
		sent = bridge.ResultRetry
	}
	p.deliver(func(s *session, d *delivery) {
		if l.offer(s, d) {
			sent = bridge.ResultAcked
		}
	})
	l.settle(sent)
}

// Flush implements bridge.Link: nothing is gathered.
func (k *localLink) Flush() {}

// offer hands the message to one session and reports whether there is somebody
// to take it.
func (l *local) offer(s *session, d *delivery) bool {
	if d.qos == 0 || d.kept.ordinal > 0 {
		return s.offer(d) == takenQueued
	}
	l.link.mu.Lock()
	l.waiting++
	l.link.mu.Unlock()
	d.await = l
	switch s.offer(d) {
	case takenQueued:
		return true
	case takenFull:
		d.done(bridge.ResultRetry)
		return true
	default:
		l.link.mu.Lock()
		l.waiting--
		l.link.mu.Unlock()
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
	out, report := bridge.Outcome{Result: l.result}, l.report
	if l.result == bridge.ResultRefused {
		out.Code, out.Reason = 0x95, "larger than the device takes"
	}
	k.doLocked(func() { report(out) })
}

// reportAll does what was asked of the link's goroutine, in that order.
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
