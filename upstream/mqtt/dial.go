package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/upstream"
)

// dialer opens connections of one client id.
type dialer struct {
	o        Options // of all ways in common
	clientID string
	resume   bool             // persistent session: Clean Start 0 and o.SessionExpiry; else Clean Start and no expiry
	receive  uint16           // Receive Maximum to announce
	bucket   *upstream.Bucket // of the client id, through all of its connections
	gate     *upstream.Gate   // of all connections; nil: this is the only one
	log      *slog.Logger
	older    bool                                                        // the next attempt speaks MQTT 3.1.1
	ways     []Way                                                       // the best first; at least one
	known    *upstream.Ways                                              // of ways; nil: there is one only
	tried    int                                                         // the way of the latest login that failed
	hooks    upstream.Hooks                                              // Carried and Connecting
	reach    func(ctx context.Context, address string) (net.Conn, error) // TCP, whatever is on the way
	net      *upstream.Dialer                                            // what reach asks
	ready    func(ctx context.Context) error                             // asked before CONNECT; nil: go on
}

func newDialer(o Options, clientID string, resume bool, log *slog.Logger) dialer {
	tcp := upstream.NewDialer(o.Proxy)
	return dialer{
		o: o, clientID: clientID, resume: resume, receive: receiveMaximum, bucket: upstream.NewBucket(o.Limits),
		log: log, older: o.Protocol == protocol311, ways: []Way{{Options: o}}, reach: tcp.Dial, net: tcp,
	}
}

// share makes the dialer one of several of an upstream, whose attempts wait as b
// says.
func (d *dialer) share(s upstream.Shared, b *upstream.Backoff) {
	s.Join(d.clientID, d.bucket, b)
	d.net.Share(s)
	d.gate = s.Gate
}

// open makes one attempt, or two where the broker may speak another version of
// the protocol than the one that is tried first.
func (d *dialer) open(ctx context.Context) (*conn, error) {
	c, err := d.attempt(ctx)
	if err == nil || d.o.Protocol != protocolAuto || ctx.Err() != nil || !otherVersion(err) {
		return c, err
	}
	d.older = !d.older
	c, again := d.attempt(ctx)
	if again != nil {
		d.older = !d.older
		d.refused(err)
		return nil, err
	}
	d.log.Info("the broker speaks one protocol of two", "endpoint", d.o.Endpoint, "older", d.older)
	return c, nil
}

// attempt makes one attempt: TCP, TLS, CONNECT, CONNACK, all within
// o.ConnectTimeout, by whichever way is open. The connection is not started. An
// error that a person must do something about is a [RefusedError].
func (d *dialer) attempt(ctx context.Context) (*conn, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(caller, d.o.ConnectTimeout)
	defer cancel()
	t, err := d.choose(ctx)
	if err != nil {
		if caller.Err() != nil {
			err = caller.Err()
		}
		return nil, err
	}
	// From here on the connection itself is what ctx ends.
	stop := context.AfterFunc(ctx, func() { _ = t.Close() })
	defer stop()
	c, err := d.login(ctx, t)
	err = d.ways[t.way].Options.TLS.Dated(err, t.cert, time.Now())
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err == nil {
		return c, nil
	}
	_ = t.Close()
	if d.tried = t.way; caller.Err() == nil && (d.o.Protocol != protocolAuto || !otherVersion(err)) {
		d.refused(err)
	}
	return nil, d.failed(caller, ctx, t.e, err)
}

// refused notes that the way of the latest attempt led there, and to no end.
func (d *dialer) refused(err error) {
	if d.known != nil {
		d.known.Refused(d.tried, err, time.Now())
	}
}

// failed says where an attempt failed, and whether it was for time.
func (d *dialer) failed(caller, ctx context.Context, e endpoint, err error) error {
	switch {
	case caller.Err() != nil:
		err = caller.Err()
	case ctx.Err() != nil:
		err = fmt.Errorf("no CONNACK within %v: %w", d.o.ConnectTimeout, ctx.Err())
	}
	return fmt.Errorf("connect to %s: %w", e.address(), err)
}

// transport is a connection on which MQTT can be spoken and nothing has been said.
type transport struct {
	way   int
	e     endpoint
	nc    net.Conn
	raw   *socket           // below TLS
	cert  *x509.Certificate // ours, nil without
	files upstream.CertFiles
	ends  time.Time // when the connection has to be another one; zero: never
}

// Close implements io.Closer.
func (t *transport) Close() error { return t.raw.Close() }

// choose opens the best way that is open.
func (d *dialer) choose(ctx context.Context) (*transport, error) {
	if d.known == nil {
		return d.transport(ctx, 0)
	}
	t, _, err := upstream.Race(ctx, d.known, d.known.Order(time.Now()), d.transport)
	return t, err
}

// transport opens one way: TCP, TLS, and the WebSocket where there is one.
func (d *dialer) transport(ctx context.Context, way int) (*transport, error) {
	w := d.ways[way]
	e, err := parseEndpoint(w.Options.Endpoint)
	if err != nil {
		return nil, &RefusedError{Reason: err.Error(), Remedy: "correct endpoint", Err: err}
	}
	dialled, err := d.reach(ctx, e.address())
	if err != nil {
		return nil, upstream.Explain(err)
	}
	raw := newSocket(dialled)
	raw.carried = d.hooks.Carried
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	t := &transport{way: way, e: e, raw: raw}
	if err = d.secure(ctx, t, w); err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		stop()
		_ = raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("no CONNACK within %v: %w", d.o.ConnectTimeout, ctx.Err())
		}
		return nil, fmt.Errorf("connect to %s: %w", e.address(), err)
	}
	return t, nil
}

// secure puts TLS and the WebSocket onto a connection, as its way wants them.
func (d *dialer) secure(ctx context.Context, t *transport, w Way) error {
	t.nc = t.raw
	t.files = w.Options.TLS.Files()
	if t.e.secure() {
		conf, err := w.Options.tlsConfig(t.e)
		if err != nil {
			return upstream.Explain(err)
		}
		if len(conf.Certificates) > 0 {
			t.cert = conf.Certificates[0].Leaf
		}
		secure := tls.Client(t.raw, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			return w.Options.TLS.Dated(upstream.Explain(fmt.Errorf("TLS: %w", err)), t.cert, time.Now())
		}
		t.nc = secure
	}
	if t.e.webSocket() {
		var err error
		t.nc, t.ends, err = webSocket(ctx, t.nc, t.e, w.Signer)
		return err
	}
	return nil
}

// login says who we are, and reads what the broker says to it.
func (d *dialer) login(ctx context.Context, t *transport) (*conn, error) {
	if d.ready != nil {
		if err := d.ready(ctx); err != nil {
			return nil, err
		}
	}
	w := d.ways[t.way]
	c := newConn(t.nc, t.raw, d.bucket, d.log)
	c.way, c.endpoint = t.way, w.Options.Endpoint
	hello, answer := packetOf(packets.CONNECT<<4, d.connect(w.Options).Buffers()), connackOf
	if c.server.v3 = d.older; d.older {
		hello, answer = d.connect3(w.Options), connack3
	}
	d.hooks.Hello(d.clientID)
	if _, err := t.nc.Write(hello); err != nil {
		return nil, closedEarly(err, t.e.secure())
	}
	first, body, _, err := c.in.next()
	if err != nil {
		return nil, closedEarly(err, t.e.secure())
	}
	ca, err := answer(first, body)
	if err != nil {
		return nil, err
	}
	if ca.ReasonCode != packets.ConnackSuccess {
		return nil, refusal(ca, d.clientID)
	}
	c.server = serverOf(ca)
	c.server.v3 = d.older
	if _, ok := upstream.ParseAWSHost(t.e.host); ok {
		c.server.maximumPayload = awsPayload
	}
	c.cert, c.lease = t.cert, newLease(time.Now(), t.ends, t.files)
	c.lease.path, c.lease.gate, c.lease.who = w.Options.TLS.Cert, d.gate, d
	d.gate.LetIn(w.Options.TLS.Cert, t.files.Pair())
	c.keepAlive = d.o.KeepAlive
	if ca.Properties.ServerKeepAlive != nil { // [MQTT-3.2.2-21]
		c.keepAlive = time.Duration(*ca.Properties.ServerKeepAlive) * time.Second
	}
	if d.known != nil {
		d.known.Up(t.way, time.Now())
		c.lookout = func() { d.lookForBetter(c) }
	}
	return c, nil
}

// webSocket opens the WebSocket, signed where that is the login. ends is when
// the connection has to be another one, at the latest; zero for never.
func webSocket(ctx context.Context, nc net.Conn, e endpoint, signer Signer) (_ net.Conn, ends time.Time, err error) {
	address := e.url()
	if signer != nil {
		if address, ends, err = signer.SignURL(ctx, address); err != nil {
			return nil, ends, upstream.NoCredentials(err)
		}
	}
	if e.aws() || signer != nil {
		if day := time.Now().Add(webSocketLife); ends.IsZero() || day.Before(ends) {
			ends = day
		}
	}
	ws, err := upgrade(ctx, nc, address)
	if err != nil {
		return nil, ends, closedEarly(err, e.secure())
	}
	return ws, ends, nil
}

func (d *dialer) connect(o Options) *packets.Connect {
	largest := uint32(maxIncoming)
	user := o.Authorizer.username(o.Username)
	p := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5,
		ClientID:     d.clientID,
		CleanStart:   !d.resume,
		KeepAlive:    uint16(d.o.KeepAlive / time.Second),
		UsernameFlag: user != "", Username: user,
		PasswordFlag: o.Password != "", Password: []byte(o.Password),
		Properties: &packets.Properties{ReceiveMaximum: &d.receive, MaximumPacketSize: &largest},
	}
	if d.resume {
		expiry := uint32(d.o.SessionExpiry / time.Second)
		p.Properties.SessionExpiryInterval = &expiry
	}
	return p
}

// connackOf parses the answer to CONNECT. A broker that knows MQTT 3.1.1 only
// answers in its own form, which has no properties.
func connackOf(first byte, body []byte) (*packets.Connack, error) {
	if first>>4 != packets.CONNACK {
		return nil, &ProtocolError{Code: packets.DisconnectProtocolError, Text: fmt.Sprintf("packet type %d instead of CONNACK", first>>4)}
	}
	if len(body) == 2 && body[1] != 0 {
		return &packets.Connack{ReasonCode: body[1], Properties: &packets.Properties{}}, nil
	}
	p, err := decode(first, body)
	if err != nil {
		return nil, err
	}
	return p.(*packets.Connack), nil
}
