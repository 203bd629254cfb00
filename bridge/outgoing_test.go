package bridge

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func storedFor(mode OriginMode, payload string, user ...UserProperty) *Stored {
	to := Receiver{Queue: "up/aws/all", Topic: "site/dt/a", QoS: 1, Origin: mode}
	r := &Record{
		Message: Message{Topic: "dt/a", Payload: []byte(payload), Retain: true, Properties: Properties{User: user, ContentType: "text/x"}},
		Origin: Origin{
			Device: "pump-1", Thing: "pump", ID: MessageID{15: 0xab}, Hops: 2,
			Instant: Instant{Wall: time.Date(2026, 11, 20, 12, 0, 0, 500, time.FixedZone("", 3600)), Synced: true},
		},
		Receivers: []Receiver{to},
	}
	return &Stored{Seq: 1, Record: r, Receiver: &r.Receivers[0]}
}

func TestOutgoingCarriesOriginAsUserProperties(t *testing.T) {
	s := storedFor(OriginUserProperties, "x", UserProperty{"k", "v"}, UserProperty{PropDevice, "someone-else"}, UserProperty{PropHops, "0"})
	m := Outgoing(s)
	want := []UserProperty{
		{"k", "v"}, {PropDevice, "pump-1"}, {PropThing, "pump"}, {PropID, "000000000000000000000000000000ab"},
		{PropAccepted, "2026-11-20T11:00:00.000000500Z"}, {PropClock, "synchronised"}, {PropHops, "3"},
	}
	if !reflect.DeepEqual(m.User, want) {
		t.Errorf("user properties %v, want %v", m.User, want)
	}
	if m.Topic != "site/dt/a" || m.QoS != 1 || m.Retain || string(m.Payload) != "x" || m.ContentType != "text/x" {
		t.Errorf("message %+v does not follow its receiver", m)
	}
	if len(s.User) != 3 || s.User[1].Value != "someone-else" || s.Topic != "dt/a" {
		t.Errorf("the stored record was changed: %+v", s.Record)
	}
}

// Bare adds nothing to a device's own message, and does not hide what is counted.
func TestBareOrigin(t *testing.T) {
	s := storedFor(OriginBare, "x", UserProperty{"k", "v"}, UserProperty{PropDevice, "someone-else"})
	if m, want := Outgoing(s), []UserProperty{{"k", "v"}, {PropHops, "3"}}; !reflect.DeepEqual(m.User, want) {
		t.Errorf("what has passed two gateways has %v, want %v", m.User, want)
	}
	s = storedFor(OriginBare, "x", UserProperty{PropHops, "0"})
	s.Hops = 0
	if m := Outgoing(s); len(m.User) > 0 || string(m.Payload) != "x" {
		t.Errorf("a device's own message goes with %v and %q", m.User, m.Payload)
	}
}

func TestOutgoingWithoutOriginStillCountsHops(t *testing.T) {
	m := Outgoing(storedFor(OriginNone, "x", UserProperty{PropID, "forged"}))
	if want := []UserProperty{{PropHops, "3"}}; !reflect.DeepEqual(m.User, want) {
		t.Errorf("user properties %v, want %v", m.User, want)
	}
}

func TestOutgoingNamesAnUnsynchronisedClock(t *testing.T) {
	s := storedFor(OriginUserProperties, "x")
	s.Synced = false
	m := Outgoing(s)
	if v, _ := m.UserValue(PropClock); v != "unsynchronised" {
		t.Errorf("%s = %q", PropClock, v)
	}
}

func TestEnvelope(t *testing.T) {
	for _, c := range []struct{ name, payload, want, encoding string }{
		{"object", `{"v": 1.50}`, `{"v":1.50}`, ""},
		{"number keeps its digits", `12345678901234567890`, `12345678901234567890`, ""},
		{"as short as it came", `"<a&b>"`, `"<a&b>"`, ""},
		{"text", "21.5 C", `"` + base64.StdEncoding.EncodeToString([]byte("21.5 C")) + `"`, "base64"},
		{"JSON that is not UTF-8", "\"\xff\"", `"Iv8i"`, "base64"},
		{"empty", "", `""`, "base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Outgoing(storedFor(OriginEnvelope, c.payload))
			var got struct {
				Device, Thing, ID, Accepted, Clock, Topic, Encoding string
				Payload                                             json.RawMessage
			}
			if err := json.Unmarshal(m.Payload, &got); err != nil {
				t.Fatalf("%s: %v", m.Payload, err)
			}
			if string(got.Payload) != c.want || got.Encoding != c.encoding {
				t.Errorf("payload %s, encoding %q; want %s, %q", got.Payload, got.Encoding, c.want, c.encoding)
			}
			if got.Device != "pump-1" || got.Thing != "pump" || got.Topic != "dt/a" || got.Clock != "synchronised" ||
				got.Accepted != "2026-11-20T11:00:00.000000500Z" || !strings.HasSuffix(got.ID, "ab") {
				t.Errorf("origin %+v", got)
			}
			if m.ContentType != "application/json" {
				t.Errorf("content type %q", m.ContentType)
			}
		})
	}
}

func TestEnvelopeLeavesTheDeletionOfRetainedAlone(t *testing.T) {
	s := storedFor(OriginEnvelope, "")
	s.Receiver.Retain = true
	if m := Outgoing(s); len(m.Payload) != 0 || !m.Retain {
		t.Errorf("got %q, retain %v: an empty retained payload must stay empty", m.Payload, m.Retain)
	}
}
