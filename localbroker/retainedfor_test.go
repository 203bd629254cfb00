package localbroker

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestRetainedFitTheQueue: filters that all fit all retained messages are sent no
// more of them than the session's queue takes, and no more are made.
func TestRetainedFitTheQueue(t *testing.T) {
	l := plain(profileMQTT)
	l.Limits.QueueMessages = 100
	h := open(t, people{}, l)
	for i := range 60 {
		h.retain(&bridge.Message{Topic: fmt.Sprintf("a/%d", i), Payload: []byte("x"), Retain: true})
	}
	d := h.join(5, "d")
	s := h.sessions.find("d")
	var plan []grant
	for i := range 20 {
		f := filter{text: fmt.Sprintf("f%d", i), topic: "a/+"}
		plan = append(plan, grant{sub: &subscription{session: s, filter: f, retained: h.retained.upTo()}})
	}
	if due := s.due(s.current(), plan); len(due) != 100 {
		t.Errorf("%d deliveries were made for a queue of 100", len(due))
	}
	if n := h.dropped("session-queue-full"); n != 20+18 { // the rest of the second filter, and the other filters
		t.Errorf("%d dropped", n)
	}
	d.subscribe(0, "a/+", "+/#")
	seen := map[string]bool{}
	for range 100 {
		pk := d.take()
		seen[pk.TopicName] = true
	}
	if len(seen) != 60 {
		t.Errorf("%d topics", len(seen))
	}
	d.expectNothing()
}

// TestRetainedAndItsSuccessor: a message that has been replaced since it was
// listed is not sent behind the one that replaced it.
func TestRetainedAndItsSuccessor(t *testing.T) {
	for _, expiry := range []uint32{0, 3600} { // in memory and on the shelf
		h := open(t, people{}, plain(profileMQTT))
		h.retain(&bridge.Message{Topic: "t", Payload: []byte("old"), Retain: true, QoS: 1})
		d := h.join(5, "d", func(pk *packets.Packet) {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = expiry, true
		})
		s := h.sessions.find("d")
		sub := &subscription{session: s, filter: filter{text: "t", topic: "t"}, qos: 1, retained: h.retained.upTo()}
		s.mu.Lock()
		s.addLocked(sub)
		s.mu.Unlock()
		plan := []grant{{sub: sub}}
		due := s.due(s.current(), plan)
		if len(due) != 1 {
			t.Fatalf("%d due", len(due))
		}
		s.mu.Lock()
		if err := s.durableLocked(plan, due); err != nil {
			t.Fatal(err)
		}
		s.mu.Unlock()
		pub := h.join(5, "pub")
		pub.send(publish(1, "t", "new", retain))
		pub.expect(packets.Puback)
		s.offerRetained(due)
		if pk := d.take(); string(pk.Payload) != "new" {
			t.Errorf("got %q", pk.Payload)
		}
		d.expectNothing()
		eventually(t, "nothing waits", func() bool { return h.waits("d") == 0 })
	}
}

// TestSweepHoldsNobodyUp: while the sweep waits for a session that is busy,
// others connect.
func TestSweepHoldsNobodyUp(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.join(5, "busy")
	s := h.sessions.find("busy")
	s.mu.Lock()
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		h.sessions.sweep(h.age())
	}()
	for i := range 5 {
		h.join(5, fmt.Sprintf("other%d", i))
	}
	s.mu.Unlock()
	receive(t, "the end of the sweep", swept)
}
