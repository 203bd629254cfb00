package mqtt

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// receiver is one live downlink connection.
type receiver struct {
	d        *Downlink
	c        *conn
	suback   chan *packets.Suback   // the answer to the one SUBSCRIBE that is out
	unsuback chan *packets.Unsuback // likewise
	leaving  atomic.Uint32          // packet identifier of the UNSUBSCRIBE that is out, 0 for none
	lastID   uint16                 // packet identifier of the latest of both
	refused  []refusedFilter        // for the goroutine of serve, as what follows:
	stays    []string               // filters that were unsubscribed from, whatever the answer
	kept     []string               // those of them that the broker has kept, in words
	counted  upstream.Connection    // is told what is subscribed to
	freed    chan struct{}          // a token when something was acknowledged

	mu    sync.Mutex
	owed  []*owed // messages to acknowledge, as they came
	first int     // owed before it are acknowledged
	why   error   // to end for, once nothing is owed
}

// owed is a message whose acknowledgement is owed to the broker.
type owed struct {
	id   uint16
	safe bool
}

func newReceiver(d *Downlink, c *conn) *receiver {
	return &receiver{
		d: d, c: c, suback: make(chan *packets.Suback, 1), unsuback: make(chan *packets.Unsuback, 1), freed: make(chan struct{}, 1),
	}
}

// number is the next packet identifier.
func (r *receiver) number() uint16 {
	if r.lastID++; r.lastID == 0 { // [MQTT-2.2.1-3]
		r.lastID++
	}
	return r.lastID
}

// subscribe sends one SUBSCRIBE and awaits its codes, one for each filter.
func (r *receiver) subscribe(ctx context.Context, filters []string, o packets.SubOptions) ([]byte, error) {
	p := &packets.Subscribe{PacketID: r.number(), Properties: &packets.Properties{}}
	for _, f := range filters {
		o.Topic = f
		p.Subscriptions = append(p.Subscriptions, o)
	}
	packet := subscribe3
	if !r.c.server.v3 {
		packet = func(p *packets.Subscribe) []byte { return packetOf(packets.SUBSCRIBE<<4|2, p.Buffers()) }
	}
	if err := r.c.enqueue(packet(p)); err != nil {
		return nil, err
	}
	s, err := answer(ctx, r, r.suback, errSubscribeTimeout)
	if err != nil {
		return nil, err
	}
	return codesOf(s, p)
}

// unsubscribe sends one UNSUBSCRIBE and awaits its codes, one for each filter in MQTT 5,
// none in 3.1.1.
func (r *receiver) unsubscribe(ctx context.Context, filters []string) ([]byte, error) {
	p := &packets.Unsubscribe{PacketID: r.number(), Topics: filters, Properties: &packets.Properties{}}
	packet := unsubscribe3
	if !r.c.server.v3 {
		packet = func(p *packets.Unsubscribe) []byte { return packetOf(packets.UNSUBSCRIBE<<4|2, p.Buffers()) }
	}
	select {
	case <-r.unsuback: // of one that was given up a moment ago
	default:
	}
	r.leaving.Store(uint32(p.PacketID))
	defer r.leaving.Store(0)
	if err := r.c.enqueue(packet(p)); err != nil {
		return nil, err
	}
	u, err := answer(ctx, r, r.unsuback, errUnsubscribeTimeout)
	if err == nil && u.PacketID != p.PacketID {
		err = errUnsubscribeTimeout
	}
	if err != nil {
		return nil, err
	}
	return u.Reasons, nil
}

// answer awaits what answers the packet that was sent last; late says that nothing did.
func answer[P any](ctx context.Context, r *receiver, from <-chan P, late error) (answer P, err error) {
	timer := time.NewTimer(r.d.dialer.o.AckTimeout)
	defer timer.Stop()
	for {
		select {
		case answer = <-from:
			return answer, nil
		case <-timer.C:
			if r.c.stoodFor(r.d.dialer.o.AckTimeout) { // it may be behind what we did not read
				timer.Reset(r.d.dialer.o.AckTimeout)
				continue
			}
			return answer, late
		case <-ctx.Done():
			return answer, ctx.Err()
		case <-r.c.ending:
		}
		break
	}
	select {
	case answer = <-from: // it came before the end
		return answer, nil
	default:
		return answer, r.c.reason()
	}
}

// codesOf are the codes of a SUBACK, one for each filter of its SUBSCRIBE.
func codesOf(s *packets.Suback, p *packets.Subscribe) ([]byte, error) {
	switch {
	case s.PacketID != p.PacketID:
		return nil, &ProtocolError{Code: packets.DisconnectProtocolError, Text: fmt.Sprintf("a SUBACK for packet %d, which is not outstanding", s.PacketID)}
	case len(s.Reasons) != len(p.Subscriptions): // [MQTT-3.8.4-6]
		return nil, &ProtocolError{Code: packets.DisconnectProtocolError, Text: fmt.Sprintf("a SUBACK with %d codes for %d filters", len(s.Reasons), len(p.Subscriptions))}
	}
	return s.Reasons, nil
}

func (r *receiver) subscribed(s *packets.Suback) error {
	select {
	case r.suback <- s:
		return nil
	default:
		return &ProtocolError{Code: packets.DisconnectProtocolError, Text: "a SUBACK that nobody asked for"}
	}
}

// unsubscribed implements role. One that nobody awaits any more came too late: then the
// filters were given up for this connection, and are taken back by the next.
func (r *receiver) unsubscribed(u *packets.Unsuback) error {
	if uint32(u.PacketID) == r.leaving.Load() {
		select {
		case r.unsuback <- u:
		default: // the same answer twice
		}
	}
	return nil
}

func (r *receiver) published(p *packets.Publish, size int) error {
	m := messageOf(p)
	ack, wire := func() {}, size
	if p.QoS > 0 {
		entry, err := r.owe(p.PacketID)
		if err != nil {
			return err
		}
		ack, wire = func() { r.ack(entry) }, size+len(pubackFor(0))
	}
	if bridge.Hops(m) >= bridge.MaxHops {
		r.d.health.hooks.Dropped("downlink-loop", m)
		ack()
		return nil
	}
	r.d.handler(m, wire, ack)
	return nil
}

// owe notes that an acknowledgement is owed, when there is room for it.
//
// A broker that sends more than the Receive Maximum that we announced is never
// left for that: the next connection would meet the same, and begin with what this
// one has received already. Mosquitto 2.0.11 does it with every backlog. We read on
// when there is room again, so memory keeps the bound that we announced, whatever
// the broker does, and the network holds the rest back. Room is made by whoever has
// the messages, and needs nothing that is still to be read.
func (r *receiver) owe(id uint16) (*owed, error) {
	entry := &owed{id: id}
	if r.admit(entry) {
		return entry, nil
	}
	if !r.c.server.v3 && r.d.exceeded.CompareAndSwap(false, true) { // in MQTT 3.1.1 nothing can be announced
		r.c.log.Warn("the broker sends more unacknowledged messages than our Receive Maximum allows: what is beyond is read when there is room for it",
			"endpoint", r.c.endpoint, "receive_maximum", receiveMaximum)
	}
	r.c.stand()
	defer r.c.readOn()
	for !r.admit(entry) {
		select {
		case <-r.freed:
		case <-r.c.ending:
			return nil, r.c.reason()
		}
	}
	return entry, nil
}

// admit notes what is owed, and reports false when that is as much as may be.
func (r *receiver) admit(entry *owed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.owed)-r.first >= receiveMaximum {
		return false
	}
	if r.first >= receiveMaximum { // the front is done with: the slice stays small
		r.owed = append(r.owed[:0], r.owed[r.first:]...)
		r.first = 0
	}
	r.owed = append(r.owed, entry)
	return true
}

// ack acknowledges what is safe, in the order in which it came.
func (r *receiver) ack(entry *owed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry.safe = true
	var out []byte
	for r.first < len(r.owed) && r.owed[r.first].safe {
		out = append(out, pubackFor(r.owed[r.first].id)...)
		r.owed[r.first] = nil
		r.first++
	}
	if len(out) > 0 {
		_ = r.c.enqueue(out) // fails only when it has ended: the broker sends again
		select {
		case r.freed <- struct{}{}:
		default:
		}
	}
	r.leave()
}

// pong implements role: nothing waits for it.
func (r *receiver) pong() {}

// retire ends the connection once nothing is owed. What the broker sends until
// then is taken as ever; what it sends too late it sends again on the next.
func (r *receiver) retire(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = why
	r.leave()
}

func (r *receiver) leave() {
	if r.why != nil && r.first == len(r.owed) {
		r.c.end(r.why, true, packets.DisconnectNormalDisconnection)
	}
}

// acked takes note: nothing was published.
func (r *receiver) acked(a puback, _ int) error {
	r.c.strays.add(a, r.c.heardAt())
	return nil
}

func (r *receiver) awaited() int { return 0 }

func (r *receiver) due(time.Time) error { return nil }

func (r *receiver) ended(error) {}
