package https

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// ErrClosed is why a link ended that was closed from our side.
var ErrClosed = errors.New("closed by us")

// Signer signs requests with AWS credentials.
type Signer interface {
	// SignRequest signs a request with its body.
	SignRequest(r *http.Request, body []byte) error
	// Forget drops credentials that were refused.
	Forget()
}

// Uplink is the [bridge.Sender] to one server. It is safe for concurrent use.
//
// Its warnings are uplink-down, uplink-refused, uplink-certificate and uplink-busy.
type Uplink struct {
	o      Options
	at     server
	signer Signer // nil: a certificate, or nothing, is the login
	log    *slog.Logger
	hooks  upstream.Hooks
	reach  *upstream.Dialer
	bucket *upstream.Bucket
	phase  phase
	look   time.Duration // how often a link looks at the certificate's files

	live    atomic.Pointer[link]             // the latest link; for Refresh
	cert    atomic.Pointer[x509.Certificate] // the latest; nil: none
	refused atomic.Bool                      // the login, and nothing was taken since

	connecting sync.Mutex // one link at a time
	backoff    *upstream.Backoff
	link       *link

	mu     sync.Mutex
	status upstream.Status
}

var _ bridge.Sender = (*Uplink)(nil)

// NewUplink makes a sender from valid options. signer may be nil. Nothing is
// connected before Connect.
func NewUplink(o Options, signer Signer, log *slog.Logger, hooks upstream.Hooks) (*Uplink, error) {
	at, err := parse(o.Endpoint)
	if err != nil {
		return nil, err
	}
	b := o.Backoff
	if b.Floor == 0 {
		b.Floor = 200 * time.Millisecond
	}
	return &Uplink{
		o: o, at: at, signer: signer, log: log, hooks: hooks, look: certificateCheck, reach: upstream.NewDialer(o.Proxy), bucket: upstream.NewBucket(o.Limits),
		backoff: upstream.NewBackoff(b, nil), status: upstream.Status{Since: time.Now()},
	}, nil
}

// Refresh takes a new client certificate up now, if its files are others.
func (u *Uplink) Refresh() {
	if l := u.live.Load(); l != nil {
		select {
		case l.refresh <- struct{}{}:
		default: // it is about to
		}
	}
}

// Endpoint is where the uplink goes.
func (u *Uplink) Endpoint() string { return u.o.Endpoint }

// Status tells how the uplink is now.
func (u *Uplink) Status() upstream.Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.status
	s.Pace = u.bucket.Pace()
	return s
}

// Share makes the uplink keep to what all connections to its upstream share. Call
// it before Connect.
func (u *Uplink) Share(s upstream.Shared) {
	s.Join(u.o.Endpoint, u.bucket, u.backoff)
	u.reach.Share(s)
}

// Connect waits until the server has been reached and TLS has agreed. It closes
// the previous link first, and fails only when ctx ends.
func (u *Uplink) Connect(ctx context.Context) (_ bridge.Link, err error) {
	u.connecting.Lock()
	defer u.connecting.Unlock()
	defer func() {
		if err != nil {
			u.Rest()
		}
	}()
	if u.link != nil {
		_ = u.link.Close() // never fails
		<-u.link.Done()
		u.link = nil
	}
	for {
		if err := u.backoff.Wait(ctx); err != nil {
			return nil, err
		}
		files := u.o.TLS.Files()
		first, err := u.dial(ctx)
		if err == nil {
			u.link = newLink(u, first, files)
			u.link.busy.Go(u.link.watch)
			u.live.Store(u.link)
			u.up()
			return u.link, nil
		}
		if ctx.Err() != nil {
			u.backoff.GivenUp()
			return nil, ctx.Err()
		}
		u.backoff.Failed(err)
		u.down(err)
	}
}

// dial opens one connection. The files are read each time: a new certificate is
// taken up by the next connection.
func (u *Uplink) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, u.o.ConnectTimeout)
	defer cancel()
	conf, err := u.o.TLS.Config(u.at.host)
	if err != nil {
		return nil, upstream.Explain(err)
	}
	conf.NextProtos = u.o.alpn(u.at)
	if len(conf.Certificates) > 0 {
		u.cert.Store(conf.Certificates[0].Leaf)
	}
	raw, err := u.reach.Dial(ctx, u.at.address())
	if err != nil {
		return nil, upstream.Explain(err)
	}
	secure := tls.Client(upstream.Counted(raw, u.hooks.Carried), conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, u.explain(fmt.Errorf("TLS: %w", err))
	}
	return secure, nil
}

// explain tells a refusal from other errors, and whether our certificate's dates may be
// its cause.
func (u *Uplink) explain(err error) error {
	return u.o.TLS.Dated(upstream.Explain(err), u.cert.Load(), time.Now())
}

func (u *Uplink) up() {
	u.mu.Lock()
	u.status.Up, u.status.Since, u.status.Err, u.status.Way = true, time.Now(), nil, u.o.Endpoint
	u.status.Connects++
	u.mu.Unlock()
	u.hooks.Over("uplink-down")
	u.log.Info("uplink is up", "endpoint", u.o.Endpoint)
}

// down notes an attempt that failed, or a link that ended.
func (u *Uplink) down(err error) {
	u.mu.Lock()
	news := u.status.Up || u.status.Err == nil || u.status.Err.Error() != err.Error()
	if u.status.Up {
		u.status.Since = time.Now()
	}
	u.status.Up, u.status.Err, u.status.Way = false, err, ""
	u.mu.Unlock()
	if errors.Is(err, ErrClosed) {
		return
	}
	if news {
		u.log.Warn("uplink is down", "endpoint", u.o.Endpoint, "error", err)
	}
	w := bridge.Warning{Code: "uplink-down", Severity: bridge.Degraded, Text: fmt.Sprintf("%s: %v; tried again until it works", u.o.Endpoint, err)}
	over := "uplink-refused"
	if e, ok := errors.AsType[*upstream.RefusedError](err); ok {
		w, over = bridge.Warning{Code: "uplink-refused", Severity: bridge.Critical, Text: fmt.Sprintf("%s: %v", u.o.Endpoint, e)}, "uplink-down"
		u.refused.Store(true)
	}
	u.hooks.Over(over)
	u.hooks.Warn(w)
}

// took notes that a message was taken, and so the login.
func (u *Uplink) took() {
	u.phase.took(time.Now(), u.hooks, u.log)
	if u.refused.CompareAndSwap(true, false) {
		u.hooks.Over("uplink-refused")
	}
}

// Rest ends the warnings of an uplink that is not asked to connect any more.
func (u *Uplink) Rest() {
	u.refused.Store(false)
	for _, code := range []string{"uplink-down", "uplink-refused", warningBusy} {
		u.hooks.Over(code)
	}
}
