package localbroker

import (
	"errors"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// framer watches the packet boundaries of what a socket delivers, so that a
// packet's size is refused from its header: before anybody allocates for it,
// and with an answer, which mochi does not give. It copies nothing, and changes one
// thing, see expiryFrame.
type framer struct {
	largest int            // bytes of a packet, fixed header included
	first   func(int) bool // whether a first packet of this size may come now
	alone   bool           // nothing may come along with the first packet (B17)
	started bool           // the header of the first packet is through
	whole   bool           // the first packet is through
	header  byte           // first byte of the packet at hand
	inside  bool           // its type is read
	digits  int            // bytes of its length that are read
	length  int            // its length as far as it is read
	body    int            // bytes of it that are still to come
	level   byte           // of the protocol, once the CONNECT has told it
	expiry  expiryFrame    // of a PUBLISH of MQTT 5
}

var (
	errFirstPacket = errors.New("the first packet is not CONNECT")
	errEarlyPacket = errors.New("another packet came with CONNECT: a device must wait for CONNACK")
	errLength      = errors.New("malformed packet length")
	errQoS3        = errors.New("PUBLISH of QoS 3") // malformed [MQTT-3.3.1-4], where mochi sees a protocol error
	errGreetings   = errors.New("too many large CONNECTs at once")
)

// tooLargeError is a packet above the limit.
type tooLargeError struct{ size, limit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("packet of %d bytes, at most %d", e.size, e.limit)
}

// pass says how many bytes of p may go on. With an error, the rest begins a
// packet that must not be read.
func (f *framer) pass(p []byte) (int, error) {
	start := 0 // of the packet at hand, when it began in p
	for i := 0; i < len(p); {
		switch {
		case f.body > 0:
			n := min(f.body, len(p)-i)
			f.inspect(p[i : i+n])
			f.body -= n
			i += n
			if f.body == 0 && !f.whole {
				f.whole = true
				if f.alone && i < len(p) {
					return i, errEarlyPacket
				}
			}
		case !f.inside:
			if p[i]>>4 == packets.Publish && p[i]>>1&3 == 3 {
				return i, errQoS3
			}
			start, f.header, f.inside = i, p[i], true
			f.digits, f.length = 0, 0
			i++
			if !f.started && f.header>>4 != packets.Connect {
				return start, errFirstPacket
			}
		default:
			f.length |= int(p[i]&0x7f) << (7 * f.digits)
			f.digits++
			more := p[i]&0x80 != 0
			i++
			if more {
				if f.digits == 4 {
					return start, errLength
				}
				continue
			}
			size := 1 + f.digits + f.length
			if size > f.largest {
				return start, &tooLargeError{size, f.largest}
			}
			if !f.started && !f.first(size) {
				return start, errGreetings
			}
			f.body, f.inside, f.started = f.length, false, true
			f.expiry.begin(f.header)
		}
	}
	return len(p), nil
}

// inspect sees the bytes of a packet's body.
func (f *framer) inspect(p []byte) {
	switch {
	case !f.whole: // CONNECT: the name, 6 bytes long, then the level
		if at := 6 - (f.length - f.body); at >= 0 && at < len(p) {
			f.level = p[at]
		}
	case f.level == 5 && f.header>>4 == packets.Publish:
		f.expiry.pass(p)
	}
}
