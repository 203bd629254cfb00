package mqtt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/eclipse/paho.golang/packets"
)

// maxIncoming is the largest packet that we take, in bytes. It is announced as
// Maximum Packet Size, so a broker drops what is larger (B41). AWS sends at
// most 149,504 (Q12).
const maxIncoming = 1 << 20

// keptBody is the largest buffer that a reader keeps between packets.
const keptBody = 64 << 10

// ProtocolError is a broker's break of the protocol. It ends the link.
type ProtocolError struct {
	Code byte   // MQTT reason code for our DISCONNECT
	Text string // what was wrong
}

// Error is the text.
func (e *ProtocolError) Error() string { return "protocol error: " + e.Text }

func malformed(format string, args ...any) error {
	return &ProtocolError{Code: packets.DisconnectMalformedPacket, Text: fmt.Sprintf(format, args...)}
}

// frames reads packets off a connection. The library's ReadPacket would reserve
// whatever a packet's header claims, so the header is read here and held to
// maxIncoming before anything is reserved.
type frames struct {
	r    *bufio.Reader
	body []byte
}

// next reads one packet: its first byte, its body, and its size on the wire.
// The body is valid until the next call.
func (f *frames) next() (first byte, body []byte, size int, err error) {
	first, err = f.r.ReadByte()
	if err != nil {
		return 0, nil, 0, err
	}
	length, digits := 0, 0
	for {
		b, err := f.r.ReadByte()
		if err != nil {
			return 0, nil, 0, unexpected(err)
		}
		length |= int(b&0x7f) << (7 * digits)
		digits++
		if b < 0x80 {
			break
		}
		if digits == 4 { // [MQTT-1.5.5-1]
			return 0, nil, 0, malformed("a length of more than four bytes")
		}
	}
	size = 1 + digits + length
	if size > maxIncoming {
		return 0, nil, 0, &ProtocolError{Code: packets.DisconnectPacketTooLarge, Text: fmt.Sprintf("a packet of %d bytes, more than the %d that we announced", size, maxIncoming)}
	}
	if cap(f.body) < length || cap(f.body) > keptBody && length <= keptBody {
		f.body = make([]byte, max(length, 512))
	}
	body = f.body[:length]
	if _, err := io.ReadFull(f.r, body); err != nil {
		return 0, nil, 0, unexpected(err)
	}
	return first, body, size, nil
}

// ackFollows reports whether a whole PUBACK is read already, and of which packet.
func (f *frames) ackFollows() (id uint16, ok bool) {
	if f.r.Buffered() < pubackSize {
		return 0, false
	}
	next, err := f.r.Peek(pubackSize)
	return uint16(next[2])<<8 | uint16(next[3]), err == nil && next[0]>>4 == packets.PUBACK && f.r.Buffered() >= 2+int(next[1])
}

// unexpected marks an end in the middle of a packet.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode parses a packet that next read. The result does not alias body.
func decode(first byte, body []byte) (packets.Packet, error) {
	kind := first >> 4
	if kind == packets.DISCONNECT && len(body) == 0 { // the library refuses the short form of [MQTT-3.14.2.1]
		return &packets.Disconnect{Properties: &packets.Properties{}}, nil
	}
	cp := packets.NewControlPacket(kind)
	if cp == nil {
		return nil, malformed("packet type %d", kind)
	}
	if p, ok := cp.Content.(*packets.Publish); ok {
		p.QoS, p.Duplicate, p.Retain = first>>1&3, first&8 != 0, first&1 != 0
	}
	if err := cp.Content.Unpack(bytes.NewBuffer(body)); err != nil {
		return nil, malformed("%s: %v", cp.PacketType(), err)
	}
	switch p := cp.Content.(type) {
	case *packets.Suback:
		p.Reasons = bytes.Clone(p.Reasons)
	case *packets.Unsuback:
		p.Reasons = bytes.Clone(p.Reasons)
	}
	return cp.Content, nil
}

// puback is a PUBACK, decoded without the library: it is the packet that comes
// as often as messages go. PUBREC and PUBCOMP look the same.
type puback struct {
	kind   byte // of packet
	id     uint16
	code   byte
	reason string
}

func decodePuback(kind byte, body []byte) (puback, error) {
	if len(body) < 2 {
		return puback{}, malformed("%s of %d bytes", puback{kind: kind}.name(), len(body))
	}
	a := puback{kind: kind, id: uint16(body[0])<<8 | uint16(body[1])}
	if len(body) > 2 {
		a.code = body[2]
	}
	if len(body) > 4 { // more than a property length of 0
		p, err := decode(packets.PUBACK<<4, body)
		if err != nil {
			return puback{}, err
		}
		a.reason = p.(*packets.Puback).Properties.ReasonString
	}
	return a, nil
}

// packetOf is a packet: its first byte, its length, its parts.
func packetOf(first byte, parts net.Buffers) []byte {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	out := appendLength([]byte{first}, length)
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
