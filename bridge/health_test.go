package bridge_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/ebbgate/ebbgate/bridge"
)

// A device chooses its topics, and a cloud its reasons: in a warning neither obeys a
// terminal nor begins a line of its own, and where the name ends is seen.
func TestWarningsOfHostileNames(t *testing.T) {
	t.Parallel()
	hostile := "pump\x1b[2J\u009b1m\r\nall is well, the cloud is up\u202e\u2028"
	for name, o := range map[string]bridge.Outcome{
		"denied-" + normal:       {Result: bridge.ResultDenied, Code: 0x87, Reason: hostile},
		"route-paused-" + normal: {Result: bridge.ResultDenied, Code: 0x87, Reason: hostile},
		"refused-" + normal:      {Result: bridge.ResultRetry, Code: 0x83, Reason: hostile},
		"dead-letters-cloud":     {Result: bridge.ResultRefused, Code: 0x90, Reason: hostile},
		"requests-denied-cloud":  {Result: bridge.ResultDenied, Code: 0x87, Reason: hostile},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, h := openUnsynced(t), new(bridge.Health)
				devices := 1
				if strings.HasPrefix(name, "route") {
					devices = 30
				}
				var b bridge.Batch
				for i := range devices {
					b.Append(&bridge.Record{
						Message:   bridge.Message{Topic: hostile, Payload: []byte("x"), QoS: 1, Properties: bridge.Properties{HasExpiry: true, Expiry: 1000}},
						Origin:    bridge.Origin{Device: hostile + strings.Repeat("x", i), Instant: bridge.Instant{Age: s.Age()}},
						Receivers: []bridge.Receiver{{Queue: normal, Topic: hostile, QoS: 1}},
					})
				}
				commit(t, s, &b)
				c := &cloud{window: 10, answer: func(*bridge.Delivery) bridge.Outcome { return o }}
				queues := []bridge.QueueRef{{Name: normal, Requests: strings.HasPrefix(name, "requests")}}
				forwardFrom(t, queues, s, c, new(noMeter), new(bridge.DropLog), h, func() bool {
					for _, w := range h.Warnings() {
						if w.Code == name {
							if i := strings.IndexFunc(w.Text, func(r rune) bool { return unicode.IsControl(r) || r == 0x202e || r == 0x2028 }); i >= 0 {
								t.Errorf("the terminal obeys %q", w.Text)
							}
							if !strings.Contains(w.Text, `"pump\x1b`) {
								t.Errorf("the name is not quoted: %s", w.Text)
							}
							return true
						}
					}
					return false
				})
			})
		})
	}
}
