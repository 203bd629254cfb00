package localbroker

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// frame is a packet of less than 128 bytes.
func frame(first byte, body string) []byte {
	return append([]byte{first, byte(len(body))}, body...)
}

// malformedConnects are CONNECTs that MQTT forbids, by version, and lawful ones
// beside them.
func malformedConnects() []struct {
	name    string
	version byte
	flags   byte
	tail    string // properties of MQTT 5, and the payload
	ok      bool
} {
	return []struct {
		name    string
		version byte
		flags   byte
		tail    string
		ok      bool
	}{
		{"plain", 4, 0x02, "\x00\x01d", true},
		{"plain", 5, 0x02, "\x00\x00\x01d", true},
		{"Will QoS without a will", 4, 0x0A, "\x00\x01d", false},
		{"Will QoS without a will", 5, 0x0A, "\x00\x00\x01d", false},
		{"Will Retain without a will", 4, 0x22, "\x00\x01d", false},
		{"Will Retain without a will", 5, 0x22, "\x00\x00\x01d", false},
		{"a password and no user", 4, 0x42, "\x00\x01d\x00\x01p", false},
		{"a password and no user", 5, 0x42, "\x00\x00\x01d\x00\x01p", true},
		{"a user and a password", 4, 0xC2, "\x00\x01d\x00\x01u\x00\x01p", true},
		{"more than its payload", 4, 0x02, "\x00\x01djunk", false},
		{"more than its payload", 5, 0x02, "\x00\x00\x01djunk", false},
		{"more than its will", 5, 0x06, "\x00\x00\x01d\x00\x00\x01t\x00\x01p!", false},
		{"a will", 5, 0x06, "\x00\x00\x01d\x00\x00\x01t\x00\x01p", true},
		{"a will", 4, 0x06, "\x00\x01d\x00\x01t\x00\x01p", true},
		{"Receive Maximum 0", 5, 0x02, "\x03\x21\x00\x00\x00\x01d", false},
		{"Maximum Packet Size 0", 5, 0x02, "\x05\x27\x00\x00\x00\x00\x00\x01d", false},
		{"Request Problem Information 2", 5, 0x02, "\x02\x17\x02\x00\x01d", false},
		{"Request Response Information 2", 5, 0x02, "\x02\x19\x02\x00\x01d", false},
		{"Session Expiry twice", 5, 0x02, "\x0a\x11\x00\x00\x00\x05\x11\x00\x00\x00\x05\x00\x01d", false},
		{"two User Properties", 5, 0x02, "\x0e\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01b\x00\x01d", true},
		{"properties that end in the middle of one", 5, 0x02, "\x03\x11\x00\x00\x00\x05\x00\x01d", false},
		{"Will Delay twice", 5, 0x06, "\x00\x00\x01d\x0a\x18\x00\x00\x00\x05\x18\x00\x00\x00\x05\x00\x01t\x00\x01p", false},
	}
}

// TestMalformedConnect: a CONNECT that MQTT forbids is not let in (B103).
func TestMalformedConnect(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	for _, tt := range malformedConnects() {
		d := dial(t, h.addr(), tt.version)
		if _, err := d.Write(frame(0x10, "\x00\x04MQTT"+string([]byte{tt.version, tt.flags})+"\x00\x3c"+tt.tail)); err != nil {
			t.Fatal(err)
		}
		pk, err := d.read()
		if in := err == nil && pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == 0; in != tt.ok {
			t.Errorf("%s, level %d: let in: %v (%v, code %#x)", tt.name, tt.version, in, err, pk.ReasonCode)
		}
	}
}

// malformedPackets are what MQTT 5 forbids a client that is connected, and lawful
// packets beside them: code 0.
func malformedPackets() []struct {
	name string
	raw  []byte
	code byte
} {
	return []struct {
		name string
		raw  []byte
		code byte
	}{
		{"SUBSCRIBE", frame(0x82, "\x00\x01\x00\x00\x01t\x2d"), 0},
		{"SUBSCRIBE with reserved bits", frame(0x82, "\x00\x01\x00\x00\x01t\xc1"), 0x81},
		{"Retain Handling 3", frame(0x82, "\x00\x01\x00\x00\x01t\x31"), 0x82},
		{"Retain Handling 3 of the second filter", frame(0x82, "\x00\x01\x00\x00\x01t\x01\x00\x01u\x31"), 0x82},
		{"a filter without options", frame(0x82, "\x00\x01\x00\x00\x01t"), 0x81},
		{"Payload Format 1", frame(0x30, "\x00\x01t\x02\x01\x01x"), 0},
		{"Payload Format 2", frame(0x30, "\x00\x01t\x02\x01\x02x"), 0x82},
		{"Topic Alias twice", frame(0x32, "\x00\x01t\x00\x01\x06\x23\x00\x01\x23\x00\x01x"), 0x82},
		{"a property that goes on in the payload", frame(0x30, "\x00\x01t\x03\x03\x00\x05hello"), 0x81},
		{"UNSUBSCRIBE with a property of CONNECT", frame(0xA2, "\x00\x01\x02\x17\x01\x00\x01t"), 0x81},
		{"PINGREQ", frame(0xC0, ""), 0},
		{"PINGREQ with a body", frame(0xC0, "x"), 0x81},
		{"AUTH", frame(0xF0, ""), 0x82},
		{"AUTH with a body", frame(0xF0, "\x18\x00"), 0x82},
		{"PUBACK with two Reason Strings", frame(0x40, "\x00\x01\x00\x08\x1f\x00\x01a\x1f\x00\x01b"), 0x82},
		{"Session Expiry twice", frame(0xE0, "\x00\x0a\x11\x00\x00\x00\x05\x11\x00\x00\x00\x05"), 0x82},
	}
}

// TestMalformedPackets: who sends one is told so (B103, B104, B47).
func TestMalformedPackets(t *testing.T) {
	h := open(t, people{}, plain(profileAWSEdge))
	for _, tt := range malformedPackets() {
		t.Run(tt.name, func(t *testing.T) {
			d := h.join(5, "d")
			d.tb = t
			if _, err := d.Write(tt.raw); err != nil {
				t.Fatal(err)
			}
			if tt.code != 0 {
				d.expectGoodbye(tt.code)
				return
			}
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
			for {
				pk, err := d.read()
				if err != nil {
					return // as it asked
				}
				if pk.FixedHeader.Type == packets.Disconnect {
					t.Fatalf("DISCONNECT %#x", pk.ReasonCode)
				}
			}
		})
	}
}

// TestDisconnectOfOneByte: a reason code without properties counts: the will is
// published for 0x04 (B165).
func TestDisconnectOfOneByte(t *testing.T) {
	for code, want := range map[byte]int{0: 0, 4: 1} {
		h := open(t, people{}, plain(profileAWSEdge))
		d := h.join(5, "d", withWill)
		if _, err := d.Write([]byte{0xE0, 1, code}); err != nil {
			t.Fatal(err)
		}
		d.expectEnd()
		receive(t, "the end", h.ended)
		if got := h.walk.topics(); len(got) != want {
			t.Errorf("code %d: %q", code, got)
		}
	}
}
