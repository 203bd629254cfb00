package localbroker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestVerdicts is the table of design.md, row by row: kind, then the answers in
// the columns v5 QoS 1, v3.1.1 QoS 1, v5 QoS 0, v3.1.1 QoS 0.
func TestVerdicts(t *testing.T) {
	ack := func(code byte) verdict { return verdict{action: actAck, code: code} }
	end := func(code byte) verdict { return verdict{action: actDisconnect, code: code} }
	pretend, silence := verdict{action: actPretend}, verdict{action: actSilence}
	hold := func(after action) verdict { return verdict{action: actHold, after: after, code: 0x97} }

	kind := func(k bridge.Kind) error { return bridge.Errorf("op", k, "x") }
	normal := DefaultListener().Denied
	listener := DefaultListener()
	turned := DeniedOptions{MQTT5: deniedDisconnect, MQTT3: deniedAck}
	tests := []struct {
		name    string
		err     error
		profile string
		denied  DeniedOptions
		want    [4]verdict
	}{
		{"accepted", nil, profileAWS, normal, [4]verdict{{action: actAccept}, {action: actAccept}, {action: actAccept}, {action: actAccept}}},
		{"NotAuthorized", kind(bridge.NotAuthorized), profileAWS, normal, [4]verdict{ack(0x87), end(0x87), end(0x87), end(0x87)}},
		{"NotAuthorized, switches turned", kind(bridge.NotAuthorized), profileAWS, turned, [4]verdict{end(0x87), pretend, end(0x87), end(0x87)}},
		{"NotAuthorized, profile mqtt", kind(bridge.NotAuthorized), profileMQTT, normal, [4]verdict{ack(0x87), end(0x87), pretend, pretend}},
		{"TopicInvalid", kind(bridge.TopicInvalid), profileAWSEdge, normal, [4]verdict{ack(0x90), end(0x90), end(0x90), end(0x90)}},
		{"TopicInvalid, profile mqtt", kind(bridge.TopicInvalid), profileMQTT, normal, [4]verdict{ack(0x90), end(0x90), pretend, pretend}},
		{"PayloadInvalid", kind(bridge.PayloadInvalid), profileAWSEdge, normal, [4]verdict{ack(0x99), pretend, pretend, pretend}},
		{"PayloadInvalid, on AWS", kind(bridge.PayloadInvalid), profileAWS, normal, [4]verdict{ack(0x80), pretend, pretend, pretend}},
		{"Full", kind(bridge.Full), profileAWS, normal, [4]verdict{hold(actAck), hold(actDisconnect), pretend, pretend}},
		{"TooLarge", kind(bridge.TooLarge), profileAWS, normal, [4]verdict{end(0x97), end(0x97), end(0x97), end(0x97)}},
		{"TooLarge, profile mqtt", kind(bridge.TooLarge), profileMQTT, normal, [4]verdict{end(0x95), end(0x95), end(0x95), end(0x95)}},
		{"Unavailable", kind(bridge.Unavailable), profileAWS, normal, [4]verdict{hold(actAck), hold(actDisconnect), pretend, pretend}},
		{"Internal", kind(bridge.Internal), profileAWS, normal, [4]verdict{hold(actAck), hold(actDisconnect), pretend, pretend}},
		{"an unknown error holds", errors.New("x"), profileAWS, normal, [4]verdict{hold(actAck), hold(actDisconnect), pretend, pretend}},
		{"a kind of tomorrow holds", kind(bridge.Kind(200)), profileAWS, normal, [4]verdict{hold(actAck), hold(actDisconnect), pretend, pretend}},
		{"a wrapped kind counts", fmt.Errorf("w: %w", kind(bridge.NotAuthorized)), profileAWS, normal, [4]verdict{ack(0x87), end(0x87), end(0x87), end(0x87)}},
		{"packet id in use", errIDInUse, profileAWS, normal, [4]verdict{ack(0x91), silence, silence, silence}},
		{"publish rate", errRate, profileAWS, normal, [4]verdict{ack(0x97), silence, silence, silence}},
	}
	columns := []struct {
		name         string
		version, qos byte
	}{{"v5 QoS 1", 5, 1}, {"v3.1.1 QoS 1", 4, 1}, {"v5 QoS 0", 5, 0}, {"v3.1.1 QoS 0", 4, 0}}
	for _, tt := range tests {
		listener.Denied = tt.denied
		for i, col := range columns {
			t.Run(tt.name+"/"+col.name, func(t *testing.T) {
				if got := judge(tt.err, col.version, col.qos, profiles()[tt.profile], &listener); got != tt.want[i] {
					t.Errorf("got %+v, want %+v", got, tt.want[i])
				}
			})
		}
	}
	if got := hold(actAck).timedOut(); got != ack(0x97) {
		t.Errorf("after the hold: %+v", got)
	}
}
