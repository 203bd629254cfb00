package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// Packet types of MQTT 3.1.1, with the flags that this program sends and takes.
const (
	packetConnect    = 0x10
	packetConnAck    = 0x20
	packetPublish    = 0x30
	packetPubAck     = 0x40
	packetSubscribe  = 0x82
	packetSubAck     = 0x90
	packetPingReq    = 0xc0
	packetPingResp   = 0xd0
	packetDisconnect = 0xe0
	flagQoS1         = 0x02
)

// Every payload begins with its publisher's index and the message's number.
const (
	payloadIndex  = 0
	payloadNumber = 4
	payloadHeader = 12
)

// keepAlive is long enough that no client here needs to ping.
const keepAlive = 1200 // s, the longest that AWS IoT Core takes

// appendRemaining appends a remaining length (MQTT 3.1.1 §2.2.3).
func appendRemaining(b []byte, n int) []byte {
	for {
		digit := byte(n % 128)
		n /= 128
		if n == 0 {
			return append(b, digit)
		}
		b = append(b, digit|0x80)
	}
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// connectFrame is a CONNECT of MQTT 3.1.1 with a clean session.
func connectFrame(clientID string) []byte {
	body := appendText(nil, "MQTT")
	body = append(body, 4, 0x02)
	body = binary.BigEndian.AppendUint16(body, keepAlive)
	body = appendText(body, clientID)
	return append(appendRemaining([]byte{packetConnect}, len(body)), body...)
}

// subscribeFrame asks for a filter with QoS 0.
func subscribeFrame(filter string) []byte {
	body := appendText([]byte{0, 1}, filter)
	body = append(body, 0)
	return append(appendRemaining([]byte{packetSubscribe}, len(body)), body...)
}

// ring holds the encoded PUBLISHes of one publisher. Packet ids run from 1 to
// the window: acknowledgements come in order [MQTT-4.6.0-2], so an id is free
// again when its turn comes, and a frame needs nothing but its message's number
// written into it. The frames are there twice, so that any run of them up to a
// window is one piece of memory.
type ring struct {
	frames  []byte
	size    int // bytes of one frame
	payload int // where in a frame the payload begins
	window  uint64
}

// newRing encodes the frames of publisher index: QoS 1, on topic, with
// payloads of payloadSize bytes that do not compress.
func newRing(index int, topic string, window int) *ring {
	body := 2 + len(topic) + 2 + payloadSize
	head := appendText(appendRemaining([]byte{packetPublish | flagQoS1}, body), topic)
	r := &ring{size: len(head) + 2 + payloadSize, payload: len(head) + 2, window: uint64(window)}
	noise := rand.New(rand.NewPCG(uint64(index), 1))
	payload := make([]byte, payloadSize)
	for i := range payload {
		payload[i] = byte(noise.Uint32())
	}
	binary.BigEndian.PutUint32(payload[payloadIndex:], uint32(index))
	for i := range 2 * window {
		r.frames = append(r.frames, head...)
		r.frames = binary.BigEndian.AppendUint16(r.frames, r.packetID(uint64(i)))
		r.frames = append(r.frames, payload...)
	}
	return r
}

// packetID is the packet id of message n, counted from 0.
func (r *ring) packetID(n uint64) uint16 { return uint16(n%r.window) + 1 }

// take returns the frames of the k messages from number n on, k up to the
// window. They are valid until the next call.
func (r *ring) take(n, k uint64) []byte {
	at := int(n%r.window) * r.size
	for i := range k {
		number := at + int(i)*r.size + r.payload + payloadNumber
		binary.BigEndian.PutUint64(r.frames[number:], n+i)
	}
	return r.frames[at : at+int(k)*r.size]
}

// errShort says that a packet has not arrived whole.
var errShort = errors.New("more bytes are needed")

// splitPacket returns the first packet of b: its first byte, its body and its
// length in bytes.
func splitPacket(b []byte) (kind byte, body []byte, size int, err error) {
	length, shift := 0, 0
	for i := 1; i < len(b); i++ {
		length |= int(b[i]&0x7f) << shift
		shift += 7
		if b[i]&0x80 == 0 {
			if len(b)-i-1 < length {
				return 0, nil, 0, errShort
			}
			return b[0], b[i+1 : i+1+length], i + 1 + length, nil
		}
		if i == 4 {
			return 0, nil, 0, errors.New("a remaining length of five bytes")
		}
	}
	return 0, nil, 0, errShort
}

// readAnswer reads the packet that answers CONNECT or SUBSCRIBE, and refuses
// any other and any that says no.
func readAnswer(r io.Reader, kind byte, size int) error {
	b := make([]byte, 2+size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("awaiting packet %#x: %w", kind, err)
	}
	if b[0] != kind || int(b[1]) != size {
		return fmt.Errorf("awaiting packet %#x, got %x", kind, b)
	}
	if code := b[len(b)-1]; code != 0 {
		return fmt.Errorf("packet %#x refuses with code %d", kind, code)
	}
	return nil
}
