package localbroker

import (
	"net"
	"sync/atomic"
	"time"
)

// silence is how long a connection has been quiet, and how long it may be. It
// is compared once a second by the broker's clock rather than set as a deadline
// of the socket: a timer for each packet costs more, and hours can be tested.
type silence struct {
	limit atomic.Int64 // nanoseconds from one packet to the next; 0 for none
	since atomic.Int64 // when the broker began to wait for a packet, by its clock; 0 while it has one at hand
}

// await says that the broker begins to wait for a packet.
func (w *wire) await() {
	if w.silence.limit.Load() > 0 {
		w.silence.since.Store(w.client.broker.running())
	}
}

// keepAlive sets the time that may pass between two packets: one and a half
// times the keep-alive [MQTT-3.1.2-22] (B37), never early, late by at most two
// sweeps. The deadline of CONNECT is over.
func (w *wire) keepAlive(d time.Duration) error {
	w.silence.limit.Store(int64(d + d/2))
	return w.readUntil(time.Time{})
}

// readUntil sets the deadline of reading, unless reading has ended.
func (w *wire) readUntil(at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	return w.SetReadDeadline(at)
}

// heard says that a packet is at hand: whatever time the broker takes with it,
// a held message's above all, is not the device's silence.
func (w *wire) heard() { w.silence.since.Store(0) }

// silent reports whether the device has been quiet for too long.
func (w *wire) silent(now int64) bool {
	limit, since := w.silence.limit.Load(), w.silence.since.Load()
	return limit > 0 && since > 0 && now-since > limit
}

// running is the broker's clock: nanoseconds since it was made, never 0.
func (b *Broker) running() int64 { return max(int64(b.now().Sub(b.made)), 1) }

// endSilent closes the connections that have been quiet for too long (B37).
func (b *Broker) endSilent() {
	now := b.running()
	for _, l := range b.listeners {
		for _, c := range l.silent(now) {
			c.close(cause{reason: "keep-alive-timeout", code: 0x8D})
		}
	}
}

// silent lists the connections that have been quiet for too long.
func (l *listener) silent(now int64) (out []*client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.raws {
		if c, ok := e.(*client); ok && c.wire.silent(now) {
			out = append(out, c)
		}
	}
	return out
}
