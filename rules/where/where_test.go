package where

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func press() Message {
	m := &bridge.Message{Topic: "dt/press-7/state", Payload: []byte(`{"temp":21,"alarms":["hot","loud"],"data":{"on":true},"text":"aaaaaaaaaaaaaaaaaaaaaaaa"}`), QoS: 1}
	m.ContentType = "application/json"
	m.User = []bridge.UserProperty{{Key: "line", Value: "3"}, {Key: "line", Value: "4"}}
	return Message{Message: m, ClientID: "press-7", Thing: "press"}
}

func TestHolds(t *testing.T) {
	for text, want := range map[string]bool{
		`payload.temp > 20`:                                   true,
		`payload.temp == 21 && payload.temp < 21.5`:           true,
		`payload.temp > 20.5`:                                 true,
		`"hot" in payload.alarms`:                             true,
		`payload.alarms.exists(a, a.startsWith("q"))`:         false,
		`has(payload.humidity)`:                               false,
		`has(payload.humidity) && payload.humidity > 3`:       false,
		`payload.data.on`:                                     true,
		`levels[1] == client_id && thing == "press"`:          true,
		`size(levels) == 3 && size < 100 && qos == 1`:         true,
		`properties["line"] == "4"`:                           true,
		`"none" in properties`:                                false,
		`topic.matches("^dt/[a-z]+-[0-9]/state$") && !retain`: true,
		`content_type == "application/json"`:                  true,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.Holds(press()); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
}

func TestBinaryPayload(t *testing.T) {
	c, err := Compile(`payload.t > 20 && payload["u"] == "C"`)
	if err != nil {
		t.Fatal(err)
	}
	m := press()
	m.Payload = []byte("\xa2\x61t\x15\x61u\x61C") // {"t": 21, "u": "C"}
	if got, err := c.Holds(m); err != nil || !got {
		t.Errorf("CBOR: %v, %v", got, err)
	}
}

// A payload's numbers are doubles, whether it is JSON or CBOR, so the same arithmetic
// decides both; what a double would round is compared as it is.
func TestArithmetic(t *testing.T) {
	for text, want := range map[string]bool{
		`payload.n + 1.0 > 5.0`:                    true,
		`payload.n * 9.0 / 5.0 + 32.0 > 80`:        false,
		`int(payload.n) % 2 == 0`:                  true,
		`payload.n - payload.l[0] == 7`:            true,
		`-payload.n < -5`:                          true,
		`payload.m.k * 2.0 == -6.0`:                true,
		`payload.n == 6 && payload.n in [5, 6]`:    true,
		`size + 1 > 2 && (size + qos) % 2 >= 0`:    true,
		`payload.l.exists_one(x, x == -1)`:         true,
		`payload.l.map(x, x + 1.0).size() == 1`:    true,
		`payload.big == 9223372036854775807`:       true,
		`double(payload.big) / 2.0 > 1.0`:          true,
		`payload.s + "b" == "ab" && payload.n < 7`: true,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, payload := range []string{
			`{"n":6,"l":[-1],"m":{"k":-3},"s":"a","big":9223372036854775807}`,
			"\xa5\x61n\x06\x61l\x81\x20\x61m\xa1\x61k\x22\x61s\x61a\x63big\x1b\x7f\xff\xff\xff\xff\xff\xff\xff",
		} {
			if strings.Contains(text, "big ==") && payload[0] == '{' {
				continue // JSON has rounded it
			}
			m := press()
			m.Payload = []byte(payload)
			if got, err := c.Holds(m); err != nil || got != want {
				t.Errorf("%s of %q is %v, %v", text, payload, got, err)
			}
		}
	}
}

// What cannot be decided is an error, whatever the message.
func TestUndecided(t *testing.T) {
	for text, part := range map[string]string{
		`payload.humidity > 3`: "no such key",
		`payload.temp.deeper`:  "",
		`payload.temp`:         "not true or false",
		`levels[7] == "x"`:     "index",
		`"x" in properties && false || properties["x"] == "y"`: "no such key",
		`levels.all(a, levels.all(b, levels.all(c, levels.all(d, levels.all(e, levels.all(f, levels.all(g, levels.all(h, size(a+b+c+d+e+f+g+h) > 0))))))))`: "cost",
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.Holds(press()); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	c, err := Compile(`payload.v > 3`)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"", "plain", "{", "\xff\x00"} {
		m := press()
		m.Payload = []byte(payload)
		if got, err := c.Holds(m); err == nil || !strings.Contains(err.Error(), "neither JSON nor CBOR") {
			t.Errorf("%q is %v, %v", payload, got, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for text, part := range map[string]string{
		"payload.temp >":             "at character",
		"temperature > 3":            "undeclared reference to 'temperature'",
		"size + 1":                   "is of type int, not true or false",
		`topic > 3`:                  "at character 7",
		strings.Repeat("x", 5000):    "longer than 4096",
		"payload.map(x, payload) ==": "at character",

		"payload.temp + 1 > 5":            "at character 14: numbers of a payload are doubles",
		"payload.temp * 9 / 5 + 32 > 80":  "write 1.0 for 1",
		"payload.n % 2 == 0":              "write int(payload.n) % 2",
		"payload.n % payload.m == 0":      "write int(payload.n) % 2",
		"3 - payload.n > 0":               "doubles",
		"size - payload.n > 0":            "double(…) around what is whole",
		"payload.n + 1u > 5":              "doubles",
		"payload.l.exists(x, x * 2 > 10)": "doubles",
		"payload.a + payload.b + 1 > 2":   "doubles",

		"true":                   "holds for every message",
		"1 < 2 || payload.t > 3": "holds for every message",
		"false":                  "holds for no message",
		"qos > 0 && 'a' == 'b'":  "holds for no message",
		"[1, 2].all(x, x > 0)":   "holds for every message",
		"1 / 0 == 1":             "can be decided of no message",
	} {
		if _, err := Compile(text); err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: %v, want %q in one line", text, err, part)
		}
	}
}

func BenchmarkHolds(b *testing.B) {
	for name, text := range map[string]string{"topic": `levels[1] == "press-7"`, "payload": `payload.temp > 20`} {
		b.Run(name, func(b *testing.B) {
			c, err := Compile(text)
			if err != nil {
				b.Fatal(err)
			}
			m := press()
			for b.Loop() {
				if ok, err := c.Holds(m); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
