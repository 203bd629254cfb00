package where

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// FuzzHolds asks conditions about whatever a device may publish. Each must be
// decided or say why not, within the bound on its cost; none may panic.
func FuzzHolds(f *testing.F) {
	var conditions []*Condition
	for _, text := range []string{
		`payload.temp > 80 && levels[1] == client_id`,
		`has(payload.data) && payload.data[0] >= 1.5`,
		`payload == payload`,
		`payload.all(x, x > 0)`,
		`payload.list.exists(x, payload.list.exists(y, x == y && x != y))`,
		`payload.matches("^(a+)+$") || string(payload).contains(topic)`,
		`properties["k"] == topic || content_type.endsWith("json")`,
		`payload in [1, "a", true] || size > 1000 || qos == 2 || retain`,
		`payload["a"]["b"][0] + 1 < 9223372036854775807`,
		`type(payload) == map && payload.map(k, k).size() > 2`,
		`double(payload.v) / 0.0 > 1.0 || timestamp(string(payload.t)) > timestamp("2026-01-01T00:00:00Z")`,
	} {
		c, err := Compile(text)
		if err != nil {
			f.Fatalf("%s: %v", text, err)
		}
		conditions = append(conditions, c)
	}
	for _, payload := range []string{
		`{"temp":81,"data":[2]}`, `[1,2,3]`, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"`, `{"a":{"b":[9223372036854775807]}}`,
		`{"list":[` + strings.Repeat("1,", 5000) + `1]}`, strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"\xa1\x64temp\xf9\x7e\x00", "\xa1\x64temp\xc2\x41\x01", "\xa1\x01\x02", "\xa1\x64temp\xc1\x1a\x00\x00\x00\x00", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "",
	} {
		f.Add([]byte(payload), "dt/x/t", "v")
	}
	f.Fuzz(func(t *testing.T, payload []byte, topic, value string) {
		m := Message{Message: &bridge.Message{Topic: topic, Payload: payload}, ClientID: "x", Thing: value}
		m.User, m.ContentType = []bridge.UserProperty{{Key: "k", Value: value}, {Key: topic, Value: value}}, value
		for _, c := range conditions {
			if holds, err := c.Holds(m); err != nil && holds {
				t.Fatalf("undecided (%v), and holds", err)
			}
		}
	})
}
