package payload

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inBinary is a value as CBOR.
func inBinary(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNumber(t *testing.T) {
	deep := map[string]any{"data": map[string]any{"temp": 21.5, "on": true, "n": 7}, "list": []any{1, map[string]any{"v": -3}}}
	for _, c := range []struct {
		field   string
		payload []byte
		want    float64
		ok      bool
	}{
		{"temp", []byte(`{"temp":21.5}`), 21.5, true},
		{"", []byte(`21.5`), 21.5, true},
		{"[1]", []byte(`[1,2]`), 2, true},
		{"a.b[1].c", []byte(`{"a":{"b":[0,{"c":-1e3}]}}`), -1000, true},
		{"m[0][1]", []byte(`{"m":[[1,5]]}`), 5, true},
		{"temp", []byte(`{"temp":"21.5"}`), 0, false},
		{"temp", []byte(`{"temp":null}`), 0, false},
		{"temp", []byte(`[1]`), 0, false},
		{"[9]", []byte(`[1]`), 0, false},
		{"data.temp", inBinary(t, deep), 21.5, true},
		{"data.on", inBinary(t, deep), 1, true},
		{"data.n", inBinary(t, deep), 7, true},
		{"list[1].v", inBinary(t, deep), -3, true},
		{"t", inBinary(t, map[string]any{"t": float32(0.5)}), 0.5, true},
		{"t", inBinary(t, map[string]any{"t": math.NaN()}), 0, false},
	} {
		f, err := ParseField(c.field)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Decode(c.payload)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := f.Number(v); got != c.want || ok != c.ok {
			t.Errorf("%q of %q is %v, %v; want %v, %v", c.field, c.payload, got, ok, c.want, c.ok)
		}
	}
}

func TestUnreadable(t *testing.T) {
	for _, payload := range []string{"", "x", "{", "1 2", "\xff", "\xa1\x61", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"} {
		if v, err := Decode([]byte(payload)); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%q is %v, %v", payload, v, err)
		}
	}
}

func TestParseFieldRefuses(t *testing.T) {
	for _, text := range []string{"a..b", "a[", "a[x]", "a[-1]", "a[0]b", ".a", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"} {
		if _, err := ParseField(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// What is decoded takes many times the bytes that it had: of a payload that is larger
// than AWS takes the number of its values is bounded, and long texts in it are not.
func TestManyValues(t *testing.T) {
	const large = 1600 << 10
	list := func(head, one, end string, size int) []byte {
		return []byte(head + strings.Repeat(one, (size-len(head)-len(end))/len(one)) + end)
	}
	for name, c := range map[string]struct {
		payload []byte
		many    bool
	}{
		"lists":                     {list("[", "[],", "0]", large), true},
		"objects":                   {list("[", `{"a":0},`, "0]", large), true},
		"lists in lists":            {list("[", strings.Repeat("[", 999)+strings.Repeat("]", 999)+",", "0]", large), true},
		"as many as AWS takes":      {list("[", "0,", "0]", 128<<10), false},
		"as many empty lists":       {list("[", "[],", "0]", 128<<10), false},
		"commas in a text":          {list(`["`, `,\\,\",[{`, `"]`, large), false},
		"binary lists":              {list("\x9f", "\x80", "\xff", large), true},
		"binary objects":            {list("\x9f", "\xa1\x00\x00", "\xff", large), true},
		"as many as AWS takes, too": {list("\x9f", "\x01", "\xff", 128<<10-1), false},
		"binary bytes":              {append([]byte{0x82, 0x5a, 0, 0x18, 0, 0}, append(make([]byte, 0x180000), 0)...), false},
		"a cut binary text":         {[]byte{0x82, 0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, false},
		"a cut binary length":       {[]byte{0x82, 0x7b, 0xff}, false},
	} {
		_, err := Decode(c.payload)
		if errors.Is(err, ErrTooMany) != c.many || !c.many && err != nil && !strings.HasPrefix(name, "a cut") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
