package bridge_test

import (
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// receivedMeter counts what came down.
type receivedMeter struct {
	noMeter
	topics []string
	wire   int
}

func (m *receivedMeter) Received(b *bridge.Batch, _ string, msg *bridge.Message, wire int) {
	m.topics, m.wire = append(m.topics, msg.Topic), m.wire+wire
	b.Add("test", "received", 1)
}

// nowhere is a router that knows no topic.
type nowhere struct{ bridge.Router }

func (nowhere) Down(string, *bridge.Message) ([]bridge.Receiver, error) {
	return nil, bridge.Errorf("route", bridge.TopicInvalid, "no topic")
}

// TestRefusedForGoodIsMetered: what the cloud has sent it bills, whether we have
// a use for it or not (M07).
func TestRefusedForGoodIsMetered(t *testing.T) {
	s := openSpool(t)
	meter := &receivedMeter{}
	in := bridge.NewIngest(s, nowhere{}, bridge.NewClock(s.Age, func() bool { return true }), meter, &bridge.DropLog{})
	done := make(chan error, 1)
	in.Down("aws", &bridge.Message{Topic: "cmd/a"}, 50, func(err error) { done <- err })
	if err := <-done; bridge.KindOf(err) != bridge.TopicInvalid || len(meter.topics) != 1 || meter.wire != 50 {
		t.Errorf("%v, metered %q, %d bytes", err, meter.topics, meter.wire)
	}
}

// TestPassed: what has been delivered already is metered, durably, and kept in
// no queue.
func TestPassed(t *testing.T) {
	s := openSpool(t)
	meter := &receivedMeter{}
	in := bridge.NewIngest(s, nil, bridge.NewClock(s.Age, func() bool { return true }), meter, &bridge.DropLog{})
	done := make(chan error, 1)
	in.Passed("aws", &bridge.Message{Topic: "$aws/things/p/shadow/get/accepted", Payload: []byte("{}")}, 50, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(meter.topics) != 1 || meter.wire != 50 {
		t.Errorf("metered %q, %d bytes", meter.topics, meter.wire)
	}
	for _, q := range s.Queues() {
		if d := s.Depth(q); d.Records != 0 {
			t.Errorf("%d records in %s", d.Records, q)
		}
	}
}
