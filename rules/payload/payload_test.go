package payload

import (
	"errors"
	"math"
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
