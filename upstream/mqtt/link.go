package mqtt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// link is one live uplink connection: a conn and the window of what it awaits.
type link struct {
	c        *conn
	window   *window
	aliases  *aliases      // nil: the broker takes none
	ack      time.Duration // longest wait for the acknowledgement that is due
	unwanted func(p *packets.Publish, size int)
	finished func(error)   // called once, when everything is reported
	repeated bool          // what it ended with on its way had come back before, and was alone
	some     bool          // some of it had come back before
	useful   bool          // something was acknowledged on it
	idle     time.Duration // it is closed after so long without a message; 0: never
	used     atomic.Int64  // when a message was last sent, since the connection's epoch
	begun    time.Time     // when the present write was begun; guarded by conn.mu

	leaving sync.Once
	left    chan struct{} // closed when nothing more is to be sent
	why     error         // set before left is closed
	until   time.Time     // likewise: the end does not wait longer for what nobody acknowledges
}

var _ bridge.Link = (*link)(nil)

// Window is how many sends may await their outcome.
func (l *link) Window() int { return len(l.window.slots) }

// Done is closed when the link is down and every outcome has been reported.
func (l *link) Done() <-chan struct{} { return l.c.done }

// Err says why the link is down, nil while it is up.
func (l *link) Err() error { return l.c.reason() }

// Close ends the link at once; what is outstanding reports ResultLost. It may
// be called from a report.
func (l *link) Close() error {
	l.c.end(ErrClosed, true, packets.DisconnectNormalDisconnection)
	return nil
}

// Send gathers d for the next write, which comes with Flush, before every wait
// and when there is much. It waits for a place in the window, for the rate
// limits, and for the network to take what was sent before. What breaks a limit
// of the broker is not sent; its outcome is ResultRefused.
func (l *link) Send(ctx context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if err := l.stay(ctx); err != nil {
		return err
	}
	return l.send(ctx, bridge.Outgoing(d.Stored), d.Attempt, d.Remaining, report, false)
}

// SendNow is Send where nothing has to be waited for, else it fails with
// [bridge.ErrWouldWait].
func (l *link) SendNow(d *bridge.Delivery, report func(bridge.Outcome)) error {
	select {
	case <-l.left:
		return bridge.ErrWouldWait
	default:
	}
	if !l.c.bucket.Free() || l.c.raw.waiting() >= outBuffer {
		return bridge.ErrWouldWait
	}
	return l.send(context.Background(), bridge.Outgoing(d.Stored), d.Attempt, d.Remaining, report, true)
}

// send sends m, the how many-th time it is, and which expires in so many seconds if it
// does, now or after what has to be waited for.
func (l *link) send(ctx context.Context, m *bridge.Message, attempt int, expiry uint32, report func(bridge.Outcome), now bool) error {
	if l.idle > 0 {
		l.used.Store(int64(time.Since(l.c.epoch)))
	}
	p := publishOf(m, expiry, l.c.server.v3)
	p.attempt = attempt
	tells := l.aliases.shorten(&p)
	size := p.size()
	if o, refused := l.c.server.refuse(&p, size); refused {
		if l.c.reason() != nil {
			return l.down()
		}
		report(o)
		return nil
	}
	var id uint16
	if p.QoS > 0 {
		if id = l.window.reserve(); id == 0 {
			if now {
				return bridge.ErrWouldWait
			}
			var err error
			if id, err = l.reserve(ctx); err != nil {
				return err
			}
		}
	}
	if tells != nil {
		report = tells.told(report)
	}
	var err error
	if !now {
		err = l.pace(ctx, size)
	}
	if err == nil {
		err = l.transmit(&p, id, size, report)
	}
	if err != nil && id != 0 {
		l.window.giveBack(id)
		l.leave()
	}
	if err != nil && tells != nil {
		tells.state.Store(aliasNew)
	}
	return err
}

// stay waits for the end of a link that is being renewed: there is nothing more
// to send on it.
func (l *link) stay(ctx context.Context) error {
	select {
	case <-l.left:
	default:
		return nil
	}
	select {
	case <-l.c.ending:
		return l.down()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retire sends nothing more, awaits the acknowledgements, and ends the link. What
// nobody acknowledges, of QoS 0, may take as long as they: until a PINGRESP.
func (l *link) retire(why error) {
	l.leaving.Do(func() {
		if l.c.unproved() {
			l.c.ask()
		}
		l.why, l.until = why, time.Now().Add(l.ack)
		close(l.left)
	})
	l.leave()
}

// leave ends a link that is being renewed once everything is acknowledged.
func (l *link) leave() {
	select {
	case <-l.left:
	default:
		return
	}
	if l.window.inFlight() == 0 && (!l.c.unproved() || time.Now().After(l.until)) {
		l.c.flush()
		l.c.end(l.why, true, packets.DisconnectNormalDisconnection)
	}
}

// Flush writes what Send has gathered.
func (l *link) Flush() { l.c.flush() }

// reserve awaits a packet identifier.
func (l *link) reserve(ctx context.Context) (uint16, error) {
	for {
		if id := l.window.reserve(); id != 0 {
			return id, nil
		}
		l.c.flush()
		select {
		case <-l.window.freed:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-l.c.ending:
			return 0, l.down()
		}
	}
}

// transmit gathers p, and writes when there is much.
func (l *link) transmit(p *publish, id uint16, size int, report func(bridge.Outcome)) error {
	full, err := l.gather(p, id, size, report)
	if full {
		l.c.flush()
	}
	return err
}

// pace waits for the limits and for the network.
func (l *link) pace(ctx context.Context, size int) error {
	if err := l.c.bucket.Wait(ctx, l.c.ending, size, l.c.flush); err != nil {
		if errors.Is(err, upstream.ErrStopped) {
			err = l.down()
		}
		return err
	}
	for l.c.raw.waiting() >= outBuffer {
		select {
		case <-l.c.room:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.c.ending:
			return l.down()
		}
	}
	return nil
}

// gather puts the packet behind those that wait to be written, and reports
// whether these are many.
func (l *link) gather(p *publish, id uint16, size int, report func(bridge.Outcome)) (full bool, err error) {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false, fmt.Errorf("send: link is down: %w", c.err)
	}
	if len(c.out) == 0 {
		l.begun = time.Now()
	}
	c.out = p.append(c.out, id)
	c.paced.messages, c.paced.bytes = c.paced.messages+1, c.paced.bytes+size
	if id != 0 {
		l.window.send(id, report, size, p.attempt, c.proofs.seal(), l.begun)
	} else {
		proof := c.writesLocked()
		c.after = append(c.after, func(err error) { report(l.way(written(size, proof, err))) })
	}
	return len(c.out) >= writeSize, nil
}

// written is the outcome of a message of QoS 0.
func written(size int, proof *proof, err error) bridge.Outcome {
	if err != nil {
		return bridge.Outcome{Result: bridge.ResultLost, Reason: err.Error(), Wire: size}
	}
	return bridge.Outcome{Result: bridge.ResultAcked, Wire: size, Proof: proof}
}

// way notes in an outcome how the message went.
func (l *link) way(o bridge.Outcome) bridge.Outcome {
	o.MQTT3 = l.c.server.v3
	return o
}

func (l *link) down() error { return fmt.Errorf("send: link is down: %w", l.c.reason()) }

// acked takes an acknowledgement. One of a message that is in flight, in words that
// are not for QoS 1, ends the link: no other would come.
func (l *link) acked(a puback, size int) error {
	if a.kind != packets.PUBACK && l.window.awaits(a.id) {
		return &ProtocolError{Code: packets.DisconnectProtocolError, Text: fmt.Sprintf("a %s for packet %d, which is of QoS 1", a.name(), a.id)}
	}
	s, ok := slot{}, false
	if a.kind == packets.PUBACK {
		s, ok = l.window.take(a.id, l.c.heardAt())
	}
	if !ok {
		l.c.strays.add(a, l.c.heardAt())
		return nil
	}
	l.c.proved(s.proves)
	if a.code == packets.PubackQuotaExceeded && !s.again() {
		l.c.bucket.Throttled()
	}
	o := l.way(outcomeOf(a, s.wire+size))
	l.useful = l.useful || o.Result == bridge.ResultAcked
	if next, follows := l.c.in.ackFollows(); follows {
		o.More = l.window.awaits(next) // else nothing is reported for it
	}
	s.report(o)
	l.leave()
	return nil
}

// published takes a message that nobody subscribed to: AWS's direct messages
// come like this, and what jobs and provisioning answer (B212). It is
// acknowledged, so that it does not come again.
func (l *link) published(p *packets.Publish, size int) error {
	if p.QoS > 0 {
		size += len(pubackFor(0))
	}
	l.unwanted(p, size)
	if p.QoS == 0 {
		return nil
	}
	_ = l.c.enqueue(pubackFor(p.PacketID)) // fails only when it has ended
	return nil
}

// pong implements role.
func (l *link) pong() { l.leave() }

// awaited is what the window holds.
func (l *link) awaited() int { return l.window.inFlight() }

func (l *link) subscribed(*packets.Suback) error {
	return &ProtocolError{Code: packets.DisconnectProtocolError, Text: "a SUBACK, and nothing was subscribed to"}
}

func (l *link) unsubscribed(*packets.Unsuback) error {
	return &ProtocolError{Code: packets.DisconnectProtocolError, Text: "an UNSUBACK, and nothing was unsubscribed from"}
}

// due ends the link when the acknowledgement that is due does not come. A
// message must not be sent again on a live connection [MQTT-4.4.0-1], so the
// connection ends, and everything is sent again on the next.
func (l *link) due(now time.Time) error {
	l.leave()
	if l.idle > 0 && l.window.inFlight() == 0 && now.Sub(l.c.epoch)-time.Duration(l.used.Load()) >= l.idle {
		l.retire(fmt.Errorf("%w for %v", ErrIdle, l.idle))
		return nil
	}
	if late, again := l.window.overdue(now); late > l.ack {
		if now.Sub(l.c.heardAt()) < l.ack { // the broker lives, and has thrown it away (Q06)
			if !again {
				l.c.bucket.Throttled()
			}
			return fmt.Errorf("no acknowledgement for %v, though the broker lives: %w", l.ack, bridge.ErrPushedBack)
		}
		return fmt.Errorf("no acknowledgement for %v", l.ack)
	}
	return nil
}

// ended reports what is outstanding as lost, oldest first.
func (l *link) ended(err error) {
	lost := l.window.inFlight()
	for {
		s, ok := l.window.takeOldest()
		if !ok {
			break
		}
		l.repeated, l.some = lost == 1 && s.again(), l.some || s.attempt > 1
		s.report(l.way(bridge.Outcome{Result: bridge.ResultLost, Reason: err.Error(), Wire: s.wire}))
	}
	l.finished(err)
}

// pubackFor is the PUBACK of success for one packet.
func pubackFor(id uint16) []byte {
	return []byte{packets.PUBACK << 4, 2, byte(id >> 8), byte(id)}
}
