package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// What is delivered while an unsynchronised clock stands years ahead is on the bill of
// the day that it was as soon as somebody puts the clock back, and nowhere else; and it
// stays there when the clock goes astray once more (U7).
func TestTheBillOfAClockThatStoodAhead(t *testing.T) {
	t.Parallel()
	const messages = 20
	astray := noon().AddDate(5, 0, 0)
	clock := turnable(t)
	clock.set(astray, false)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	g := newGateway(t, site{Endpoint: "mqtt://" + broker.Addr})
	g.clock = clock
	g.start()
	device := talker(t, g.Listen, "dev")
	for i := range messages {
		must(t, "a message", device.Publish("dt/dev", 1, false, fmt.Sprint(i)))
	}
	billed := func(when string, want int64) {
		t.Helper()
		units := int64(0)
		if !until(time.Minute, func() bool { units, _ = g.unitsToday(t); return units == want }) {
			t.Errorf("%s: %d metered messages are billed to today, want %d", when, units, want)
		}
	}
	billed("in the wrong year", messages)
	clock.set(noon(), false)
	billed("put back by hand", messages)
	clock.set(astray, false)
	billed("astray again", 0)
	clock.set(noon(), true)
	must(t, "a message", device.Publish("dt/dev", 1, false, "last"))
	billed("set by a time server", messages+1)
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
