package localbroker

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// inbound reads the packets of one connection. A packet's size is refused from
// its header, before anything is allocated for it.
//
// Most connections are silent most of the time, so one that waits holds no more
// than a small buffer; who sends much borrows a larger one.
type inbound struct {
	src     io.Reader
	largest int            // bytes of a packet, fixed header included
	publish int            // bytes of a PUBLISH, if that is more
	first   func(int) bool // whether a first packet of this size may come now
	started bool           // the header of the first packet is through
	version byte           // of MQTT, once it is known

	buf      []byte // small, or a borrowed one
	at, end  int    // buf[at:end] has been read and not taken
	borrowed *[lentBuffer]byte
	small    [idleBuffer]byte

	size     int    // of the packet that was read last
	last     []byte // its body, see recycle
	recycles bool   // it may be one of an earlier packet
}

const (
	idleBuffer = 256
	lentBuffer = 8 << 10
)

var lent = sync.Pool{New: func() any { return new([lentBuffer]byte) }}

var (
	errFirstPacket = errors.New("the first packet is not CONNECT")
	errEarlyPacket = errors.New("another packet came with CONNECT: a device must wait for CONNACK")
	errQoS3        = errors.New("PUBLISH of QoS 3") // malformed [MQTT-3.3.1-4], where mochi sees a protocol error
	errLength      = errors.New("malformed packet length")
	errGreetings   = errors.New("too many large CONNECTs at once")
)

// tooLargeError is a packet above the limit.
type tooLargeError struct{ size, limit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("packet of %d bytes, at most %d", e.size, e.limit)
}

// malformedError is a packet that cannot be made sense of.
type malformedError struct{ err error }

func (e *malformedError) Error() string { return e.err.Error() }

func (e *malformedError) Unwrap() error { return e.err }

// code is the reason code of a DISCONNECT for it (B103).
func (e *malformedError) code() byte {
	if code, ok := errors.AsType[packets.Code](e.err); ok && code.Code >= packets.ErrUnspecifiedError.Code {
		return code.Code
	}
	return packets.ErrMalformedPacket.Code
}

// await waits until there is something to read.
func (in *inbound) await() error {
	if in.at < in.end {
		return nil
	}
	return in.fill()
}

// more reports whether more has been read than was taken.
func (in *inbound) more() bool { return in.at < in.end }

// next reads one packet. Errors are the source's own, or say what is wrong with
// the packet.
func (in *inbound) next() (pk packets.Packet, err error) {
	first, remaining, err := in.header()
	if err != nil {
		return pk, err
	}
	if first>>4 == packets.Publish && first>>1&3 == 3 {
		return pk, &malformedError{errQoS3}
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, &malformedError{err}
	}
	pk.FixedHeader.Remaining = remaining
	pk.ProtocolVersion = in.version
	body, err := in.body(remaining, pk.FixedHeader.Type != packets.Puback)
	if err != nil {
		return pk, err
	}
	in.last = body
	if err := form(first, in.version, body); err != nil {
		return pk, &malformedError{err}
	}
	if err := decode(&pk, body); err != nil {
		return pk, &malformedError{err}
	}
	return pk, nil
}

// header reads the fixed header.
func (in *inbound) header() (first byte, remaining int, err error) {
	if first, err = in.octet(); err != nil {
		return 0, 0, err
	}
	if !in.started && first>>4 != packets.Connect {
		return 0, 0, errFirstPacket
	}
	digits := 0
	for more := true; more; digits++ {
		if digits == 4 {
			return 0, 0, errLength
		}
		b, err := in.octet()
		if err != nil {
			return 0, 0, err
		}
		remaining |= int(b&0x7f) << (7 * digits)
		more = b&0x80 != 0
	}
	size, limit := 1+digits+remaining, in.largest
	if first>>4 == packets.Publish {
		limit = max(limit, in.publish)
	}
	if size > limit {
		return 0, 0, &tooLargeError{size, limit}
	}
	if !in.started && !in.first(size) {
		return 0, 0, errGreetings
	}
	in.started, in.size = true, size
	return first, remaining, nil
}

func (in *inbound) octet() (byte, error) {
	if in.at == in.end {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	b := in.buf[in.at]
	in.at++
	return b, nil
}

// body reads n bytes. What the packet keeps (topic, payload) are parts of them,
// so they are its own, unless nothing is kept.
func (in *inbound) body(n int, kept bool) ([]byte, error) {
	if have := in.buf[in.at:in.end]; !kept && len(have) >= n {
		in.at += n
		return have[:n], nil
	}
	b := in.recycledBody(n)
	switch {
	case b != nil:
	case n > in.largest:
		return in.gradually(n)
	default:
		b = make([]byte, n)
	}
	held := copy(b, in.buf[in.at:in.end])
	in.at += held
	if n-held > idleBuffer {
		_, err := io.ReadFull(in.src, b[held:])
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return b, err
	}
	for held < n { // what follows is likely to be there already
		if err := in.fill(); errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
		k := copy(b[held:], in.buf[:in.end])
		in.at, held = k, held+k
	}
	return b, nil
}

// gradually reads n bytes that only a service takes. Who has announced them and
// does not send them costs no more memory than what has come.
func (in *inbound) gradually(n int) ([]byte, error) {
	b := append(make([]byte, 0, min(n, in.largest)), in.buf[in.at:min(in.end, in.at+n)]...)
	in.at += len(b)
	for len(b) < n {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(n, 2*cap(b))), b...)
		}
		held := len(b)
		b = b[:cap(b)]
		if _, err := io.ReadFull(in.src, b[held:]); errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// fill reads into the empty buffer: a borrowed one as long as there is more to
// be read than fits into the small one.
func (in *inbound) fill() error {
	switch {
	case in.borrowed == nil && in.end == idleBuffer:
		in.borrowed = lent.Get().(*[lentBuffer]byte)
	case in.borrowed != nil && in.end <= idleBuffer:
		in.giveBack()
	}
	if in.buf = in.small[:]; in.borrowed != nil {
		in.buf = in.borrowed[:]
	}
	in.at, in.end = 0, 0
	n, err := in.src.Read(in.buf)
	in.end = n
	if n > 0 {
		return nil // err comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// giveBack returns the borrowed buffer.
func (in *inbound) giveBack() {
	if in.borrowed != nil {
		lent.Put(in.borrowed)
		in.borrowed, in.buf, in.at, in.end = nil, nil, 0, 0
	}
}

// decode makes sense of the body. mochi's decoder panics on some packets that are
// cut short: that is the packet's fault, not the broker's, and no error of it may
// fill the log.
func decode(pk *packets.Packet, body []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = packets.ErrMalformedPacket
		}
	}()
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback:
		return pk.PubackDecode(body)
	case packets.Subscribe:
		return pk.SubscribeDecode(body)
	case packets.Unsubscribe:
		return pk.UnsubscribeDecode(body)
	case packets.Pingreq, packets.Connack, packets.Suback, packets.Unsuback, packets.Pingresp, packets.Auth:
		return nil // nothing in it matters: the middle four only a server sends, and AUTH nobody may (B47)
	case packets.Disconnect:
		if pk.ProtocolVersion == 5 && len(body) == 1 { // which mochi passes over
			pk.ReasonCode = body[0]
		}
		return pk.DisconnectDecode(body)
	case packets.Pubrec:
		return pk.PubrecDecode(body)
	case packets.Pubrel:
		return pk.PubrelDecode(body)
	case packets.Pubcomp:
		return pk.PubcompDecode(body)
	}
	return packets.ErrMalformedPacket
}
