package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestRemainingLength(t *testing.T) {
	// The borders of MQTT 3.1.1, table 2.4.
	for n, want := range map[int][]byte{
		0: {0}, 127: {0x7f}, 128: {0x80, 1}, 16_383: {0xff, 0x7f}, 16_384: {0x80, 0x80, 1},
		2_097_151: {0xff, 0xff, 0x7f}, 2_097_152: {0x80, 0x80, 0x80, 1},
	} {
		if got := appendRemaining(nil, n); !bytes.Equal(got, want) {
			t.Errorf("%d is %x, want %x", n, got, want)
		}
	}
}

func TestRingNumbersItsMessages(t *testing.T) {
	const window = 3
	r := newRing(7, "dt/x/t", window)
	for from := uint64(0); from < 20; from += 2 {
		b := r.take(from, 2)
		for n := from; n < from+2; n++ {
			kind, body, size, err := splitPacket(b)
			if err != nil || kind != packetPublish|flagQoS1 {
				t.Fatalf("message %d: kind %#x, %v", n, kind, err)
			}
			b = b[size:]
			if topic := string(body[2:8]); topic != "dt/x/t" {
				t.Errorf("message %d: topic %q", n, topic)
			}
			if id := binary.BigEndian.Uint16(body[8:]); id != uint16(n%window)+1 {
				t.Errorf("message %d: packet id %d", n, id)
			}
			payload := body[10:]
			if len(payload) != payloadSize || binary.BigEndian.Uint32(payload) != 7 || binary.BigEndian.Uint64(payload[payloadNumber:]) != n {
				t.Errorf("message %d: payload of %d bytes begins %x", n, len(payload), payload[:payloadHeader])
			}
		}
		if len(b) != 0 {
			t.Errorf("%d bytes are left", len(b))
		}
	}
}

func TestSplitPacketWaitsForTheRest(t *testing.T) {
	whole := newRing(0, "dt/x/t", 1).take(0, 1)
	for n := range whole {
		if _, _, _, err := splitPacket(whole[:n]); !errors.Is(err, errShort) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, _, _, err := splitPacket([]byte{packetPublish, 0x80, 0x80, 0x80, 0x80, 1}); err == nil || errors.Is(err, errShort) {
		t.Errorf("a remaining length of five bytes: %v", err)
	}
}

func FuzzSplitPacket(f *testing.F) {
	f.Add(connectFrame("probe"))
	f.Add(subscribeFrame("dt/#"))
	f.Add([]byte{packetPubAck, 2, 0, 1, packetPubAck})
	f.Add([]byte{packetPublish, 0xff, 0xff, 0xff, 0x7f, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, body, size, err := splitPacket(b)
		if err != nil {
			return
		}
		again := append(appendRemaining([]byte{kind}, len(body)), body...)
		if size > len(b) || kind != b[0] || !bytes.HasSuffix(b[:size], body) || len(again) > size {
			t.Errorf("%x: size %d, body %x", b, size, body)
		}
	})
}
