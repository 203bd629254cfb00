package localbroker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/mochi-mqtt/server/v2/packets"
)

// FuzzListener: two connections at once say whatever they like to a broker of
// each profile. Nothing fails inside, what the broker answers is MQTT, both end
// once their sockets do, two other devices go on exchanging messages, and
// neither a goroutine nor a byte of a queue is left behind.
func FuzzListener(f *testing.F) {
	for _, s := range fuzzSessions(f) {
		for profile := range byte(3) {
			f.Add(profile, s.first, s.second)
		}
	}
	t := newTarget(f)
	f.Fuzz(func(tb *testing.T, profile byte, first, second []byte) {
		t.attack(tb, int(profile)%3, first, second)
	})
}

// fuzzPatience is longer than a loaded machine may stop somebody for.
const fuzzPatience = time.Minute

// target is a broker under attack, with two devices that are none of it.
type target struct {
	*house
	faults   atomic.Int64 // lines that only a fault of the broker's writes
	topic    string       // that nobody else knows
	giver    *device
	receiver *device
	sent     uint16
}

func newTarget(f *testing.F) *target {
	t := &target{topic: "quiet/" + uuid.NewString()}
	t.house = openOptions(f, people{}, func(d *Deps) {
		d.Log = slog.New(&faultLog{Handler: slog.DiscardHandler, count: &t.faults})
		d.Events = Events{} // nobody reads them
	},
		func(o *Options) { o.Broker.RetainedMessages = 8 }, plain(profileAWSEdge), plain(profileAWS), plain(profileMQTT))
	names := []string{"edge", "aws", "mqtt"}
	for i, l := range t.listeners {
		l.name = names[i]
	}
	t.giver, t.receiver = t.bystander(), t.bystander()
	t.receiver.subscribe(1, t.topic)
	return t
}

// faultLog counts errors: what devices do is at most a warning.
type faultLog struct {
	slog.Handler
	count *atomic.Int64
}

func (l *faultLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (l *faultLog) Handle(context.Context, slog.Record) error {
	l.count.Add(1)
	return nil
}

func (t *target) attack(tb *testing.T, profile int, first, second []byte) {
	t.giver.tb, t.receiver.tb = tb, tb
	before := runtime.NumGoroutine()
	one := t.raid(tb, profile, first)
	two := t.raid(tb, profile, second)
	t.exchange()
	one.finish(tb)
	two.finish(tb)
	t.exchange()
	t.until(tb, "the sockets' end", func() bool { return t.sockets.Load() == 2 })
	t.forget()
	t.until(tb, "all that waited is given up", func() bool { return t.Status().QueuedBytes == 0 })
	t.until(tb, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	if t.faults.Load() > 0 {
		tb.Fatal("the broker failed inside")
	}
}

// until waits for a condition, polling it.
func (t *target) until(tb *testing.T, what string, ok func() bool) {
	tb.Helper()
	for began := time.Now(); !ok(); runtime.Gosched() {
		if time.Since(began) > fuzzPatience {
			tb.Fatalf("never: %s", what)
		}
	}
}

// bystander is a device on the listener that closes nobody for being silent.
func (t *target) bystander() *device {
	d := dial(t.tb, t.listeners[2].addr().String(), 5)
	d.patience = fuzzPatience
	d.connect(uuid.NewString(), func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
	return d
}

// exchange carries one message from one bystander to the other, and nothing else
// reaches either.
func (t *target) exchange() {
	t.giver.tb.Helper()
	t.sent = max(t.sent+1, 1)
	body := string([]byte{byte(t.sent >> 8), byte(t.sent)})
	t.giver.send(publish(t.sent, t.topic, body))
	if ack := t.giver.expect(packets.Puback); ack.PacketID != t.sent || ack.ReasonCode != 0 {
		t.giver.tb.Fatalf("a bystander's PUBLISH %d was answered %d %#x", t.sent, ack.PacketID, ack.ReasonCode)
	}
	if got := t.receiver.take(); string(got.Payload) != body || got.TopicName != t.topic {
		t.giver.tb.Fatalf("a bystander received %q on %q", got.Payload, got.TopicName)
	}
}

// forget ends the sessions and retained messages that the raiders have left, so
// that the next raid meets the same broker.
func (t *target) forget() {
	r := &t.Broker.sessions
	r.mu.Lock()
	for _, s := range r.byID {
		if s.current() != nil {
			continue
		}
		r.endLocked(s)
		if s.keep != nil {
			t.store.Forget(shelfSession, s.id)
		}
	}
	r.mu.Unlock()
	t.walk.mu.Lock()
	t.walk.took = nil
	t.walk.mu.Unlock()
	t.rules.mu.Lock()
	t.rules.asked = nil
	t.rules.mu.Unlock()
}

// raider is a connection that says what it was told to.
type raider struct {
	*net.TCPConn
	first chan struct{} // closed at the first answer, or the end
	end   chan error    // of what the broker says
}

// raid connects and sends a session, CONNECT by itself when there is a whole one.
func (t *target) raid(tb *testing.T, profile int, session []byte) *raider {
	conn, err := net.Dial("tcp", t.listeners[profile].addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	r := &raider{TCPConn: conn.(*net.TCPConn), first: make(chan struct{}), end: make(chan error, 1)}
	go r.listen()
	if head := firstPacket(session); head > 0 {
		_, _ = r.Write(session[:head])
		select {
		case <-r.first:
		case <-time.After(fuzzPatience):
			tb.Fatal("the first packet is not answered")
		}
		session = session[head:]
	}
	_ = r.SetWriteDeadline(time.Now().Add(fuzzPatience))
	_, _ = r.Write(session) // the broker may have had enough
	return r
}

// firstPacket is the length of the first packet, 0 unless it is there whole.
func firstPacket(b []byte) int {
	n := 0
	for i := 1; i < min(len(b), 5); i++ {
		n |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			if n += i + 1; n <= len(b) {
				return n
			}
			return 0
		}
	}
	return 0
}

// finish ends what the raider says and waits for the broker to end too.
func (r *raider) finish(tb *testing.T) {
	_ = r.CloseWrite()
	select {
	case err := <-r.end:
		if err != nil {
			tb.Fatalf("the broker's answer: %v", err)
		}
	case <-time.After(fuzzPatience):
		tb.Fatal("a connection does not end whose device has gone")
	}
	_ = r.Close()
}

var (
	errNotAnAnswer = errors.New("a packet that no server sends")
	errAfterEnd    = errors.New("a packet after DISCONNECT")
	errNotFirst    = errors.New("CONNACK is not the first packet, or not the only one")
	errHalf        = errors.New("ends within a packet")
)

// listen reads all that the broker says: whole packets of a server, CONNACK
// first and once, nothing after DISCONNECT.
func (r *raider) listen() {
	told := false
	tell := func() {
		if !told {
			told = true
			close(r.first)
		}
	}
	defer tell()
	r.end <- func() error {
		var last, head [1]byte
		for n := 0; ; n++ {
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return nil // the end, or a reset
			}
			tell()
			kind := head[0] >> 4
			switch kind {
			case packets.Connack, packets.Publish, packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp,
				packets.Suback, packets.Unsuback, packets.Pingresp, packets.Disconnect:
			default:
				return errNotAnAnswer
			}
			if last[0] == packets.Disconnect {
				return errAfterEnd
			}
			if (kind == packets.Connack) != (n == 0) {
				return errNotFirst
			}
			last[0] = kind
			size, _, err := packets.DecodeLength(byteReader{r.TCPConn})
			if err == nil {
				_, err = io.CopyN(io.Discard, r.TCPConn, int64(size))
			}
			if errors.Is(err, io.EOF) {
				return errHalf
			}
			if err != nil {
				return nil // reset: the broker had unread input
			}
		}
	}()
}

// byteReader reads bytes one by one.
type byteReader struct{ io.Reader }

func (r byteReader) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r.Reader, b[:])
	return b[0], err
}
