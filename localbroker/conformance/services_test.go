package conformance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
)

// reaching has a cloud whose shadow service devices reach, connected or not.
func reaching(connected bool) func(*setup) {
	return func(s *setup) {
		s.routes.PassThrough.Upstream = "cloud"
		s.policy.Things = "testdata/things.yaml"
		s.cloud = func(topic string) (bool, bool) { return strings.HasPrefix(topic, "$aws/things/"), connected }
	}
}

// TestB107_Shadow: the answer comes to the devices of the thing and to who
// asked, and not to another that subscribes; while the cloud is away the service
// is said to be unavailable.
func TestB107_Shadow(t *testing.T) {
	const update = "$aws/things/pump/shadow/update"
	through := &localbroker.PassThrough{Offline: "reject", Timeout: time.Minute, InFlight: 10}
	both(t, func(_ *testing.T, g *gate, version byte) {
		g.PassThrough(through)
		pump, app, curious := g.join(version, "pump"), g.join(version, "app"), g.join(version, "curious")
		for _, d := range []*device{pump, app, curious} {
			d.listen(1, "$aws/things/+/shadow/+/accepted")
		}
		const answer = `{"version":1,"clientToken":"a"}`
		app.send(publish(1, update, `{"state":{"desired":{"open":true}},"clientToken":"a"}`))
		app.expectAck(1, 0)
		if !g.Answer(&bridge.Message{Topic: update + "/accepted", Payload: []byte(answer), QoS: 1}) {
			g.tb.Fatal("not taken for an answer")
		}
		pump.expectMessage(update+"/accepted", answer)
		app.expectMessage(update+"/accepted", answer)
		curious.expectNothing()
	}, reaching(true))
	both(t, func(t *testing.T, g *gate, version byte) {
		g.PassThrough(through)
		pump := g.join(version, "pump")
		pump.listen(1, update+"/rejected")
		pump.send(publish(0, update, `{"state":{"reported":{"open":true}},"clientToken":"b"}`))
		var e struct {
			Code  int    `json:"code"`
			Token string `json:"clientToken"`
		}
		pk := pump.take()
		if err := json.Unmarshal(pk.Payload, &e); err != nil || pk.TopicName != update+"/rejected" || e.Code != 503 || e.Token != "b" {
			t.Errorf("got %s on %s", pk.Payload, pk.TopicName)
		}
	}, reaching(false))
}
