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
	o        Options
	clientID string
	resume   bool             // persistent session: Clean Start 0 and o.SessionExpiry; else Clean Start and no expiry
	receive  uint16           // Receive Maximum to announce
	bucket   *upstream.Bucket // of the client id, through all of its connections
	log      *slog.Logger
	older    bool                                                        // the next attempt speaks MQTT 3.1.1
	signer   Signer                                                      // nil: nothing is signed
	hooks    upstream.Hooks                                              // Carried and Connecting
	reach    func(ctx context.Context, address string) (net.Conn, error) // TCP, whatever is on the way
}

func newDialer(o Options, clientID string, resume bool, log *slog.Logger) dialer {
	return dialer{
		o: o, clientID: clientID, resume: resume, receive: receiveMaximum, bucket: upstream.NewBucket(o.Limits),
		log: log, older: o.Protocol == protocol311, reach: upstream.NewDialer(o.Proxy).Dial,
	}
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
		return nil, err
	}
	d.log.Info("the broker speaks one protocol of two", "endpoint", d.o.Endpoint, "older", d.older)
	return c, nil
}

// attempt makes one attempt: TCP, TLS, CONNECT, CONNACK, all within
// o.ConnectTimeout. The connection is not started. An error that a person must
// do something about is a [RefusedError].
func (d *dialer) attempt(ctx context.Context) (*conn, error) {
	e, err := parseEndpoint(d.o.Endpoint)
	if err != nil {
		return nil, &RefusedError{Reason: err.Error(), Remedy: "correct endpoint", Err: err}
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(caller, d.o.ConnectTimeout)
	defer cancel()
	dialled, err := d.reach(ctx, e.address())
	if err != nil {
		return nil, upstream.Explain(err)
	}
	raw := newSocket(dialled)
	raw.carried = d.hooks.Carried
	// From here on the connection itself is what ctx ends.
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	c, err := d.handshake(ctx, raw, e)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		switch {
		case caller.Err() != nil:
			err = caller.Err()
		case ctx.Err() != nil:
			err = fmt.Errorf("no CONNACK within %v: %w", d.o.ConnectTimeout, ctx.Err())
		}
		return nil, fmt.Errorf("connect to %s: %w", e.address(), err)
	}
	return c, nil
}

func (d *dialer) handshake(ctx context.Context, raw *socket, e endpoint) (*conn, error) {
	var nc net.Conn = raw
	var ends time.Time
	var cert *x509.Certificate
	files := stampsOf(d.o.TLS) // before they are read: what comes later is seen as new
	if e.secure() {
		conf, err := d.o.tlsConfig(e)
		if err != nil {
			return nil, upstream.Explain(err)
		}
		if len(conf.Certificates) > 0 {
			cert = conf.Certificates[0].Leaf
		}
		secure := tls.Client(raw, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, upstream.Explain(fmt.Errorf("TLS: %w", err))
		}
		nc = secure
	}
	if e.webSocket() {
		var err error
		if nc, ends, err = d.webSocket(ctx, nc, e); err != nil {
			return nil, err
		}
	}
	c := newConn(nc, raw, d.bucket, d.log)
	hello, answer := packetOf(packets.CONNECT<<4, d.connect().Buffers()), connackOf
	if c.server.v3 = d.older; d.older {
		hello, answer = d.connect3(), connack3
	}
	d.hooks.Hello(d.clientID)
	if _, err := nc.Write(hello); err != nil {
		return nil, closedEarly(err, e.secure())
	}
	first, body, _, err := c.in.next()
	if err != nil {
		return nil, closedEarly(err, e.secure())
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
	c.cert, c.lease = cert, newLease(time.Now(), ends, d.o.TLS, files)
	c.keepAlive = d.o.KeepAlive
	if ca.Properties.ServerKeepAlive != nil { // [MQTT-3.2.2-21]
		c.keepAlive = time.Duration(*ca.Properties.ServerKeepAlive) * time.Second
	}
	return c, nil
}

// webSocket opens the WebSocket, signed where that is the login. ends is when
// the connection has to be another one, at the latest; zero for never.
func (d *dialer) webSocket(ctx context.Context, nc net.Conn, e endpoint) (_ net.Conn, ends time.Time, err error) {
	address := e.url()
	if d.signer != nil {
		if address, ends, err = d.signer.SignURL(ctx, address); err != nil {
			return nil, ends, upstream.NoCredentials(err)
		}
	}
	if e.aws() || d.signer != nil {
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

func (d *dialer) connect() *packets.Connect {
	largest := uint32(maxIncoming)
	user := d.o.Authorizer.username(d.o.Username)
	p := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5,
		ClientID:     d.clientID,
		CleanStart:   !d.resume,
		KeepAlive:    uint16(d.o.KeepAlive / time.Second),
		UsernameFlag: user != "", Username: user,
		PasswordFlag: d.o.Password != "", Password: []byte(d.o.Password),
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
