package bridge_test

import (
	"testing"
	"testing/synctest"

	"github.com/ebbgate/ebbgate/bridge"
)

// The message with which a paused route is tried may be refused for another reason:
// its device is held then, the others and the other routes go on, and the route does
// when that is over.
func TestForwarderWhosePausedRouteIsHeld(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]bridge.Outcome{
		"for now": {Result: bridge.ResultRetry, Code: 0x97},
		"absent":  {Result: bridge.ResultAbsent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openUnsynced(t)
				put(t, s, normal, "d", "tried")
				answers := []bridge.Outcome{{Result: bridge.ResultDenied, Code: 0x87}, second}
				c := &cloud{window: 10, answer: func(d *bridge.Delivery) bridge.Outcome {
					if string(d.Payload) != "tried" || len(answers) == 0 {
						return bridge.Outcome{Result: bridge.ResultAcked}
					}
					o := answers[0]
					if answers = answers[1:]; len(answers) == 0 {
						put(t, s, alarms, "e", "meanwhile")
					}
					return o
				}}
				queues := []bridge.QueueRef{{Name: normal, Priority: 4}, {Name: alarms, Priority: 9}}
				_, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: queues}, s, []bridge.Sender{c})
				await(t, func() string { return "all is sent" }, func() bool {
					return len(c.payloads()) == 4 && empty(s, normal, alarms)()
				})
				end()
				if got := c.payloads()[2]; got != "meanwhile" {
					t.Errorf("%q came before another route's", got)
				}
			})
		})
	}
}
