package localbroker

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
)

// client is one MQTT connection. What CONNECT decides (connect.go) is written
// before the session knows the client and read-only afterwards.
type client struct {
	broker   *Broker
	listener *listener
	settings *settings // of the listener, as they were at its CONNECT
	profile  *profile
	wire     *wire
	remote   netip.AddrPort
	since    time.Time
	peer     peer

	// Decided by CONNECT.
	hello     *packets.Packet // the CONNECT as it came, will included
	decided   bool            // connect has answered the CONNECT
	id        string
	version   byte
	principal *bridge.Principal
	may       *authority
	asked     bridge.Request // what the CONNECT asked of the policy
	decidedIn uint64         // the policy's generation that let it in

	willRevoked atomic.Bool // a change of policy has taken the will away
	session     *session
	present     bool // Session Present
	alive       time.Duration
	expiry      time.Duration // of the session once this connection has ended
	adjusted    bool          // expiry is not what was asked: CONNACK says it
	window      int           // unacknowledged deliveries
	largest     int           // largest packet that the device is sent
	announced   int           // its own Maximum Packet Size
	terse       bool          // Request Problem Information is 0
	will        *will
	testament   *testament // the will on the shelf
	rate        *rate.Limiter

	presence *presence // what its lifecycle events say; nil: it has none

	greeting int64       // bytes of the CONNECT, while they count
	open     atomic.Bool // CONNACK success was written
	aliases  map[uint16]string
	inbound  inbound
	intake   intake

	cause   atomic.Pointer[cause]
	parting sync.Mutex    // held until who has set the cause has said goodbye
	gone    chan struct{} // closed once the connection has left its session

	removed <-chan error // has the end of the session, when that is durable; nil: nothing was kept. Of who waits for gone
}

// cause is why a connection ended. The first one counts.
type cause struct {
	reason string // kebab-case, for log and callbacks
	code   byte   // v5 DISCONNECT, 0 for none
	text   string // v5 Reason String; empty: the reason
	clean  bool   // the will is discarded
	forget bool   // the session ends with the connection
	err    error  // may be nil
}

// newClient is a connection whose handshake was made by these settings.
func newClient(b *Broker, l *listener, s *settings, stream, raw net.Conn, p peer) *client {
	c := &client{broker: b, listener: l, settings: s, profile: s.profile, peer: p, since: b.now(), gone: make(chan struct{})}
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort()
	}
	c.intake.init(c)
	c.wire = newWire(stream, raw, c)
	c.inbound = inbound{src: c.wire, largest: c.profile.packetSize, first: c.mayGreet}
	return c
}

// close ends the connection: a v5 device is told why, then the socket is not
// read any more. It may be called by anybody and does not block; it reports
// whether this is what ended the connection.
func (c *client) close(why cause) bool {
	c.parting.Lock()
	defer c.parting.Unlock()
	if !c.cause.CompareAndSwap(nil, &why) {
		return false
	}
	c.goodbye(&why)
	_ = c.wire.Close()
	return true
}

// goodbye writes DISCONNECT, which MQTT 3.1.1 does not have for servers (B185,
// B186).
func (c *client) goodbye(why *cause) {
	if why.code == 0 || !c.wire.welcomed() || c.version != 5 {
		return
	}
	text := cmp.Or(why.text, why.reason)
	if why.code == 0xA1 {
		text = "DISCONNECT: Subscription Id is not supported now" // B137
	}
	if c.terse && c.profile.silent { // the others tell whoever is on site: MQTT lets them
		text = "" // B45
	}
	packet := encodeDisconnect(why.code, text)
	if len(packet) > c.largest { // [MQTT-3.14.2-3]
		packet = encodeDisconnect(why.code, "")
	}
	c.wire.writeLast(packet)
}

// fail records why the socket failed. It is called with the wire locked.
func (c *client) fail(err error) {
	c.cause.CompareAndSwap(nil, socketCause(err))
}

func socketCause(err error) *cause {
	switch {
	case errors.Is(err, errOverflow):
		return &cause{reason: "write-overflow", err: err}
	case errors.Is(err, errStalled):
		return &cause{reason: "write-stalled", err: err}
	default:
		return &cause{reason: "connection-lost", err: err}
	}
}

// resume is called when the socket has room for deliveries again.
func (c *client) resume() {
	if c.open.Load() {
		c.session.pump(c)
	}
}

// finish runs once nothing is read any more: it leaves the session, fires the
// will and tells whoever waits to take the session over. err is what serve
// returned.
func (c *client) finish(err error) {
	c.greeted()
	why := c.ending(err)
	_ = c.wire.Close()
	c.intake.close()
	if c.session == nil {
		if !c.decided { // no CONNECT, or one that is not valid
			c.broker.refused(c, &connectError{reason: why.reason, err: why.err})
		}
		return
	}
	if why.forget {
		c.expiry = 0
	}
	c.session.leave(c, why.clean)
	c.broker.lifecycle.disconnected(c, why)
	c.broker.departures.note(c, why)
	close(c.gone)
	c.broker.connected.Add(-1)
	if c.open.Load() {
		c.broker.logEnd(c, why)
	}
}

// ending finds the cause when nobody has closed the connection on purpose, and
// says goodbye (B103).
func (c *client) ending(err error) *cause {
	why := &cause{reason: "connection-lost", err: err}
	var tooLarge *tooLargeError
	var malformed *malformedError
	var closed interface{ Normal() bool }
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrUnexpectedEOF):
	case errors.As(err, &closed):
		why.clean = closed.Normal() && c.profile.aws // WebSocket Close (B164)
	case errors.Is(err, os.ErrDeadlineExceeded):
		why.reason = "connect-timeout"
	case errors.As(err, &tooLarge):
		why.reason, why.code = "too-large", c.profile.tooLargeCode // B84
	case errors.Is(err, errFirstPacket):
		why.reason = "protocol-error"
	case errors.Is(err, errEarlyPacket):
		why.reason, why.code = "early-packet", 0x82 // B17
	case errors.Is(err, errGreetings):
		why.reason = "connect-memory"
	case errors.Is(err, errLength):
		why.reason, why.code = "malformed", 0x81
	case errors.As(err, &malformed):
		why.reason, why.code = "malformed", malformed.code()
	}
	c.parting.Lock() // the socket is closed next: not before somebody else's goodbye
	defer c.parting.Unlock()
	if c.cause.CompareAndSwap(nil, why) {
		c.goodbye(why)
		return why
	}
	return c.cause.Load()
}

var errPanic = errors.New("panic")

// guard runs fn for the connection: a panic ends the connection and nothing
// else.
func (c *client) guard(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			c.broker.logPanic(c, v)
			c.close(cause{reason: "internal", code: 0x80, err: fmt.Errorf("%w: %v", errPanic, v)})
		}
	}()
	fn()
}

// seconds is an interval of a packet.
func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// judge asks the table of verdicts.
func (c *client) judge(err error, qos byte) verdict {
	return judge(err, c.version, qos, c.profile, &c.settings.ListenerOptions)
}

func (b *Broker) logPanic(c *client, v any) {
	b.log.Error("a connection failed inside the broker", "client", c.id, "remote", c.remote.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// logEnd tells about an end that is worth a line, and the callbacks about all.
func (b *Broker) logEnd(c *client, why *cause) {
	if !why.clean {
		text := why.text
		if why.err != nil {
			text = why.err.Error()
		}
		attrs := []slog.Attr{slog.String("client", c.id), slog.String("listener", c.listener.name), slog.String("remote", c.remote.String()), slog.String("error", text)}
		if said := c.unsaid(why); said != "" {
			attrs = append(attrs, slog.String("mqtt5_would_say", said))
		}
		b.quiet.warn(why.reason, "a device's connection ended", attrs...)
	}
	if f := b.events.Disconnected; f != nil {
		f(c.info(), why.reason)
	}
}
