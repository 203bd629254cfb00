package bridge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// everywhere routes all to one queue.
type everywhere struct{}

func (everywhere) Up(_ *bridge.Principal, m *bridge.Message) ([]bridge.Receiver, []bridge.Turned, error) {
	return []bridge.Receiver{{Queue: "up/aws/all", Topic: m.Topic, QoS: 1, Origin: bridge.OriginUserProperties}}, nil, nil
}
func (everywhere) Down(string, *bridge.Message) ([]bridge.Receiver, error) { return nil, nil }

const fingerprint = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// byCertificate is who presented a certificate, under a client id.
func byCertificate(clientID, thing string) *bridge.Principal {
	return &bridge.Principal{ClientID: clientID, User: fingerprint, CertificateID: fingerprint, Thing: bridge.Thing{Name: thing}, ThingAttached: thing != ""}
}

// The origin that a gateway behind this one gives a message is kept and sent on:
// the first device's. Whoever is not named as one gets nothing by writing the same,
// whatever he calls himself, and neither does one that writes nonsense.
func TestOriginFromBehind(t *testing.T) {
	const id, accepted = "000102030405060708090a0b0c0d0e0f", "2026-03-01T12:00:00.000000001Z"
	first := []bridge.UserProperty{
		{Key: "unit", Value: "bar"}, {Key: bridge.PropDevice, Value: "press-1"}, {Key: bridge.PropThing, Value: "press"},
		{Key: bridge.PropID, Value: id}, {Key: bridge.PropAccepted, Value: accepted}, {Key: bridge.PropClock, Value: "unsynchronised"}, {Key: bridge.PropHops, Value: "1"},
	}
	with := func(key, value string) []bridge.UserProperty {
		out := slices.Clone(first)
		for i := range out {
			if out[i].Key == key {
				out[i].Value = value
			}
		}
		return out
	}
	named := byCertificate("inner", "inner")
	named.ListenerPolicies = []string{} // a listener that lets in by name, and asks for a certificate besides
	for _, c := range []struct {
		name   string
		from   *bridge.Principal
		user   []bridge.UserProperty
		behind []string
		taken  bool
	}{
		{"a gateway by its thing", byCertificate("inner", "inner"), first, []string{"inner"}, true},
		{"a gateway by its certificate", byCertificate("inner-2", ""), first, []string{fingerprint}, true},
		{"nobody is behind", byCertificate("inner", "inner"), first, nil, false},
		{"another device", byCertificate("press-2", "press-2"), first, []string{"inner"}, false},
		{"the gateway's name as client id", byCertificate("inner", ""), first, []string{"inner"}, false},
		{"an anonymous one of its name", &bridge.Principal{ClientID: "inner", User: "inner", Thing: bridge.Thing{Name: "inner"}, ThingAttached: true}, first, []string{"inner"}, false},
		{"a listener that lets in by name", named, first, []string{"inner", fingerprint}, false},
		{"without origin", byCertificate("inner", "inner"), first[:1], []string{"inner"}, false},
		{"a short id", byCertificate("inner", "inner"), with(bridge.PropID, id[2:]), []string{"inner"}, false},
		{"a long id", byCertificate("inner", "inner"), with(bridge.PropID, id+"00"), []string{"inner"}, false},
		{"an id in capitals", byCertificate("inner", "inner"), with(bridge.PropID, strings.ToUpper(id)), []string{"inner"}, false},
		{"no time", byCertificate("inner", "inner"), with(bridge.PropAccepted, "yesterday"), []string{"inner"}, false},
		{"a year that no clock of ours keeps", byCertificate("inner", "inner"), with(bridge.PropAccepted, "9999-01-01T00:00:00.000000000Z"), []string{"inner"}, false},
		{"no quality", byCertificate("inner", "inner"), with(bridge.PropClock, "good"), []string{"inner"}, false},
		{"no device", byCertificate("inner", "inner"), with(bridge.PropDevice, ""), []string{"inner"}, false},
		{"a long device", byCertificate("inner", "inner"), with(bridge.PropDevice, strings.Repeat("x", 129)), []string{"inner"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openSpool(t)
			clock := bridge.NewClock(s.Age, func() bool { return true })
			in := bridge.NewIngest(s, everywhere{}, clock, &noMeter{}, &bridge.DropLog{})
			in.Trust(bridge.Behind{Gateways: c.behind})
			done := make(chan error, 1)
			m := &bridge.Message{Topic: "dt/x", Payload: []byte("1"), QoS: 1, Properties: bridge.Properties{User: c.user}}
			in.Authorized(c.from, m, nil, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			r := stored(t, s, "up/aws/all", 1)[0]
			out := map[string]string{}
			for _, u := range bridge.Outgoing(r).User {
				if _, twice := out[u.Key]; twice {
					t.Errorf("%s is sent twice", u.Key)
				}
				out[u.Key] = u.Value
			}
			if out["unit"] != "bar" {
				t.Error("a property of the device's own is gone")
			}
			if c.taken {
				if r.Device != "press-1" || r.Thing != "press" || r.ID.String() != id || r.Synced || out[bridge.PropAccepted] != accepted || out[bridge.PropClock] != "unsynchronised" || out[bridge.PropHops] != "2" {
					t.Errorf("kept %+v, sent %v", r.Origin, out)
				}
				if r.Boot != clock.Now().Boot || time.Since(r.Wall) < time.Hour {
					t.Errorf("order and age are not by our clock: %+v", r.Instant)
				}
				return
			}
			if r.Device != c.from.Name() || r.Thing != c.from.Thing.Name || r.ID.String() == id || out[bridge.PropDevice] != c.from.Name() || out[bridge.PropAccepted] == accepted || !r.Synced {
				t.Errorf("a forged origin is kept: %+v, sent %v", r.Origin, out)
			}
		})
	}
}
