package payload

import (
	"math"
	"runtime"
	"strings"
	"testing"
)

// hostile are payloads that devices would not send by mistake.
var hostile = []string{
	`{"v":21.5}`, `{"v":1e999}`, `{"a":{"b":[1,2,{"c":true}]}}`, "null", "[", "",
	strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 20_000), "[" + strings.Repeat("{},", 2000) + "{}]",
	"\xa1\x61v\xf9\x7e\x00", // NaN
	"\xa1\x61v\xf9\x7c\x00", // infinity
	"\xa1\x61v\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
	"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",         // a list of 2^63 entries
	"\xbb\x00\x00\x00\x01\x00\x00\x00\x00",         // a map of 2^32
	"\x81\x5b\x00\x00\x00\x7f\xff\xff\xff\xff",     // a text of 512 GB
	strings.Repeat("\x81", 1000) + "\x01",          // deep
	"\x9f" + strings.Repeat("\x9f", 100),           // lists without an end
	"\xa2\x61a\x01\x61a\x02",                       // a key twice
	"\xa1\x81\x01\x02",                             // a list for a key
	"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00", // a number of 65 bits
	"\xd9\xd9\xf7\xa1\x61v\x01",                    // marked as CBOR
	"\xc0\x61x",                                    // no time
}

// FuzzNumber reads what any device may publish. It must end, and find finite
// numbers only.
func FuzzNumber(f *testing.F) {
	for _, text := range hostile {
		f.Add([]byte(text), "v")
		f.Add([]byte(text), ".")
		f.Add([]byte(text), "a.b[2].c")
	}
	f.Fuzz(func(t *testing.T, payload []byte, name string) {
		field, err := ParseField(name)
		if err != nil {
			return
		}
		v, err := Decode(payload)
		if err != nil {
			return
		}
		if n, ok := field.Number(v); ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
			t.Fatalf("%s is %v", field, n)
		}
	})
}

// A payload of n bytes reserves no more than in proportion to them, whatever
// lengths it names: a container without members is a byte or two, and takes some
// tens to hold.
func TestHostilePayloadsReserveLittle(t *testing.T) {
	const base, each = 64 << 10, 400
	for _, text := range append([]string{"[" + strings.Repeat("{},", 40_000) + "{}]", "\x9a\x00\x01\xff\xff" + strings.Repeat("\xa0", 0x1ffff)}, hostile...) {
		payload := []byte(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Decode(payload) // an error or not
		runtime.ReadMemStats(&after)
		if cost := after.TotalAlloc - before.TotalAlloc; cost > base+each*uint64(len(payload)) {
			t.Errorf("%d bytes, %.20q…, reserved %d", len(payload), payload, cost)
		}
	}
}
