package devices

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	paholog "github.com/eclipse/paho.golang/paho/log"
	"github.com/eclipse/paho.golang/paho/session"
)

// ack is a PUBACK.
type ack struct {
	id     uint16
	code   byte
	reason string
}

// acks is the session of one connection, of a client that starts clean: it
// hands out packet ids and reports PUBACKs. paho's own would wait for each, or
// tell nothing. Sending is for one goroutine, with at most cap(arrived) sends
// awaiting their PUBACK.
type acks struct {
	arrived chan ack

	mu     sync.Mutex
	conn   io.Writer
	next   uint16
	latest uint16                                  // id of the latest PUBLISH
	others map[uint16]chan<- packets.ControlPacket // SUBSCRIBEs awaiting their answer
}

var _ session.SessionManager = (*acks)(nil)

var errStray = errors.New("devices: an acknowledgement that nothing awaits")

func newAcks(window int) *acks {
	return &acks{arrived: make(chan ack, window), others: map[uint16]chan<- packets.ControlPacket{}}
}

func (a *acks) ConAckReceived(conn io.Writer, _ *packets.Connect, _ *packets.Connack) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn = conn
	return nil
}

func (a *acks) ConnectionLost(*packets.Disconnect) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn = nil
	for id, resp := range a.others {
		resp <- packets.ControlPacket{} // paho's sign that no answer will come
		delete(a.others, id)
	}
	return nil
}

func (a *acks) AddToSession(_ context.Context, p session.Packet, resp chan<- packets.ControlPacket) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return session.ErrNoConnection
	}
	a.next = a.next%65535 + 1 // never 0, and free: a window is far smaller
	p.SetIdentifier(a.next)
	if p.Type() == packets.PUBLISH {
		a.latest = a.next
	} else {
		a.others[a.next] = resp
	}
	return nil
}

func (a *acks) PacketReceived(p *packets.ControlPacket, in chan<- *packets.Publish) error {
	switch c := p.Content.(type) {
	case *packets.Puback:
		got := ack{id: c.PacketID, code: c.ReasonCode}
		if c.Properties != nil {
			got.reason = c.Properties.ReasonString
		}
		select {
		case a.arrived <- got:
		default: // more answers than sends: the far side is broken
			return errStray
		}
	case *packets.Suback:
		a.mu.Lock()
		resp := a.others[c.PacketID]
		delete(a.others, c.PacketID)
		a.mu.Unlock()
		if resp == nil {
			return errStray
		}
		resp <- *p
	case *packets.Publish:
		in <- c
	}
	return nil
}

// Ack answers a message that came down.
func (a *acks) Ack(pb *packets.Publish) error {
	a.mu.Lock()
	conn := a.conn
	a.mu.Unlock()
	if conn == nil || pb.QoS != 1 {
		return nil
	}
	p := packets.NewControlPacket(packets.PUBACK)
	p.Content.(*packets.Puback).PacketID = pb.PacketID
	_, err := p.WriteTo(conn)
	return err
}

func (a *acks) lastID() uint16 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.latest
}

func (a *acks) Close() error                  { return nil }
func (a *acks) SetErrorLogger(paholog.Logger) {}
func (a *acks) SetDebugLogger(paholog.Logger) {}
