package localbroker

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// told reads the next event, which must come on this topic.
func (d *device) told(topic string) map[string]any {
	d.tb.Helper()
	pk := d.take()
	if pk.TopicName != topic {
		d.tb.Fatalf("an event on %s, want %s: %s", pk.TopicName, topic, pk.Payload)
	}
	var e map[string]any
	if err := json.Unmarshal(pk.Payload, &e); err != nil {
		d.tb.Fatalf("%s: %v", pk.Payload, err)
	}
	return e
}

// has compares an event with what it must have; "" stands for any text, nil for
// nothing.
func has(tb testing.TB, e, want map[string]any) {
	tb.Helper()
	for key, v := range want {
		text, isText := e[key].(string)
		if v == "" && isText && text != "" {
			continue
		}
		if !reflect.DeepEqual(e[key], v) {
			tb.Errorf("%s is %v, want %v", key, e[key], v)
		}
	}
	for key := range e {
		if _, ok := want[key]; !ok {
			tb.Errorf("unexpected %s: %v", key, e[key])
		}
	}
}

// owned has a certificate's thing for everybody.
type owned struct {
	people
	exclusive bool
}

func (o owned) Named(user, clientID string, policies []string) (bridge.Principal, error) {
	p, err := o.people.Named(user, clientID, policies)
	p.Thing, p.ThingAttached, p.ThingExclusive = bridge.Thing{Name: "thing-of-" + clientID}, true, o.exclusive
	p.CertificateID = "0123abcd"
	return p, err
}

func TestB192_Connected(t *testing.T) {
	for _, profile := range []string{profileAWS, profileAWSEdge} {
		for _, version := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s/v%d", profile, version), func(t *testing.T) {
				h := open(t, people{}, plain(profile))
				watcher := h.join(version, "watcher")
				watcher.subscribe(1, "$aws/events/presence/connected/d")
				before := time.Now().UnixMilli()
				h.join(version, "d")
				e := watcher.told("$aws/events/presence/connected/d")
				at, _ := e["timestamp"].(float64)
				if int64(at) < before || int64(at) > time.Now().UnixMilli() {
					t.Errorf("timestamp %v is not now in milliseconds", e["timestamp"])
				}
				has(t, e, map[string]any{
					"clientId": "d", "timestamp": at, "eventType": "connected", "sessionIdentifier": "",
					"principalIdentifier": "lan", "ipAddress": "127.0.0.1", "versionNumber": 0.0,
				})
			})
		}
	}
	t.Run("thing", func(t *testing.T) { // only of a certificate that is bound to it exclusively
		for exclusive, thing := range map[bool]any{true: "thing-of-d", false: nil} {
			h := openWith(t, people{}, func(d *Deps) { d.Identities = owned{people{}, exclusive} }, plain(profileAWS))
			watcher := h.join(5, "watcher")
			watcher.subscribe(1, "$aws/events/presence/connected/d")
			h.join(5, "d")
			e := watcher.told("$aws/events/presence/connected/d")
			if e["thingName"] != thing || e["principalIdentifier"] != "0123abcd" {
				t.Errorf("exclusive %v: %v", exclusive, e)
			}
		}
	})
	t.Run("not in profile mqtt", func(t *testing.T) {
		h := open(t, people{}, plain(profileMQTT))
		watcher := h.join(5, "watcher")
		watcher.subscribe(1, "$aws/events/#")
		h.join(5, "d").expectNothing()
		watcher.expectNothing()
	})
}

func TestB193_Disconnected(t *testing.T) {
	cases := []struct {
		name, reason string
		own          bool
		end          func(h *house, d *device)
	}{
		{"DISCONNECT (B164)", "CLIENT_INITIATED_DISCONNECT", true, func(_ *house, d *device) {
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		}},
		{"cut", "CONNECTION_LOST", false, func(_ *house, d *device) { _ = d.Close() }},
		{"taken over (B19)", "DUPLICATE_CLIENTID", false, func(h *house, d *device) { h.join(d.version, "d") }},
		{"second CONNECT (B18)", "CLIENT_ERROR", false, func(_ *house, d *device) { d.send(hello(d.version, "d")) }},
		{"nine filters (B125)", "CLIENT_ERROR", false, func(_ *house, d *device) {
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1}
			for i := range 9 {
				pk.Filters = append(pk.Filters, packets.Subscription{Filter: fmt.Sprint(i)})
			}
			d.send(pk)
		}},
		{"API (B71)", "API_INITIATED_DISCONNECT", false, func(h *house, _ *device) { h.Kick("d") }},
		{"policy (B190)", "AUTH_ERROR", false, func(h *house, _ *device) {
			h.rules.deny("d: iot:Connect d")
			h.Enforce()
		}},
		{"denied publish (B86)", "AUTH_ERROR", false, func(h *house, d *device) {
			h.rules.deny("iot:Publish secret")
			d.send(publish(0, "secret", ""))
		}},
	}
	for _, c := range cases {
		for _, version := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s/v%d", c.name, version), func(t *testing.T) {
				h := open(t, people{}, plain(profileAWS))
				watcher := h.join(version, "watcher")
				watcher.subscribe(1, "$aws/events/presence/+/d")
				d := h.join(version, "d")
				came := watcher.told("$aws/events/presence/connected/d")
				c.end(h, d)
				e := watcher.told("$aws/events/presence/disconnected/d")
				has(t, e, map[string]any{
					"clientId": "d", "timestamp": e["timestamp"], "eventType": "disconnected",
					"sessionIdentifier": came["sessionIdentifier"], "principalIdentifier": "lan",
					"versionNumber": came["versionNumber"], "clientInitiatedDisconnect": c.own, "disconnectReason": c.reason,
				})
			})
		}
	}
}

// TestB193_Reasons: the causes that no test can bring about in a moment.
func TestB193_Reasons(t *testing.T) {
	for _, c := range []struct {
		why  cause
		want string
	}{
		{cause{reason: "keep-alive-timeout", code: 0x8D}, "MQTT_KEEP_ALIVE_TIMEOUT"},
		{cause{reason: "shutting-down", code: 0x8B}, "SERVER_INITIATED_DISCONNECT"},
		{cause{reason: "internal", code: 0x80}, "SERVER_ERROR"},
		{cause{reason: "full", code: 0x97}, "SERVER_ERROR"},
		{cause{reason: "some-quota", code: 0x97}, "THROTTLED"}, // B189
		{cause{reason: "websocket-expired", code: 0x98}, "WEBSOCKET_TTL_EXPIRATION"},
		{cause{reason: "topic-alias", code: 0x94}, "CLIENT_ERROR"},
		{cause{reason: "write-stalled"}, "SERVER_INITIATED_DISCONNECT"},
		{cause{reason: "connection-lost", clean: true}, "CLIENT_INITIATED_DISCONNECT"}, // a WebSocket's Close
	} {
		if got := disconnectReason(&c.why); got != c.want {
			t.Errorf("%s: %s, want %s", c.why.reason, got, c.want)
		}
	}
}

func TestB194_ConnectFailed(t *testing.T) {
	for _, version := range []byte{4, 5} {
		h := open(t, people{}, plain(profileAWS))
		watcher := h.join(version, "watcher")
		watcher.subscribe(1, "$aws/events/presence/#")
		h.rules.deny("iot:Connect d", "iot:Publish will/*")
		dial(t, h.addr(), version).connect("d") // B25
		e := watcher.told("$aws/events/presence/connect_failed/d")
		has(t, e, map[string]any{
			"clientId": "d", "timestamp": e["timestamp"], "eventType": "connect_failed", "sessionIdentifier": "",
			"principalIdentifier": "lan", "ipAddress": "127.0.0.1", "connectFailureReason": "AUTHORIZATION_FAILED",
		})
		dial(t, h.addr(), version).connect("w", func(pk *packets.Packet) { // B27
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "will/w", []byte("x")
		})
		if e := watcher.told("$aws/events/presence/connect_failed/w"); e["connectFailureReason"] != "AUTHORIZATION_FAILED" {
			t.Errorf("a will that is not allowed: %v", e)
		}
	}
}

func TestB195_Subscriptions(t *testing.T) {
	for _, version := range []byte{4, 5} {
		h := open(t, people{}, plain(profileAWSEdge))
		watcher := h.join(version, "watcher")
		watcher.subscribe(1, "$aws/events/subscriptions/+/d")
		h.rules.deny("iot:Subscribe secret")
		d := h.join(version, "d")
		d.subscribe(1, "a/b", "secret", "c/#")
		e := watcher.told("$aws/events/subscriptions/subscribed/d")
		has(t, e, map[string]any{
			"clientId": "d", "timestamp": e["timestamp"], "eventType": "subscribed", "sessionIdentifier": "",
			"principalIdentifier": "lan", "topics": []any{"a/b", "c/#"},
		})
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 9}
		pk.Filters = packets.Subscriptions{{Filter: "a/b"}, {Filter: "never"}}
		d.send(pk)
		d.expect(packets.Unsuback)
		e = watcher.told("$aws/events/subscriptions/unsubscribed/d")
		if !reflect.DeepEqual(e["topics"], []any{"a/b"}) || e["eventType"] != "unsubscribed" {
			t.Errorf("unsubscribed: %v", e)
		}
		d.subscribe(0, "secret") // nothing granted: no event
		watcher.expectNothing()
	}
}
