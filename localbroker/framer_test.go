package localbroker

import (
	"bytes"
	"errors"
	"testing"
)

func TestFramer(t *testing.T) {
	connect := []byte{0x10, 2, 0, 0}
	big := append([]byte{0x30, 0x80, 0x10}, make([]byte, 2048)...) // 2 KiB
	tests := []struct {
		name string
		in   []byte
		pass int // bytes before the refused packet
		err  any
	}{
		{"a CONNECT", connect, 4, nil},
		{"two packets", append(bytes.Clone(connect), 0xC0, 0), 6, nil},
		{"not CONNECT first", []byte{0x30, 2, 0, 0}, 0, errFirstPacket},
		{"too large after a good one", append(bytes.Clone(connect), big...), 4, &tooLargeError{}},
		{"QoS 3", append(bytes.Clone(connect), 0x36, 2, 0, 0), 4, errQoS3},
		{"the length never ends", append(bytes.Clone(connect), 0x30, 0xff, 0xff, 0xff, 0xff), 4, errLength},
		{"a CONNECT that may not come now", append([]byte{0x10, 0x80, 0x08}, make([]byte, 1024)...), 0, errGreetings},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := framer{largest: 1500, first: func(n int) bool { return n <= 1000 }}
			n, err := f.pass(tt.in)
			if n != tt.pass {
				t.Errorf("passed %d, want %d", n, tt.pass)
			}
			switch want := tt.err.(type) {
			case nil:
				if err != nil {
					t.Error(err)
				}
			case *tooLargeError:
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

// FuzzFramer: however the bytes are cut into reads, the same number passes with
// the same outcome, up to the header of the refused packet.
func FuzzFramer(f *testing.F) {
	f.Add([]byte{0x10, 2, 0, 0, 0xC0, 0, 0x30, 0xff, 0x7f}, uint8(1))
	f.Add([]byte{0x10, 0x80, 0x80, 0x80, 0x80, 1}, uint8(3))
	f.Add([]byte{0x30, 0}, uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		first := func(n int) bool { return n <= 32 }
		whole := framer{largest: 64, first: first}
		n, err := whole.pass(in)
		cut := framer{largest: 64, first: first}
		size, passed := int(step%7)+1, 0
		var cutErr error
		for rest := in; len(rest) > 0 && cutErr == nil; {
			part := rest[:min(size, len(rest))]
			rest = rest[len(part):]
			var m int
			m, cutErr = cut.pass(part)
			passed += m
		}
		if (err == nil) != (cutErr == nil) {
			t.Fatalf("whole: %v, cut: %v", err, cutErr)
		}
		if passed < n || passed > n+4 {
			t.Fatalf("whole passes %d, cut %d", n, passed)
		}
	})
}
