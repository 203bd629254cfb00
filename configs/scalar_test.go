package configs

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "-1s": -time.Second, " 5ms ": 5 * time.Millisecond,
	} {
		if got, fault := parseDuration(text); fault != nil || got != want {
			t.Errorf("%q is %v, %+v, want %v", text, got, fault, want)
		}
	}
	for _, text := range []string{"", "5", "1.5", "d", "5 s", "1d5", "1d-1h", "99999d99999999h", "2562048h", "s", "1w", "-1d"} {
		if got, fault := parseDuration(text); fault == nil || fault.code != codeDuration {
			t.Errorf("%q is %v, %+v", text, got, fault)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Minute: "1h30m", 168 * time.Hour: "168h", 10 * time.Minute: "10m", 1500 * time.Millisecond: "1.5s", time.Hour + time.Second: "1h0m1s",
		10*time.Hour + 10*time.Minute: "10h10m", 20 * time.Hour: "20h", 100 * time.Second: "1m40s",
	} {
		got := formatDuration(d)
		if back, fault := parseDuration(got); got != want || fault != nil || back != d {
			t.Errorf("%v is written %q, want %q, and read as %v", d, got, want, back)
		}
	}
}

// Types that read their own text are asked, and refuse with a code.
func TestTextTypes(t *testing.T) {
	var a netip.Addr
	v := reflect.ValueOf(&a).Elem()
	if !isScalar(v.Type()) {
		t.Fatal("a type with UnmarshalText is one value")
	}
	if fault := setScalar(v, "10.0.0.1"); fault != nil || a.String() != "10.0.0.1" {
		t.Errorf("%v, %+v", a, fault)
	}
	if fault := setScalar(v, "ten"); fault == nil || fault.code != codeValue {
		t.Errorf("%+v", fault)
	}
}

func TestNumbers(t *testing.T) {
	var n struct {
		I int8
		U uint8
		F float64
		B bool
	}
	v := reflect.ValueOf(&n).Elem()
	for i, c := range []struct{ good, bad, code string }{
		{"-128", "128", codeInteger}, {"255", "-1", codeInteger}, {"1e3", "NaN", codeNumber}, {"true", "yes", codeBoolean},
	} {
		if fault := setScalar(v.Field(i), c.good); fault != nil {
			t.Errorf("%q: %+v", c.good, fault)
		}
		if fault := setScalar(v.Field(i), c.bad); fault == nil || fault.code != c.code {
			t.Errorf("%q: %+v", c.bad, fault)
		}
	}
	if n.I != -128 || n.U != 255 || n.F != 1000 || !n.B {
		t.Errorf("got %+v", n)
	}
}

func TestClosest(t *testing.T) {
	known := []string{"durability", "commit_delay", "max_size", "tls", "ttl"}
	for word, want := range map[string]string{
		"durabilty": "durability", "commit-delay": "commit_delay", "maxsize": "max_size", "TTL": "ttl", "tsl": "tls", "colour": "", "x": "", "": "",
	} {
		if got := closest(word, known); got != want {
			t.Errorf("%q is closest to %q, want %q", word, got, want)
		}
	}
}
