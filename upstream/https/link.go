package https

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// link is the requests between two troubles. A device's messages wait in a lane
// of its own; a goroutine per lane that has any sends them.
type link struct {
	u      *Uplink
	client atomic.Pointer[http.Client]
	slots  chan struct{} // a place in the window each
	ctx    context.Context
	cancel context.CancelFunc
	begun  time.Time
	done   chan struct{}

	files   upstream.CertFiles
	refresh chan struct{} // a token when the certificate is to be looked at now

	mu    sync.Mutex
	first net.Conn // made by Connect, not used yet
	err   error
	lanes map[string][]*job // what waits, and what is under way in front
	held  map[string]*held  // devices of which one was not taken for now
	busy  sync.WaitGroup
}

// job is one message on its way.
type job struct {
	publish
	at     place
	report func(bridge.Outcome)
}

var _ bridge.Link = (*link)(nil)

func newLink(u *Uplink, first net.Conn, files upstream.CertFiles) *link {
	l := &link{
		u: u, first: first, files: files, refresh: make(chan struct{}, 1), begun: time.Now(),
		slots: make(chan struct{}, u.o.Window()),
		lanes: map[string][]*job{}, held: map[string]*held{}, done: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.client.Store(l.newClient())
	return l
}

// newClient has no connections yet.
func (l *link) newClient() *http.Client {
	return &http.Client{
		Timeout: l.u.o.AckTimeout,
		Transport: &http.Transport{
			DialTLSContext:      func(ctx context.Context, _, _ string) (net.Conn, error) { return l.connection(ctx) },
			MaxIdleConnsPerHost: cap(l.slots), MaxConnsPerHost: cap(l.slots),
			IdleConnTimeout: time.Minute, DisableCompression: true, ForceAttemptHTTP2: false,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// connection is the one that Connect has made, then new ones.
func (l *link) connection(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	c := l.first
	l.first = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	return l.u.dial(ctx)
}

// Window is how many messages may be under way.
func (l *link) Window() int { return cap(l.slots) }

// Flush does nothing: a request goes when it is made.
func (l *link) Flush() {}

// Done is closed when the link is down and every outcome has been reported.
func (l *link) Done() <-chan struct{} { return l.done }

// Err says why the link is down, nil while it is up.
func (l *link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close ends the link at once; what is outstanding reports ResultLost. It may be
// called from a report.
func (l *link) Close() error {
	l.fail(ErrClosed)
	return nil
}

// fail ends the link for the first reason given.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	first := l.first
	l.first = nil
	l.mu.Unlock()
	l.cancel()
	if first != nil {
		_ = first.Close()
	}
	go func() {
		l.busy.Wait()
		l.client.Load().CloseIdleConnections()
		end := upstream.Broke
		if errors.Is(err, ErrClosed) {
			end = upstream.Closed
		}
		l.u.backoff.Lived(time.Since(l.begun), false, end) // before done is closed, so before the next Wait
		l.u.down(err)
		close(l.done)
	}()
}

// Send puts d behind what its device has under way, waiting for a place in the
// window and for the rate limits. What HTTP cannot carry is refused at once.
func (l *link) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if err := l.Err(); err != nil {
		return downError(err)
	}
	p, err := publishOf(bridge.Outgoing(d.Stored), d.Remaining)
	if err != nil {
		report(bridge.Outcome{Result: bridge.ResultRefused, Reason: err.Error()})
		return nil
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return downError(l.Err())
	}
	if err := l.u.bucket.Wait(ctx, l.ctx.Done(), len(p.target)+len(p.body), nil); err != nil {
		<-l.slots
		if errors.Is(err, upstream.ErrStopped) {
			err = downError(l.Err())
		}
		return err
	}
	return l.enqueue(d.Key(), &job{p, place{d.Receiver.Queue, d.Place}, report})
}

func downError(err error) error { return fmt.Errorf("send: link is down: %w", err) }

// enqueue gives a job to its device's lane, and the lane a goroutine if it has
// none.
func (l *link) enqueue(device string, j *job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		<-l.slots
		return downError(l.err)
	}
	l.comesAgain(device, j)
	waiting, running := l.lanes[device]
	l.lanes[device] = append(waiting, j)
	if !running {
		l.busy.Go(func() { l.run(device) })
	}
	return nil
}

// run sends what a lane holds, in its order. When one is not taken for now, those
// behind it are not sent either: they would overtake it.
func (l *link) run(device string) {
	for {
		l.mu.Lock()
		waiting := l.lanes[device]
		if len(waiting) == 0 {
			delete(l.lanes, device)
			l.mu.Unlock()
			return
		}
		j := waiting[0]
		l.lanes[device] = waiting[1:]
		err, held := l.err, l.heldBack(device, j)
		l.mu.Unlock()
		var o bridge.Outcome
		switch {
		case err != nil:
			o = bridge.Outcome{Result: bridge.ResultLost, Reason: err.Error(), HTTP: true}
		case held != "":
			o = bridge.Outcome{Result: bridge.ResultRetry, Reason: held}
		default:
			if o = l.do(j); o.Result == bridge.ResultRetry {
				l.hold(device, j, o.Reason)
			}
		}
		j.report(o)
		<-l.slots
	}
}

// do sends one message and reads the answer. Whatever is no answer about the
// message ends the link.
func (l *link) do(j *job) bridge.Outcome {
	r, err := j.request(l.ctx, l.u.at.url())
	if err != nil {
		return bridge.Outcome{Result: bridge.ResultRefused, Reason: err.Error()}
	}
	if err := l.u.authorize(r, j.body); err != nil {
		return l.lost(err, 0)
	}
	sent := requestSize(r)
	res, err := l.client.Load().Do(r)
	if err != nil {
		return l.lost(l.u.explain(err), sent)
	}
	a, err := read(res)
	_ = res.Body.Close() // all that matters is read
	if err != nil {
		return l.lost(fmt.Errorf("answer: %w", err), sent)
	}
	o, ok := a.outcome(sent + a.size)
	switch o.Result {
	case bridge.ResultRetry:
		l.u.phase.putOff(time.Now(), a, j.topic, l.u.hooks, l.u.log)
	case bridge.ResultAcked:
		l.u.took()
	}
	switch {
	case ok:
		return o
	case a.login():
		if l.u.signer != nil {
			l.u.signer.Forget()
		}
		return l.lost(&upstream.RefusedError{Reason: a.String(), Remedy: "renew the AWS credentials, or correct tls.cert, the region, or the clock of this machine"}, sent)
	}
	return l.lost(notTheAPI(a), sent)
}

// lost ends the link.
func (l *link) lost(err error, wire int) bridge.Outcome {
	l.fail(err)
	return bridge.Outcome{Result: bridge.ResultLost, Reason: l.Err().Error(), Wire: wire, HTTP: true}
}
