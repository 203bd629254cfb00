package devices

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// device is one simulated device. Everything below requests is run's own.
type device struct {
	fleet    *Fleet
	name     string
	o        *Options
	requests chan request

	pending  []*message // not acknowledged, oldest first; at most a window, and alarms
	next     uint64     // number of the next new telemetry message
	alarms   uint64     // alarms made
	acked    int        // telemetry acknowledged
	finished bool
	due      time.Time // of the next new message
	joined   bool      // it was connected before
}

// request is something that a person wants the device to do.
type request struct {
	wish
	answer chan Refusal
}

type wish byte

const (
	wishAlarm wish = iota
	wishBreak
)

func newDevice(f *Fleet, name string, o *Options) *device {
	return &device{fleet: f, name: name, o: o, requests: make(chan request), next: 1}
}

// run connects again and again until ctx ends.
func (d *device) run(ctx context.Context) {
	backoff := backoffMin
	d.due = time.Now().Add(time.Duration(rand.Float64() * float64(d.o.Interval))) // not all at once
	for ctx.Err() == nil {
		c, err := d.connect(ctx)
		if err == nil {
			backoff = backoffMin
			d.fleet.counts.connected.Add(1)
			c.serve(ctx)
			d.fleet.counts.connected.Add(-1)
			c.close()
		}
		select {
		case <-time.After(jitter(backoff, rand.Float64())):
			backoff = min(2*backoff, backoffMax)
		case <-ctx.Done():
		}
	}
}

// connection is one connection of a device.
type connection struct {
	*device
	client *paho.Client
	conn   net.Conn
	acks   *acks

	sent     int                 // how many of pending are sent on this connection
	inFlight map[uint16]*message // packet id → what it carries
	breaks   map[uint16]request  // packet id → who waits for the refusal
	ended    chan string         // why the server closed
}

func (d *device) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := d.o.Dial(ctx, d.name)
	if err != nil {
		return nil, err
	}
	c := &connection{
		device: d, conn: conn, acks: newAcks(d.o.Window + extra),
		inFlight: map[uint16]*message{}, breaks: map[uint16]request{}, ended: make(chan string, 1),
	}
	c.client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), Session: c.acks, PacketTimeout: connectTimeout,
		OnServerDisconnect: func(p *paho.Disconnect) {
			reason := "disconnected"
			if p.Properties != nil && p.Properties.ReasonString != "" {
				reason = p.Properties.ReasonString
			}
			select {
			case c.ended <- reason:
			default:
			}
		},
	})
	if _, err := c.client.Connect(ctx, &paho.Connect{ClientID: d.name, CleanStart: true, KeepAlive: keepAlive}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if d.joined {
		d.fleet.counts.reconnects.Add(1)
	}
	d.joined = true
	return c, nil
}

// extra is how many alarms and broken rules may be in flight beside the window.
const extra = 16

func (c *connection) close() {
	_ = c.conn.Close()
	<-c.client.Done()
	for _, r := range c.breaks {
		reason := "the connection was closed"
		select {
		case reason = <-c.ended:
		default:
		}
		r.answer <- Refusal{Device: c.name, Topic: forbidden(c.name), Reason: reason}
	}
}

// serve sends and takes acknowledgements until the connection is over.
func (c *connection) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() }) // frees a blocked write
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		pace, changed := c.fleet.currentPace()
		if err := c.fill(ctx, pace, timer); err != nil {
			return
		}
		requests := c.requests
		if len(c.inFlight)+len(c.breaks) >= c.o.Window+extra {
			requests = nil
		}
		select {
		case a := <-c.acks.arrived:
			if !c.take(a) {
				return
			}
		case r := <-requests:
			if c.fulfil(ctx, r) != nil {
				return
			}
		case <-timer.C:
		case <-changed:
		case <-c.client.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// fill sends what is pending from before, then what is new and due, as far as
// the window allows, and sets the timer for what is not due yet.
func (c *connection) fill(ctx context.Context, p pace, timer *time.Timer) error {
	for {
		if len(c.inFlight) >= c.o.Window {
			return nil
		}
		if c.sent < len(c.pending) {
			if err := c.send(ctx, c.pending[c.sent]); err != nil {
				return err
			}
			continue
		}
		if c.next > p.limit || c.o.Messages > 0 && c.next > uint64(c.o.Messages) {
			return nil
		}
		if wait := time.Until(c.due); wait > 0 {
			timer.Reset(wait)
			return nil
		}
		c.due = laterOf(c.due.Add(p.interval), time.Now())
		size := c.o.Payload
		if c.o.BigEvery > 0 && c.next%uint64(c.o.BigEvery) == 0 {
			size = c.o.BigBytes
		}
		c.pending = append(c.pending, telemetry(c.name, c.next, size))
		c.next++
	}
}

// send transmits the first of pending that this connection has not sent.
func (c *connection) send(ctx context.Context, m *message) error {
	if m.tries++; m.tries == 1 {
		c.fleet.counts.sent.Add(1)
	} else {
		c.fleet.counts.resent.Add(1)
	}
	c.sent++
	if err := c.publish(ctx, m.topic, m.payload); err != nil {
		return err
	}
	c.inFlight[c.acks.lastID()] = m
	return nil
}

func (c *connection) publish(ctx context.Context, topic string, payload []byte) error {
	_, err := c.client.PublishWithOptions(ctx, &paho.Publish{QoS: 1, Topic: topic, Payload: payload},
		paho.PublishOptions{Method: paho.PublishMethod_AsyncSend})
	return err
}

// take handles a PUBACK; false ends the connection, so that everything is sent
// again in order.
func (c *connection) take(a ack) bool {
	if r, ok := c.breaks[a.id]; ok {
		delete(c.breaks, a.id)
		r.answer <- Refusal{Device: c.name, Topic: forbidden(c.name), Code: a.code, Reason: a.reason}
		return true
	}
	m := c.inFlight[a.id]
	if m == nil {
		return true
	}
	delete(c.inFlight, a.id)
	if a.code >= 0x80 {
		c.fleet.counts.refused.Add(1)
		return false
	}
	at := slices.Index(c.pending, m)
	c.pending = slices.Delete(c.pending, at, at+1)
	c.sent--
	c.fleet.acked.Add(m.series, m.number)
	if !IsAlarm(m.series) {
		c.acked++
	}
	if c.o.Messages > 0 && c.acked == c.o.Messages && !c.finished {
		c.finished = true
		c.fleet.finished()
	}
	return true
}

func (c *connection) fulfil(ctx context.Context, r request) error {
	if r.wish == wishAlarm {
		c.alarms++
		c.pending = append(c.pending, alarm(c.name, c.alarms))
		r.answer <- Refusal{}
		if c.sent < len(c.pending)-1 {
			return nil // behind what is sent again; fill sends it
		}
		return c.send(ctx, c.pending[c.sent])
	}
	if err := c.publish(ctx, forbidden(c.name), []byte(`{"let":"me in"}`)); err != nil {
		r.answer <- Refusal{Device: c.name, Topic: forbidden(c.name), Reason: err.Error()}
		return err
	}
	c.breaks[c.acks.lastID()] = r // answered by close when nothing else does
	return nil
}

// forbidden is a topic of another device: no policy that knows ${iot:ClientId}
// allows it.
func forbidden(device string) string { return "dt/not-" + device + "/temperature" }

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
