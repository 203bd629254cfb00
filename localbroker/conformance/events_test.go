package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
)

func TestB185_DisconnectFirst(t *testing.T) {
	t.Parallel()
	g := open(t)
	for code, packet := range map[byte]packets.Packet{
		0x82: hello("d"), 0x9B: publish(1, "t", "x", qos2), 0x90: publish(0, "a/+", "x"), 0x97: subscribing(0, filters(9)...),
	} {
		d := g.join(5, "d")
		d.send(packet)
		pk := d.expect(packets.Disconnect)
		if pk.ReasonCode != code || pk.Properties.ReasonString == "" {
			t.Errorf("DISCONNECT %#x, %q", pk.ReasonCode, pk.Properties.ReasonString)
		}
		d.expectEnd()
	}
}

func TestB186_CloseOnly(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, packet := range []packets.Packet{hello("d"), publish(0, "a/+", "x"), subscribing(0, filters(9)...), subscribing(0, "$SYS/#")} {
		d := g.join(4, "d")
		d.send(packet)
		d.expectEnd()
	}
	var said []string
	for _, s := range g.Status().SilentCloses { // counted with what MQTT 5 is told
		said = append(said, s.Said())
	}
	for _, want := range []string{"DISCONNECT 0x82", "DISCONNECT 0x90", "DISCONNECT 0x97"} {
		if !slices.Contains(said, want) {
			t.Errorf("%s is not counted: %v", want, said)
		}
	}
}

func TestB187_Stop(t *testing.T) {
	t.Parallel()
	g := open(t)
	five, three := g.join(5, "five"), g.join(4, "three")
	g.stop()
	five.expectGoodbye(0x8B)
	three.expectEnd()
}

func TestB188_Administrator(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	if !g.Kick("d") {
		t.Fatal("nobody was there")
	}
	d.expectGoodbye(0x98)
}

func TestB189_QuotaExceeded(t *testing.T) {
	t.Parallel()
	g := open(t)
	for _, packet := range []packets.Packet{subscribing(0, filters(9)...), publish(1, "t", strings.Repeat("x", 128<<10+1))} {
		d := g.join(5, "d")
		d.send(packet)
		d.expectGoodbye(0x97)
	}
}

func TestB190_AuthorizationLost(t *testing.T) {
	t.Parallel()
	g := open(t)
	d := g.join(5, "d")
	three := g.join(4, "three")
	g.retire()
	d.expectGoodbye(0x87)
	three.expectEnd()
	g.wantEnd("policy-changed")
}

func TestB191_InvalidEnds(t *testing.T) {
	t.Parallel()
	g := open(t, with(filterSwitches), with(topicSwitches))
	d := g.join(5, "d")
	d.send(subscribing(0, "a#"))
	d.expectGoodbye(0x8F)
	d = g.join(5, "d")
	d.send(publish(1, "a#", "x"))
	d.expectGoodbye(0x90)
}

// told reads the next event, which must come on this topic, and takes its time
// and its identifiers out, which must be there.
func (d *device) told(topic string) (e map[string]any, session string) {
	d.tb.Helper()
	pk := d.take()
	if pk.TopicName != topic {
		d.tb.Fatalf("an event on %s, want %s: %s", pk.TopicName, topic, pk.Payload)
	}
	if err := json.Unmarshal(pk.Payload, &e); err != nil {
		d.tb.Fatalf("%s: %v", pk.Payload, err)
	}
	session, _ = e["sessionIdentifier"].(string)
	if at, _ := e["timestamp"].(float64); session == "" || time.Since(time.UnixMilli(int64(at))).Abs() > 3*time.Hour {
		d.tb.Errorf("session identifier and time of %s", pk.Payload)
	}
	delete(e, "timestamp")
	delete(e, "sessionIdentifier")
	return e, session
}

// wantEvent reads the next event and compares it.
func (d *device) wantEvent(topic string, want map[string]any) string {
	d.tb.Helper()
	e, session := d.told(topic)
	kind, _ := strings.CutPrefix(topic, "$aws/events/")
	part := strings.Split(kind, "/")
	all := map[string]any{"clientId": part[2], "eventType": part[1], "principalIdentifier": "lan"}
	maps.Copy(all, want)
	got, _ := json.Marshal(e)
	if expected, _ := json.Marshal(all); string(got) != string(expected) {
		d.tb.Errorf("%s: got %s, want %s", topic, got, expected)
	}
	return session
}

// watch subscribes to lifecycle events.
func (g *gate) watch(filters ...string) *device {
	g.tb.Helper()
	d := g.join(5, "watcher", keepAlive(1200))
	d.listen(1, filters...)
	return d
}

func TestB24_WildcardInClientID(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.watch("$aws/events/presence/#")
		for _, id := range []string{"a+b", "a#b", "+"} {
			d := g.join(version, id)
			d.say("t", "x")
			d.goodbye()
			d.expectEnd()
		}
		watcher.expectNothing()
	})
}

func TestB192_Connected(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.watch("$aws/events/presence/connected/+")
		g.join(version, "d")
		watcher.wantEvent("$aws/events/presence/connected/d", map[string]any{"ipAddress": "127.0.0.1", "versionNumber": 0})
	})
}

func TestB193_Disconnected(t *testing.T) {
	t.Parallel()
	const came, went = "$aws/events/presence/connected/d", "$aws/events/presence/disconnected/d"
	ends := map[string]func(g *gate, d *device){
		"CLIENT_INITIATED_DISCONNECT": func(_ *gate, d *device) { d.goodbye() },
		"CONNECTION_LOST":             func(_ *gate, d *device) { _ = d.Close() },
		"DUPLICATE_CLIENTID":          func(g *gate, d *device) { g.join(d.version, "d") },
		"CLIENT_ERROR":                func(_ *gate, d *device) { d.send(hello("d")) },
		"AUTH_ERROR":                  func(_ *gate, d *device) { d.send(publish(0, "forbidden/t", "x")) },
		"API_INITIATED_DISCONNECT":    func(g *gate, _ *device) { g.Kick("d") },
		"MQTT_KEEP_ALIVE_TIMEOUT":     func(g *gate, d *device) { g.silence(d, 91*time.Second) },
	}
	for reason, end := range ends {
		t.Run(reason, func(t *testing.T) {
			both(t, func(t *testing.T, g *gate, version byte) {
				watcher := g.watch("$aws/events/presence/+/d")
				d := g.join(version, "d")
				first := watcher.wantEvent(came, map[string]any{"ipAddress": "127.0.0.1", "versionNumber": 0})
				end(g, d)
				last := watcher.wantEvent(went, map[string]any{
					"clientInitiatedDisconnect": reason == "CLIENT_INITIATED_DISCONNECT", "disconnectReason": reason, "versionNumber": 0,
				})
				if first != last {
					t.Errorf("came as %s, went as %s", first, last)
				}
			})
		})
	}
}

func TestB194_ConnectFailed(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.watch("$aws/events/presence/connect_failed/+")
		failed := map[string]any{"connectFailureReason": "AUTHORIZATION_FAILED", "ipAddress": "127.0.0.1"}
		g.dial(version).wantRefused(0x87, 5, "stranger")
		watcher.wantEvent("$aws/events/presence/connect_failed/stranger", failed)
		g.dial(version).wantRefused(0x87, 5, "d", leaving("forbidden/last", "word"))
		watcher.wantEvent("$aws/events/presence/connect_failed/d", failed)
	})
}

func TestB195_Subscriptions(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		watcher := g.watch("$aws/events/subscriptions/+/d")
		d := g.join(version, "d")
		d.subscribe(1, "a", "forbidden/t", "b/#")
		watcher.wantEvent("$aws/events/subscriptions/subscribed/d", map[string]any{"topics": []string{"a", "b/#"}})
		d.unsubscribe("b/#")
		watcher.wantEvent("$aws/events/subscriptions/unsubscribed/d", map[string]any{"topics": []string{"b/#"}})
	})
}

func TestB196_VersionNumber(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, g *gate, version byte) {
		watcher := g.watch("$aws/events/presence/connected/d")
		next := func(want float64) {
			t.Helper()
			d := g.join(version, "d")
			if e, _ := watcher.told("$aws/events/presence/connected/d"); e["versionNumber"] != want {
				t.Errorf("version number %v, want %v", e["versionNumber"], want)
			}
			d.goodbye()
			g.absent("d")
		}
		next(0)
		next(1)
		g.clock.advance(20 * time.Minute)
		watcher.expectNothing()
		next(2)
		for range 3 { // the watcher must say something in its keep alive
			g.clock.advance(21 * time.Minute)
			watcher.expectNothing()
		}
		next(0)
	})
}

func TestB197_EventsAreReadOnly(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, g *gate, version byte) {
		const topic = "$aws/events/presence/connected/d"
		watcher := g.watch(topic)
		refusesTopic(g, version, "$aws/events/presence/connected/e")
		g.dial(version).wantRefused(0x90, 0, "e", leaving(topic, "word"))
		watcher.told(topic) // refusesTopic's device has connected
		watcher.expectNothing()
	})
}

func TestB107_Shadow(t *testing.T) {
	const update = "$aws/things/sensor/shadow/update"
	both(t, func(t *testing.T, g *gate, version byte) {
		g.PassThrough(&localbroker.PassThrough{Offline: "reject", Timeout: 30 * time.Second, InFlight: 10})
		sensor, other := g.join(version, "sensor"), g.join(version, "other")
		sensor.listen(1, update+"/accepted", update+"/rejected")
		other.listen(1, "$aws/things/+/shadow/update/+")
		rejected := func(code float64) {
			t.Helper()
			var answer map[string]any
			if pk := sensor.take(); json.Unmarshal(pk.Payload, &answer) != nil || pk.TopicName != update+"/rejected" || answer["code"] != code {
				t.Errorf("got %s on %s, want code %v", pk.Payload, pk.TopicName, code)
			}
		}
		sensor.send(publish(1, update, `{"clientToken":"0"}`)) // the cloud is away
		sensor.expectAckAnd(1, func() { rejected(503) })
		g.cloud.Store(true)
		for i := range 10 {
			sensor.send(publish(1, update, fmt.Sprintf(`{"clientToken":"%d"}`, i)))
			sensor.expectAck(1, 0)
		}
		sensor.send(publish(1, update, `{"clientToken":"more"}`)) // Q56
		sensor.expectAckAnd(1, func() { rejected(429) })
		if d := g.store.Depth(bridge.QueueName("up", "cloud", "up")); d.Records != 10 {
			t.Errorf("%d requests go up, want 10", d.Records)
		}
		if !g.Answer(&bridge.Message{Topic: update + "/accepted", Payload: []byte(`{"clientToken":"3"}`), QoS: 1}) {
			t.Error("the answer is not taken for one")
		}
		sensor.expectMessage(update+"/accepted", `{"clientToken":"3"}`)
		other.expectNothing()
	}, routed("$aws/things/+/shadow/#", 0))
}

func TestB106_BasicIngest(t *testing.T) {
	both(t, func(_ *testing.T, g *gate, version byte) {
		all := g.join(version, "all")
		all.listen(1, "#", "+/rules/#")
		d := g.join(version, "d")
		d.say("$aws/rules/known/"+strings.Repeat("x", 256), "x") // the first three levels are free (Q14)
		d.say("$aws/rules/unknown/a/b/c/d/e/f/g/h", "x")         // and their slashes (Q15)
		all.expectNothing()
	})
	d := open(t, routed("$aws/rules/known/#", 200*time.Millisecond)).join(5, "d")
	d.send(publish(1, "$aws/rules/known/t", "x"))
	d.expectNothing() // handed over is what the disk has
	d.expectAck(1, 0)
}
