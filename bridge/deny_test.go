package bridge_test

import (
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestDeniedRequest: a request that the cloud's policy denies stops nobody
// else's. What its device would ask again is dropped and counted, what should be
// kept becomes a dead letter.
func TestDeniedRequest(t *testing.T) {
	s := openSpool(t)
	for _, m := range []struct {
		payload string
		expires bool
	}{{"denied, asked again", true}, {"denied, kept", false}, {"allowed", true}} {
		var b bridge.Batch
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "ask", Payload: []byte(m.payload), QoS: 1, Properties: bridge.Properties{HasExpiry: m.expires, Expiry: 600}},
			Origin:    bridge.Origin{Device: "d", ID: bridge.MessageID{1}, Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: normal, Topic: "ask", QoS: 1}},
		})
		commit(t, s, &b)
	}
	h, drops := new(bridge.Health), new(bridge.DropLog)
	c := &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
		if string(d.Payload) == "allowed" {
			return bridge.Outcome{Result: bridge.ResultAcked}
		}
		return bridge.Outcome{Result: bridge.ResultDenied, Code: 0x87, Reason: "no"}
	}}
	queues := []bridge.QueueRef{{Name: normal, Requests: true}}
	forwardFrom(t, queues, s, c, new(noMeter), drops, h, empty(s, normal))
	if got := c.payloads(); !slices.Contains(got, "allowed") {
		t.Errorf("the cloud got %q", got)
	}
	if n := s.Depth(bridge.DeadQueue(normal)).Records; n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	counted := map[string]int64{}
	for _, d := range drops.All() {
		counted[d.Reason] = d.Count
	}
	if counted["request-denied"] != 1 || counted["dead-letter"] != 1 {
		t.Errorf("counted %v", counted)
	}
	if !slices.ContainsFunc(h.Warnings(), func(w bridge.Warning) bool { return w.Code == "requests-denied-cloud" }) {
		t.Errorf("warnings %+v", h.Warnings())
	}
}
