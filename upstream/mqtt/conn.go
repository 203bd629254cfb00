package mqtt

import (
	"bufio"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// ErrClosed is why a link ended that was closed from our side.
var ErrClosed = errors.New("closed by us")

// DisconnectedError is why a link ended that the broker ended with a word.
type DisconnectedError struct {
	Code   byte   // DISCONNECT reason code
	Reason string // in words
}

// Error is the reason with its code.
func (e *DisconnectedError) Error() string {
	return fmt.Sprintf("the broker disconnected us with 0x%02X: %s", e.Code, e.Reason)
}

// Unwrap says whether a message of ours may be the cause: then the error is
// also [bridge.ErrClosedByPeer]. A broker that is busy, stops, or was asked to
// end us has its own causes most of the time; AWS calls a payload that is too
// large a quota exceeded, too (B84).
func (e *DisconnectedError) Unwrap() error {
	switch e.Code {
	case packets.DisconnectServerBusy, packets.DisconnectServerShuttingDown, packets.DisconnectKeepAliveTimeout,
		packets.DisconnectSessionTakenOver, packets.DisconnectQuotaExceeded, packets.DisconnectAdministrativeAction:
		return bridge.ErrPushedBack
	case packets.DisconnectNotAuthorized: // B85
		return bridge.ErrDenied
	case packets.DisconnectTopicNameInvalid, packets.DisconnectPacketTooLarge, packets.DisconnectPayloadFormatInvalid:
		return bridge.ErrRefused
	}
	return bridge.ErrClosedByPeer
}

// role is what a connection is used for. Its methods are called from the
// connection's own goroutines and must not block.
type role interface {
	acked(a puback, size int) error
	published(p *packets.Publish, size int) error
	subscribed(s *packets.Suback) error
	unsubscribed(u *packets.Unsuback) error
	// due is asked every now and then; an error ends the connection.
	due(now time.Time) error
	// pong is told of a PINGRESP.
	pong()
	// retire asks for an end once nothing is in flight, for that reason.
	retire(why error)
	// awaited is how many acknowledgements are to come.
	awaited() int
	// ended comes last: nothing is called after it.
	ended(err error)
}

// conn is one live MQTT 5 connection, in two goroutines: the reader, and a watch
// that sees silence and brings everything to its end. They end together, for the
// first reason given, without needing the network. Whoever has something to
// write writes it himself: that never blocks.
type conn struct {
	net       net.Conn
	raw       *socket // below TLS; closing it cannot block
	in        frames
	server    server
	keepAlive time.Duration // as the broker decided; 0: none
	lease     lease
	way       int               // by which it was opened
	endpoint  string            // of that way
	refresh   chan struct{}     // a token when the certificate is to be looked at now
	lookout   func()            // looks for a better way until the connection ends; nil: nobody does
	cert      *x509.Certificate // ours, nil without
	bucket    *upstream.Bucket
	role      role
	log       *slog.Logger

	lastRead  atomic.Int64 // nanoseconds since epoch
	lastWrite atomic.Int64
	stood     atomic.Int64 // until when the reader waited for us, likewise; standing: it does
	epoch     time.Time

	writing sync.Mutex // held while packets go to net, in the order of out
	spare   []byte     // what out may reuse; guarded by writing

	mu     sync.Mutex
	out    []byte        // packets that are not written yet
	after  []func(error) // to call when they are written, or can not be
	paced  pacedPart     // of out: what the limits have let go
	proofs proofs        // of what nobody answers
	err    error         // why it ended; nil while it lives
	room   chan struct{} // a token when the network has taken what was written
	ending chan struct{} // closed with err set
	done   chan struct{} // closed when all has ended and role knows

	strays    strays
	lastWords sync.Once // the broker is gone, and the reader reads what it said last
	reader    sync.WaitGroup
}

// farewell bounds what saying goodbye may take.
const farewell = 250 * time.Millisecond

// outBuffer is how many bytes may wait for the network before senders wait;
// writeSize is how many are gathered for one write: a quarter of AWS's window in
// small messages, so that the broker has something to do while the next quarter
// is prepared.
const (
	outBuffer = 64 << 10
	writeSize = 12 << 10
)

func newConn(nc net.Conn, raw *socket, bucket *upstream.Bucket, log *slog.Logger) *conn {
	c := &conn{
		net: nc, raw: raw, bucket: bucket, log: log, epoch: time.Now(),
		room: make(chan struct{}, 1), refresh: make(chan struct{}, 1), ending: make(chan struct{}), done: make(chan struct{}),
	}
	c.in.r = bufio.NewReaderSize(heard{c}, 16<<10)
	raw.drained = func(err error) {
		if err != nil {
			c.writeFailed(fmt.Errorf("write: %w", err))
			return
		}
		select {
		case c.room <- struct{}{}:
		default:
		}
	}
	return c
}

// pacedPart is the messages among what waits to be written.
type pacedPart struct{ messages, bytes int }

// heard notes when bytes came in.
type heard struct{ c *conn }

func (h heard) Read(p []byte) (int, error) {
	if h.c.role != nil {
		h.c.raw.worth.Store(int32(worthWaiting(h.c.role.awaited())))
	}
	n, err := h.c.net.Read(p)
	h.c.lastRead.Store(int64(time.Since(h.c.epoch)))
	return n, err
}

// heardAt is when the bytes came in that are being handled.
func (c *conn) heardAt() time.Time { return c.epoch.Add(time.Duration(c.lastRead.Load())) }

// A PUBACK is four bytes. With many to come it is worth to wait for half of
// them, but no more than a burst: the broker must not run dry meanwhile.
const (
	pubackSize = 4
	fewAcks    = 16
	burstAcks  = 25
)

// worthWaiting is how many bytes a reader should wait for that awaits n
// acknowledgements.
func worthWaiting(n int) int {
	if n < fewAcks {
		return 1
	}
	return pubackSize * min(n/2, burstAcks)
}

// start begins the connection's life after its CONNACK. probe is how often due
// is asked, at least; h is told what only time shows.
func (c *conn) start(r role, probe time.Duration, h *health) {
	c.role = r
	c.strays.begin(h)
	c.lastWrite.Store(int64(time.Since(c.epoch)))
	c.reader.Go(c.read)
	if c.lookout != nil {
		c.reader.Go(c.lookout)
	}
	go c.watch(probe, h)
}

// enqueue writes a packet. It fails when the connection has ended.
func (c *conn) enqueue(packet []byte) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.out = append(c.out, packet...)
	c.mu.Unlock()
	c.flush()
	return nil
}

// flush writes what has been gathered, without waiting for the network.
func (c *conn) flush() {
	c.writing.Lock()
	c.mu.Lock()
	if c.err != nil || len(c.out) == 0 {
		c.mu.Unlock()
		c.writing.Unlock()
		return
	}
	out, after, paced := c.out, c.after, c.paced
	c.out, c.after, c.paced = c.spare[:0], nil, pacedPart{}
	c.mu.Unlock()
	_, err := c.net.Write(out)
	if paced.messages > 0 {
		c.bucket.Written(paced.messages, paced.bytes)
	}
	c.lastWrite.Store(int64(time.Since(c.epoch)))
	if c.spare = out; cap(out) > 4*outBuffer {
		c.spare = nil
	}
	c.writing.Unlock()
	if err != nil {
		err = fmt.Errorf("write: %w", err)
		c.writeFailed(err)
	}
	for _, f := range after {
		f(err)
	}
}

// end gives the connection its reason to end and returns at once. With say it
// tries for a moment to tell the broker, with that DISCONNECT reason code.
func (c *conn) end(err error, say bool, code byte) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.out = nil
	close(c.ending)
	c.mu.Unlock()
	if !say {
		_ = c.raw.Close() // wakes the reader; nobody is left to care
		return
	}
	c.writing.Lock()
	_, _ = c.net.Write(c.disconnect(code)) // a courtesy
	if ws, ok := c.net.(*webStream); ok {
		ws.goodbye()
	}
	c.writing.Unlock()
	c.raw.finish(farewell)
}

// writeFailed ends the connection because a write failed. A broker that hangs up
// may have said why, and have acknowledged what we sent: both may have come and
// not be read yet. The reader meets the end by itself when it has read them.
func (c *conn) writeFailed(err error) {
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		c.fail(err)
		return
	}
	c.lastWords.Do(func() { time.AfterFunc(farewell, func() { c.fail(err) }) })
}

// fail ends the connection because of err.
func (c *conn) fail(err error) {
	if p, ok := errors.AsType[*ProtocolError](err); ok {
		c.end(err, true, p.Code)
		return
	}
	// A broker that hangs up while we write is seen as a reset. The network may
	// have done it too; but only the same oldest message, many times and without
	// one acknowledgement between, becomes suspect of it.
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = fmt.Errorf("%w (%w)", err, bridge.ErrClosedByPeer)
	}
	c.end(err, false, 0)
}

func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) read() {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic while reading from the broker", "panic", p, "stack", string(debug.Stack()))
			c.end(fmt.Errorf("panic while reading: %v", p), false, 0)
		}
	}()
	for {
		first, body, size, err := c.in.next()
		if err == nil {
			err = c.handle(first, body, size)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the broker closed the connection: %w", bridge.ErrClosedByPeer)
			}
			c.fail(err)
			return
		}
	}
}

// handle passes one packet on.
func (c *conn) handle(first byte, body []byte, size int) error {
	switch kind := first >> 4; kind {
	case packets.PUBACK, packets.PUBREC, packets.PUBCOMP:
		a, err := decodePuback(kind, body)
		if err != nil {
			return err
		}
		return c.role.acked(a, size)
	}
	parse := decode
	if c.server.v3 {
		parse = decode3
	}
	packet, err := parse(first, body)
	if err != nil {
		return err
	}
	switch p := packet.(type) {
	case *packets.Publish:
		c.bucket.Take(size)
		if p.QoS > 1 {
			return &ProtocolError{Code: packets.DisconnectQoSNotSupported, Text: "a message of QoS 2 that was never subscribed to"}
		}
		if p.Properties.TopicAlias != nil || p.Topic == "" {
			return &ProtocolError{Code: packets.DisconnectTopicAliasInvalid, Text: "a topic alias, and we announced none"}
		}
		return c.role.published(p, size)
	case *packets.Suback:
		return c.role.subscribed(p)
	case *packets.Unsuback:
		return c.role.unsubscribed(p)
	case *packets.Pingresp:
		c.answered()
		c.role.pong()
		return nil
	case *packets.Disconnect:
		return disconnected(p)
	}
	return &ProtocolError{Code: packets.DisconnectProtocolError, Text: fmt.Sprintf("packet type %d has no place here", first>>4)}
}

func disconnected(d *packets.Disconnect) error {
	e := &DisconnectedError{Code: d.ReasonCode, Reason: d.Reason()}
	if d.Properties.ReasonString != "" {
		e.Reason = d.Properties.ReasonString
	}
	if e.Reason == "" {
		e.Reason = "no reason given"
	}
	return e
}
