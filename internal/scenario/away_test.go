package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/ebbgate/ebbgate/internal/tally"
)

// keptEach is how many messages a round leaves for the device that is away, and
// as many retained ones.
const keptEach = 150

// keep publishes for a device that is away, so that the shelf holds something:
// of the rounds before in its files, of the last one in the log.
func (b *full) keep(t *testing.T, g *gateway) {
	t.Helper()
	if b.kept == 0 {
		c := join(t, g.Listen, "away", false)
		c.subscribe("kept/#")
		c.leave()
	}
	letters := make([]letter, keptEach)
	for i := range letters {
		b.kept++
		letters[i] = letter{topic: fmt.Sprintf("kept/%d", b.kept), payload: fmt.Sprint(b.kept), retain: true}
	}
	c := join(t, g.Listen, "keeper", true)
	if err := c.publishAll(letters); err != nil {
		t.Fatal(err)
	}
	c.leave()
}

// back lets the device come back. What waits for it arrives in order; if it is
// not all, damage has been reported.
func (b *full) back(t *testing.T, g *gateway) {
	t.Helper()
	c := join(t, g.Listen, "away", false)
	got, last := 0, 0
	for got < b.kept && c.present {
		if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		pk, err := packets.ReadPacket(c.in)
		if err != nil {
			break
		}
		p, ok := pk.(*packets.PublishPacket)
		if !ok {
			t.Fatalf("got %v", pk)
		}
		n, err := strconv.Atoi(string(p.Payload))
		if err != nil || n <= last || n > b.kept || p.TopicName != fmt.Sprintf("kept/%d", n) {
			t.Errorf("message %q of topic %s after %d", p.Payload, p.TopicName, last)
		}
		got, last = got+1, n
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		c.send(ack)
	}
	_ = c.Close()
	said := strings.Contains(g.log(), "spool: damage")
	if got < b.kept && !said {
		t.Errorf("%d of %d messages came for the device that was away, and no damage is reported", got, b.kept)
	}
	t.Logf("%d of %d messages for the device that was away; damage reported: %v", got, b.kept, said)
}

// goAway leaves the session of a device that has subscribed to what the fleet's
// first device publishes. Call it before the fleet starts.
func goAway(t *testing.T, g *gateway) {
	t.Helper()
	c := join(t, g.Listen, "away", false)
	c.subscribe("dt/device-01")
	c.leave()
}

// awayHasAll lets the device come back: what was acknowledged of what it had
// subscribed to is there, in order.
func awayHasAll(t *testing.T, g *gateway, acked *tally.Set) {
	t.Helper()
	c := join(t, g.Listen, "away", false)
	next, all := uint64(1), uint64(acked.Series()["device-01"])
	for next <= all {
		switch _, n, ok := parse(c.take().Payload); {
		case !ok || n > next:
			t.Fatalf("the device that was away gets %d (%v) after %d", n, ok, next-1)
		case n == next: // a lower one was published twice, without a PUBACK in between
			next++
		}
	}
	_ = c.Close()
	t.Logf("%d messages for the device that was away", all)
}
