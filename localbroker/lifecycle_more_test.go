package localbroker

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// goodbye ends a device's connection, and waits until the broker knows.
func (h *house) goodbye(d *device, id string) {
	h.tb.Helper()
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	d.expectEnd()
	h.leave(d, id)
}

func TestB196_VersionNumber(t *testing.T) {
	const topic = "$aws/events/presence/connected/d"
	h := open(t, people{}, plain(profileAWS))
	watcher := h.join(5, "watcher")
	watcher.subscribe(1, topic)
	came := func(change ...func(*packets.Packet)) (number float64, session string) {
		t.Helper()
		d := h.join(5, "d", change...)
		e := watcher.told(topic)
		h.goodbye(d, "d")
		return e["versionNumber"].(float64), e["sessionIdentifier"].(string)
	}
	expect := func(what string, got, want float64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: version number %v, want %v", what, got, want)
		}
	}
	first, one := came()
	expect("first", first, 0)
	second, two := came()
	expect("second", second, 1)
	if one == two {
		t.Error("a new session has the identifier of the old one")
	}
	h.clock.advance(59 * time.Minute)
	n, _ := came()
	expect("within the hour", n, 2)
	h.clock.advance(61 * time.Minute)
	n, _ = came()
	expect("after the hour", n, 0)

	// A session's number lives as long as the session, here ten minutes.
	n, one = came(persistent(600))
	expect("session", n, 1)
	h.clock.advance(9 * time.Minute)
	n, two = came(persistent(600))
	expect("resumed", n, 2)
	if one != two {
		t.Error("a resumed session has another identifier")
	}
	h.clock.advance(11 * time.Minute)
	n, _ = came(persistent(600))
	expect("after the session", n, 0)
}

// TestB196_Bounded: somebody goes through client ids. The numbers of those who
// are connected stay.
func TestB196_Bounded(t *testing.T) {
	b := &Broker{now: time.Now, announcer: &announcer{}, cloud: func(string) (bool, bool) { return false, false }}
	l := newLifecycle(b, 10)
	who := func(id string) *client {
		return &client{broker: b, id: id, profile: profiles()[profileAWS], principal: &bridge.Principal{}}
	}
	stays := who("stays")
	l.connected(stays)
	for i := range 1000 {
		c := who(fmt.Sprint(i))
		l.connected(c)
		l.disconnected(c, &cause{reason: "connection-lost"})
	}
	if len(l.known) > 11 || l.absent != 10 {
		t.Errorf("%d client ids are known, %d absent", len(l.known), l.absent)
	}
	again := who("stays")
	l.connected(again)
	if again.presence.number != 1 {
		t.Errorf("number %d after a take-over, want 1", again.presence.number)
	}
	l.disconnected(stays, &cause{reason: "taken-over"}) // late: it is no longer the one
	if l.known["stays"] != again.presence {
		t.Error("a late end took the number of the new connection away")
	}
	l.sweep(time.Now().Add(2 * time.Hour))
	if len(l.known) != 1 || l.absent != 0 {
		t.Errorf("after the sweep %d are known, %d absent", len(l.known), l.absent)
	}
}

func TestB197_OnlySubscribe(t *testing.T) {
	const topic = "$aws/events/presence/connected/d"
	for _, version := range []byte{4, 5} {
		h := open(t, people{}, plain(profileAWSEdge))
		watcher := h.join(version, "watcher")
		watcher.subscribe(1, "$aws/events/presence/#")
		liar := h.join(version, "liar")
		watcher.told("$aws/events/presence/connected/liar")
		liar.send(publish(1, topic, "{}"))
		if version == 5 {
			if code := liar.expect(packets.Puback).ReasonCode; code != 0x90 {
				t.Errorf("PUBACK %#x", code)
			}
		} else {
			liar.expectEnd()
			watcher.told("$aws/events/presence/disconnected/liar")
		}
		watcher.expectNothing()
		if ack := dial(t, h.addr(), 5).connect("w", func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, topic, []byte("{}")
		}); ack.ReasonCode != 0x90 {
			t.Errorf("a will that lies: CONNACK %#x", ack.ReasonCode)
		}
	}
}

// TestB197_Policy: who may not receive an event does not get it.
func TestB197_Policy(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	watcher, curious := h.join(5, "watcher"), h.join(5, "curious")
	for _, d := range []*device{watcher, curious} {
		d.subscribe(1, "$aws/events/presence/+/d")
	}
	h.rules.deny("curious: iot:Receive $aws/events/*")
	h.join(5, "d")
	watcher.told("$aws/events/presence/connected/d")
	curious.expectNothing()
	if h.dropped("receive-denied") != 1 {
		t.Error("the refusal is not in the drop log")
	}
	h.rules.deny("iot:Subscribe $aws/events/#")
	if code := h.join(5, "asks").subscribe(1, "$aws/events/#")[0]; code != 0x87 {
		t.Errorf("SUBACK %#x for a filter that the policy denies", code)
	}
}

func TestB24_WildcardClientIDHasNoEvents(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	watcher := h.join(5, "watcher")
	watcher.subscribe(1, "$aws/events/#")
	watcher.told("$aws/events/subscriptions/subscribed/watcher")
	for _, id := range []string{"a+b", "a#"} {
		d := h.join(5, id)
		d.subscribe(0, "x")
		h.goodbye(d, id)
	}
	watcher.expectNothing()
}

// TestLifecycle_Bounded: with nobody to hear them events are not even made, and
// with somebody who cannot keep up they are dropped and counted; no connection
// waits.
func TestLifecycle_Bounded(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	release, busy := make(chan struct{}), make(chan struct{})
	h.announcer.tell(announcement{publish: func() { close(busy); <-release }})
	receive(t, "the announcer is busy", busy)
	for i := range 50 {
		h.goodbye(h.join(5, fmt.Sprint(i)), fmt.Sprint(i))
	}
	if n := len(h.announcer.queue); n != 0 {
		t.Errorf("%d events were made for nobody", n)
	}
	watcher := h.join(5, "watcher")
	watcher.subscribe(0, "$aws/events/presence/connected/+")
	for range announcements {
		h.announcer.tell(announcement{publish: func() {}})
	}
	h.join(5, "late")
	eventually(t, "the drop is counted", func() bool { return h.dropped("announcements-full") == 1 })
	close(release)
	eventually(t, "the announcer catches up", func() bool { return len(h.announcer.queue) == 0 })
	h.join(5, "last")
	watcher.told("$aws/events/presence/connected/last")
}

// TestLifecycle_Routed: an event goes through the walk when a route takes it,
// in the name of the device that it tells of.
func TestLifecycle_Routed(t *testing.T) {
	const topic = "$aws/events/presence/connected/d"
	h := openWith(t, people{}, func(d *Deps) {
		d.Cloud = func(t string) (bool, bool) { return t == topic, true }
	}, plain(profileAWS))
	h.join(5, "other")
	h.join(5, "d")
	eventually(t, "the event is in the walk", func() bool { return len(h.walk.topics()) > 0 })
	if got := h.walk.topics(); len(got) != 1 || got[0] != topic {
		t.Errorf("the walk took %v", got)
	}
}
