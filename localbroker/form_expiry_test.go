package localbroker

import (
	"bytes"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestLeastExpiry: a Message Expiry Interval of 0 becomes 1 (B97), wherever it
// stands among the properties; nothing else of a packet changes, a payload that
// looks like one above all.
func TestLeastExpiry(t *testing.T) {
	const zero, one = "\x02\x00\x00\x00\x00", "\x02\x00\x00\x00\x01"
	var (
		format = "\x01\x01"
		kind   = "\x03\x00\x04text"
		reply  = "\x08\x00\x01r"
		data   = "\x09\x00\x05" + zero
		alias  = "\x23\x00\x02"
		user   = "\x26\x00\x05" + zero + "\x00\x05" + zero
		empty  = "\x26\x00\x00\x00\x00"
		number = "\x0b\x80\x01"
	)
	tests := []struct{ name, before, interval, after, want string }{
		{"alone", "", zero, "", one},
		{"after all others", format + kind + reply + data + alias + user + empty + number, zero, "", one},
		{"before all others", "", zero, format + kind + reply + data + alias + user, one},
		{"an interval of 256 stays", kind, "\x02\x00\x00\x01\x00", user, "\x02\x00\x00\x01\x00"},
		{"none", format + user, "", empty, ""},
		{"no properties at all", "", "", "", ""},
		{"cut short", "", "\x02\x00\x00", "", "\x02\x00\x00"},
	}
	for _, tt := range tests {
		for _, qos := range []byte{0, 1} {
			body := func(interval string) []byte {
				properties := tt.before + interval + tt.after
				b := []byte("\x00\x05a/" + "\x02\x00\x00")
				if qos > 0 {
					b = append(b, 0, 9)
				}
				b = append(b, byte(len(properties))) // all are below 128 bytes
				return append(append(b, properties...), zero+zero...)
			}
			got := body(tt.interval)
			_ = form(packets.Publish<<4|qos<<1, 5, got)
			if !bytes.Equal(got, body(tt.want)) {
				t.Fatalf("%s, QoS %d:\n got %x\nwant %x", tt.name, qos, got, body(tt.want))
			}
			for cut := range got { // what is cut short is left to the codec
				_ = form(packets.Publish<<4|qos<<1, 5, body(tt.interval)[:cut])
			}
		}
	}
}

// TestLeastWillExpiry: the same for a will of MQTT 5; the properties of CONNECT
// itself and the will of 3.1.1 are left alone.
func TestLeastWillExpiry(t *testing.T) {
	connect := func(level, flags byte, interval string) []byte {
		b := []byte("\x00\x04MQTT" + string(rune(level)) + string(rune(flags)) + "\x00\x3c")
		b = append(b, "\x05\x11\x00\x00\x00\x00"...) // Session Expiry 0
		b = append(b, "\x00\x01d"...)
		will := "\x18\x00\x00\x00\x00\x03\x00\x01t" + interval
		b = append(append(b, byte(len(will))), will...)
		return append(b, "\x00\x01t\x00\x05\x02\x00\x00\x00\x00"...)
	}
	const zero, one = "\x02\x00\x00\x00\x00", "\x02\x00\x00\x00\x01"
	for _, tt := range []struct {
		name         string
		level, flags byte
		want         string
	}{{"a will", 5, 6, one}, {"no will", 5, 2, zero}, {"3.1.1", 4, 6, zero}} {
		got := connect(tt.level, tt.flags, zero)
		if _ = form(packets.Connect<<4, 0, got); !bytes.Equal(got, connect(tt.level, tt.flags, tt.want)) {
			t.Errorf("%s:\n got %x\nwant %x", tt.name, got, connect(tt.level, tt.flags, tt.want))
		}
		for cut := range got {
			_ = form(packets.Connect<<4, 0, connect(5, 6, zero)[:cut])
		}
	}
}
