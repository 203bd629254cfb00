package localbroker

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/mochi-mqtt/server/v2/packets"
)

func inboundOf(r io.Reader, largest, greeting int) *inbound {
	return &inbound{src: r, largest: largest, first: func(n int) bool { return n <= greeting }}
}

// rawHello is a CONNECT of MQTT 3.1.1 without anything, padded by its client id.
func rawHello(id int) []byte {
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, byte(id >> 8), byte(id)}, bytes.Repeat([]byte{'x'}, id)...)
	return append(append([]byte{0x10}, length(len(body))...), body...)
}

// length is a remaining length.
func length(n int) (b []byte) {
	for {
		if n < 128 {
			return append(b, byte(n))
		}
		b, n = append(b, byte(n)|0x80), n>>7
	}
}

func TestInbound(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		n    int // packets before the refused one
		err  any
	}{
		{"a CONNECT", rawHello(1), 1, io.EOF},
		{"two packets", append(rawHello(1), 0xC0, 0), 2, io.EOF},
		{"not CONNECT first", []byte{0x30, 2, 0, 0}, 0, errFirstPacket},
		{"too large after a good one", append(rawHello(1), 0x30, 0x80, 0x10), 1, &tooLargeError{}},
		{"the length never ends", append(rawHello(1), 0x30, 0xff, 0xff, 0xff, 0xff), 1, errLength},
		{"a CONNECT that may not come now", rawHello(1010), 0, errGreetings},
		{"a type that nobody sends", append(rawHello(1), 0x00, 0), 1, &malformedError{}},
		{"mochi's decoder panics", append(rawHello(1), 0x82, 6, 0, 1, 0, 9, 1, 'a'), 1, &malformedError{}},
		{"flags that mean nothing", append(rawHello(1), 0xC1, 0), 1, &malformedError{}},
		{"cut short", append(rawHello(1), 0x30, 20, 0), 1, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := countPackets(inboundOf(bytes.NewReader(tt.in), 1500, 1000))
			if n != tt.n {
				t.Errorf("%d packets, want %d", n, tt.n)
			}
			switch want := tt.err.(type) {
			case *tooLargeError:
				if !errors.As(err, &want) {
					t.Errorf("err %v", err)
				}
			case *malformedError:
				if !errors.As(err, &want) {
					t.Errorf("err %v", err)
				}
			case error:
				if !errors.Is(err, want) {
					t.Errorf("err %v, want %v", err, want)
				}
			}
		})
	}
}

// countPackets reads to the end.
func countPackets(in *inbound) (n int, err error) {
	for {
		if err := in.await(); err != nil {
			return n, err
		}
		if _, err := in.next(); err != nil {
			return n, err
		}
		n++
	}
}

// TestInboundBuffers: what is sent arrives whole, whatever its size and however
// it is cut, and a connection that is silent again holds no borrowed buffer.
func TestInboundBuffers(t *testing.T) {
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "by the byte": iotest.OneByteReader, "by halves": iotest.HalfReader,
	} {
		t.Run(name, func(t *testing.T) {
			var all bytes.Buffer
			all.Write(rawHello(3))
			sizes := []int{0, 1, idleBuffer - 4, idleBuffer, idleBuffer + 1, lentBuffer - 5, lentBuffer, 3 * lentBuffer, 7}
			for i, n := range sizes {
				all.WriteByte(0x30)
				all.Write(length(3 + n))
				all.Write([]byte{0, 1, 'a' + byte(i)})
				all.Write(bytes.Repeat([]byte{byte(i)}, n))
				all.Write([]byte{0x40, 2, 0, byte(i)})
			}
			for range 3 * idleBuffer {
				all.Write([]byte{0xC0, 0})
			}
			in := inboundOf(cut(&all), 1<<20, 1000)
			if _, err := in.next(); err != nil {
				t.Fatal(err)
			}
			in.version = 4
			for i, n := range sizes {
				pk, err := in.next()
				if err != nil || pk.TopicName != string(rune('a'+i)) || !bytes.Equal(pk.Payload, bytes.Repeat([]byte{byte(i)}, n)) {
					t.Fatalf("PUBLISH of %d bytes: %q, %d bytes, %v", n, pk.TopicName, len(pk.Payload), err)
				}
				ack, err := in.next()
				if err != nil || ack.FixedHeader.Type != packets.Puback || ack.PacketID != uint16(i) {
					t.Fatalf("PUBACK %d: %+v, %v", i, ack.FixedHeader, err)
				}
			}
			if n, err := countPackets(in); n != 3*idleBuffer || !errors.Is(err, io.EOF) {
				t.Errorf("%d PINGREQs, %v", n, err)
			}
			if in.borrowed != nil && in.end <= idleBuffer {
				_ = in.fill()
			}
			if in.borrowed != nil {
				t.Error("a buffer is still borrowed")
			}
		})
	}
}

// FuzzInbound: however the bytes are cut into reads, the same packets come with
// the same end.
func FuzzInbound(f *testing.F) {
	f.Add(append(rawHello(1), 0xC0, 0, 0x30, 0xff, 0x7f), uint8(1))
	f.Add([]byte{0x10, 0x80, 0x80, 0x80, 0x80, 1}, uint8(3))
	f.Add([]byte{0x30, 0}, uint8(2))
	f.Add(append(rawHello(4), 0x82, 1, 0), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		n, err := countPackets(inboundOf(bytes.NewReader(in), 512, 64))
		m, cutErr := countPackets(inboundOf(&steps{in, int(step%7) + 1}, 512, 64))
		if n != m || (err == nil) != (cutErr == nil) || err.Error() != cutErr.Error() {
			t.Fatalf("whole: %d, %v; cut: %d, %v", n, err, m, cutErr)
		}
	})
}

// steps reads a few bytes at a time.
type steps struct {
	rest []byte
	size int
}

func (s *steps) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(s.size, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}
