package scenario

import (
	"bufio"
	wire "encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/tally"
)

// recorder stands between the gateway and its cloud and writes down what crosses:
// when each PUBLISH left the gateway's socket, on which connection, and what the
// cloud answered. It can hold bytes back for a random time, in their order, and
// send messages to the gateway besides.
type recorder struct {
	Addr   string
	jitter time.Duration
	inject int // messages a second to each connection of the gateway

	target string
	l      net.Listener
	wg     sync.WaitGroup
	ended  chan struct{}

	mu        sync.Mutex
	trouble   trouble
	attempts  []time.Time   // connections that were asked for
	healed    chan struct{} // closed when a black hole ends
	closed    bool
	conns     map[net.Conn]struct{}
	crossings map[string][]time.Time // client id → each message, in both directions
	last      map[string]time.Time   // client id → the latest message of the backlog
	connects  []time.Time
	answers   map[byte]int // reason codes of PUBACKs
	arrived   tally.Set    // acknowledged by the cloud
	at        map[string]map[uint64]time.Time
	late      int // first transmissions after a later one of their device
	times     int // of transmission
	sent      tally.Set
	perDevice map[string]map[string]int // device → client id → messages
}

// record starts a recorder before a cloud.
func record(t testing.TB, target string, jitter time.Duration, inject int) *recorder {
	t.Helper()
	r := &recorder{
		target: target, jitter: jitter, inject: inject, ended: make(chan struct{}),
		conns: map[net.Conn]struct{}{}, crossings: map[string][]time.Time{}, last: map[string]time.Time{}, answers: map[byte]int{},
		at: map[string]map[uint64]time.Time{}, perDevice: map[string]map[string]int{},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.l, r.Addr = l, l.Addr().String()
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		close(r.ended)
		_ = l.Close()
		r.mu.Lock()
		r.closed = true
		for c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *recorder) accept() {
	for {
		in, err := r.l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.attempts = append(r.attempts, time.Now())
		down := r.trouble.kind == linkDown
		r.mu.Unlock()
		if down {
			_ = in.Close()
			continue
		}
		out, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		r.mu.Lock()
		r.conns[in], r.conns[out] = struct{}{}, struct{}{}
		closed := r.closed
		r.mu.Unlock()
		if closed {
			_, _ = in.Close(), out.Close()
			return
		}
		r.wg.Go(func() { r.serve(in, out) })
	}
}

// crossing is one connection.
type crossing struct {
	*recorder
	in     net.Conn
	client string
	second []time.Time // of what was passed on, the last second
	delay  time.Duration
	mu     sync.Mutex // of writes to the gateway
	flight map[uint16]sentMessage
}

type sentMessage struct {
	device string
	number uint64
}

func (r *recorder) serve(in, out net.Conn) {
	c := &crossing{recorder: r, in: in, flight: map[uint16]sentMessage{}, delay: r.jitter}
	up := make(chan held, 10_000)
	var pair sync.WaitGroup
	pair.Go(func() {
		defer close(up)
		c.copy(in, c.up, func(b []byte) { up <- held{b, time.Now().Add(c.holdBack())} })
	})
	pair.Go(func() {
		for h := range up {
			select {
			case <-time.After(time.Until(h.until)):
			case <-r.ended:
			}
			_, _ = out.Write(h.bytes) // its end is seen by the reader
		}
		_ = out.Close()
	})
	done := make(chan struct{})
	pair.Go(func() {
		defer close(done)
		c.copy(out, c.down, func(b []byte) {
			c.mu.Lock()
			_, _ = in.Write(b)
			c.mu.Unlock()
		})
		_ = in.Close()
	})
	if r.inject > 0 {
		pair.Go(func() { c.sendBesides(in, done) })
	}
	pair.Wait()
	r.mu.Lock()
	delete(r.conns, in)
	delete(r.conns, out)
	r.mu.Unlock()
}

// held is what waits for its time.
type held struct {
	bytes []byte
	until time.Time
}

// copy passes packets on, whole, after they were looked at.
func (c *crossing) copy(from net.Conn, look func(kind byte, body []byte) (passes bool), pass func([]byte)) {
	defer from.Close()
	in := bufio.NewReaderSize(from, 64<<10)
	for {
		packet, body, err := nextPacket(in)
		if err != nil {
			return
		}
		if c.swallowed() {
			return
		}
		if look(packet[0], packet[body:]) {
			pass(packet)
		}
	}
}

// nextPacket reads one MQTT packet; its body begins at the index returned.
func nextPacket(in *bufio.Reader) (packet []byte, body int, err error) {
	first, err := in.ReadByte()
	if err != nil {
		return nil, 0, err
	}
	n, err := wire.ReadUvarint(in) // as MQTT writes lengths
	if err != nil || n > 1<<20 {
		return nil, 0, io.ErrUnexpectedEOF
	}
	packet = wire.AppendUvarint([]byte{first}, n)
	body = len(packet)
	packet = append(packet, make([]byte, n)...)
	_, err = io.ReadFull(in, packet[body:])
	return packet, body, err
}

// up looks at what the gateway sends.
func (c *crossing) up(kind byte, body []byte) (passes bool) {
	now := time.Now()
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	switch kind >> 4 {
	case 1: // CONNECT
		c.connects = append(c.connects, now)
		n, k := wire.Uvarint(body[10:]) // after the properties comes the client id
		at := 10 + k + int(n)
		c.client = string(body[at+2 : at+2+int(wire.BigEndian.Uint16(body[at:]))])
		return c.admits()
	case 3: // PUBLISH
		c.crossings[c.client] = append(c.crossings[c.client], now)
		at := 2 + int(wire.BigEndian.Uint16(body))
		id := wire.BigEndian.Uint16(body[at:])
		n, k := wire.Uvarint(body[at+2:])
		device, number, ok := parse(body[at+2+k+int(n):])
		if !ok {
			return true
		}
		c.times++
		if device != "alarm-01" {
			c.last[c.client] = now
		}
		if c.sent.Add(device, number) == tally.Late {
			c.late++
		}
		if c.perDevice[device] == nil {
			c.perDevice[device] = map[string]int{}
		}
		c.perDevice[device][c.client]++
		m := sentMessage{device, number}
		if !c.takes(id, m, now) {
			return false
		}
		c.flight[id] = m
	}
	return true
}

// down looks at what the cloud answers.
func (c *crossing) down(kind byte, body []byte) (passes bool) {
	if kind>>4 != 4 {
		return true
	}
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	if c.trouble.kind == ackless {
		return false
	}
	code := byte(0)
	if len(body) > 2 {
		code = body[2]
	}
	c.answers[code]++
	m := c.flight[wire.BigEndian.Uint16(body)]
	if code >= 0x80 {
		return true
	}
	c.arrived.Add(m.device, m.number)
	if c.at[m.device] == nil {
		c.at[m.device] = map[uint64]time.Time{}
	}
	if _, again := c.at[m.device][m.number]; !again {
		c.at[m.device][m.number] = time.Now()
	}
	return true
}

// sendBesides sends messages to the gateway that it did not ask for: to AWS they
// count as well (Q06).
func (c *crossing) sendBesides(in net.Conn, done <-chan struct{}) {
	tick := time.NewTicker(time.Second / time.Duration(c.inject))
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		c.recorder.mu.Lock()
		up := len(c.crossings[c.client]) > 0 // its CONNECT is answered
		if up {
			c.crossings[c.client] = append(c.crossings[c.client], time.Now())
		}
		c.recorder.mu.Unlock()
		if up {
			c.mu.Lock()
			_, _ = in.Write([]byte{0x30, 5, 0, 1, 'x', 0, '!'}) // QoS 0 to the topic x
			c.mu.Unlock()
		}
	}
}

// busiest is the most that any window of d holds.
func busiest(at []time.Time, d time.Duration) int {
	at = slices.SortedFunc(slices.Values(at), time.Time.Compare)
	most, first := 0, 0
	for last := range at {
		for at[last].Sub(at[first]) >= d {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
