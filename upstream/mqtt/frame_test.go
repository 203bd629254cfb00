package mqtt

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// seeds are one of each packet that a broker sends.
func seeds() [][]byte {
	var out [][]byte
	for _, p := range []packets.Packet{
		&packets.Connack{Properties: &packets.Properties{ReceiveMaximum: of(uint16(100)), MaximumPacketSize: of(uint32(149504))}},
		&packets.Publish{Topic: "a/b", QoS: 1, PacketID: 1, Payload: []byte("x"), Properties: &packets.Properties{User: []packets.User{{Key: "k", Value: "v"}}, CorrelationData: []byte{1}}},
		&packets.Puback{PacketID: 1, ReasonCode: 0x97, Properties: &packets.Properties{ReasonString: "slow down"}},
		&packets.Suback{PacketID: 1, Reasons: []byte{0, 1, 0x87}, Properties: &packets.Properties{}},
		&packets.Unsuback{PacketID: 1, Reasons: []byte{0, 0x11, 0x80}, Properties: &packets.Properties{}},
		&packets.Pingresp{},
		&packets.Disconnect{ReasonCode: 0x8B, Properties: &packets.Properties{ReasonString: "bye"}},
	} {
		var b bytes.Buffer
		_, _ = p.WriteTo(&b)
		out = append(out, b.Bytes())
	}
	return append(out, []byte{0xE0, 0}, []byte{0x40, 2, 0, 1}, []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, []byte{0x90, 3, 0, 1, 0xff})
}

// FuzzFrames reads what a hostile broker might send, as a connection would.
func FuzzFrames(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
		f.Add(append(bytes.Clone(s), s...))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := frames{r: bufio.NewReader(bytes.NewReader(stream))}
		read := 0
		for {
			first, body, size, err := in.next()
			if err != nil {
				break
			}
			if read += size; read > len(stream) {
				t.Fatalf("read %d bytes of %d", read, len(stream))
			}
			if cap(in.body) > maxIncoming {
				t.Fatalf("keeps %d bytes", cap(in.body))
			}
			if kind := first >> 4; kind == packets.PUBACK || kind == packets.PUBREC || kind == packets.PUBCOMP {
				if _, err := decodePuback(kind, body); err != nil {
					break
				}
				continue
			}
			p, err := decode(first, body)
			if err != nil {
				break
			}
			if p, ok := p.(*packets.Publish); ok {
				m := messageOf(p)
				bridge.Hops(m)
			}
			if d, ok := p.(*packets.Disconnect); ok {
				_ = disconnected(d).Error()
			}
			_, _ = connackOf(first, body)
		}
	})
}

// FuzzPublish encodes a message and reads it back.
func FuzzPublish(f *testing.F) {
	f.Add("a/b", []byte("payload"), "text/plain", "answer", []byte{1}, "k", "v", uint32(60), true)
	f.Add("", []byte{}, "", "", []byte{}, "", "", uint32(0), false)
	f.Fuzz(func(t *testing.T, topic string, payload []byte, contentType, response string, correlation []byte, key, value string, expiry uint32, retain bool) {
		for _, s := range []string{topic, contentType, response, string(correlation), key, value} {
			if len(s) > maxString {
				return
			}
		}
		if len(payload) > maxIncoming/2 {
			return
		}
		m := &bridge.Message{Topic: topic, Payload: payload, QoS: 1, Retain: retain, Properties: bridge.Properties{
			HasExpiry: expiry > 0, Expiry: expiry, ContentType: contentType, ResponseTopic: response, CorrelationData: correlation,
			User: []bridge.UserProperty{{Key: key, Value: value}},
		}}
		p := publishOf(m, expiry, false)
		if alias := uint16(len(payload)); alias > 0 && topic != "" { // with a number, and with it alone
			p.numbered(alias, alias%2 == 0)
			if p.bare {
				topic = ""
			}
		}
		wire := p.append(nil, 7)
		if got := p.size(); got != len(wire) {
			t.Fatalf("size %d of a packet of %d bytes", got, len(wire))
		}
		in := frames{r: bufio.NewReader(bytes.NewReader(wire))}
		first, body, size, err := in.next()
		if err != nil || size != len(wire) {
			t.Fatalf("read %d of %d bytes: %v", size, len(wire), err)
		}
		back, err := decode(first, body)
		if err != nil {
			t.Fatal(err)
		}
		got := messageOf(back.(*packets.Publish))
		if got.Topic != topic || !bytes.Equal(got.Payload, payload) || got.QoS != 1 || got.Retain != retain || got.Expiry != expiry || got.HasExpiry != m.HasExpiry ||
			got.ContentType != contentType || got.ResponseTopic != response || !bytes.Equal(got.CorrelationData, correlation) || len(got.User) != 1 || got.User[0] != m.User[0] {
			t.Fatalf("got %+v back from %+v", got, m)
		}
		if _, _, _, err := in.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("bytes left over: %v", err)
		}
	})
}

func TestSizesOnTheWire(t *testing.T) {
	for length, want := range map[int]int{0: 2, 127: 129, 128: 131, 16383: 16386, 16384: 16388, 2097151: 2097155, 2097152: 2097157} {
		if p := (publish{body: length}); p.size() != want {
			t.Errorf("a body of %d makes %d bytes, want %d", length, p.size(), want)
		}
		if got := len(packetOf(0x30, [][]byte{make([]byte, length)})); got != want {
			t.Errorf("a body of %d is written as %d bytes, want %d", length, got, want)
		}
	}
}
