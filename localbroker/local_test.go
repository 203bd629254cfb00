package localbroker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// downlink is a link to the devices and the outcomes that it reports.
type downlink struct {
	bridge.Link
	tb       testing.TB
	outcomes chan bridge.Result
}

func (h *house) downlink() *downlink {
	h.tb.Helper()
	link, err := h.Local().Connect(context.Background())
	if err != nil {
		h.tb.Fatal(err)
	}
	h.tb.Cleanup(func() { _ = link.Close() })
	return &downlink{link, h.tb, make(chan bridge.Result, 1000)}
}

func (l *downlink) send(topic string, qos byte, change ...func(*bridge.Delivery)) {
	l.tb.Helper()
	d := &bridge.Delivery{Attempt: 1, Stored: &bridge.Stored{
		Record:   &bridge.Record{Message: bridge.Message{Topic: "cloud/" + topic, Payload: []byte(topic)}},
		Receiver: &bridge.Receiver{Topic: topic, QoS: qos},
	}}
	for _, f := range change {
		f(d)
	}
	if err := l.Send(context.Background(), d, func(o bridge.Outcome) { l.outcomes <- o.Result }); err != nil {
		l.tb.Fatal(err)
	}
}

func (l *downlink) expect(want bridge.Result) {
	l.tb.Helper()
	if got := receive(l.tb, "the outcome", l.outcomes); got != want {
		l.tb.Fatalf("result %d, want %d", got, want)
	}
}

func (l *downlink) expectNone() {
	l.tb.Helper()
	select {
	case got := <-l.outcomes:
		l.tb.Fatalf("result %d, want none yet", got)
	case <-time.After(20 * time.Millisecond):
	}
}

// TestDownlinkOutcomes: the outcome is what the devices say.
func TestDownlinkOutcomes(t *testing.T) {
	t.Run("nobody subscribes", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		l := h.downlink()
		l.send("cmd", 1)
		l.expect(bridge.ResultAbsent)
	})
	t.Run("every QoS 1 receiver must acknowledge", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		l, a, b, c := h.downlink(), h.join(5, "a"), h.join(4, "b"), h.join(4, "c")
		a.subscribe(1, "cmd")
		b.subscribe(1, "#")
		c.subscribe(0, "cmd")
		l.send("cmd", 1)
		c.take()
		a.take()
		l.expectNone()
		if got := b.take(); string(got.Payload) != "cmd" {
			t.Errorf("b got %q", got.Payload)
		}
		l.expect(bridge.ResultAcked)
	})
	t.Run("only QoS 0", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		l, d := h.downlink(), h.join(5, "d")
		d.subscribe(1, "cmd")
		l.send("cmd", 0)
		l.expect(bridge.ResultAcked)
		d.take()
	})
	t.Run("a kept session's queue has it", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		l, d := h.downlink(), h.join(5, "d", persistent(60))
		d.subscribe(1, "cmd")
		l.send("cmd", 1)
		l.expect(bridge.ResultAcked)
		h.leave(d, "d")
		l.send("cmd", 1)
		l.expect(bridge.ResultAcked)
		d = h.join(5, "d", persistent(60))
		d.take()
		d.take()
		d.expectNothing()
	})
	t.Run("the session ends first", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		l, d := h.downlink(), h.join(5, "d")
		d.subscribe(1, "cmd")
		l.send("cmd", 1)
		d.expect(packets.Publish)
		_ = d.Close()
		l.expect(bridge.ResultLost)
	})
	t.Run("may not receive", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		h.rules.deny("iot:Receive cmd")
		l, d := h.downlink(), h.join(5, "d")
		d.subscribe(1, "cmd")
		l.send("cmd", 1)
		l.expect(bridge.ResultAbsent)
	})
	t.Run("its queue is full", func(t *testing.T) {
		o := plain(profileAWS)
		o.Limits.QueueMessages = 1
		h := open(t, people{}, o)
		l, d := h.downlink(), h.join(5, "d")
		d.subscribe(1, "cmd")
		l.send("cmd", 1)
		l.send("cmd", 1)
		l.expect(bridge.ResultRetry)
		d.take()
		l.expect(bridge.ResultAcked)
	})
	t.Run("larger than the device takes", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		l, d := h.downlink(), h.join(5, "d", func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 512 })
		d.subscribe(1, "cmd")
		l.send("cmd", 1, func(d *bridge.Delivery) { d.Payload = make([]byte, 600) })
		l.expect(bridge.ResultRefused)
	})
	t.Run("the link is closed", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		l, d := h.downlink(), h.join(5, "d")
		d.subscribe(1, "cmd")
		l.send("cmd", 1)
		_ = l.Close()
		l.expect(bridge.ResultLost)
		<-l.Done()
		if l.Err() == nil || !errors.Is(l.Send(context.Background(), &bridge.Delivery{}, nil), errLinkClosed) {
			t.Error("it still sends")
		}
		d.take() // the late PUBACK is nobody's
		d.expectNothing()
	})
}

// TestAbsentDevicesLeaveTheWindow: however much waits for an absent device,
// present ones are served; what one full queue loses is counted, and what nobody
// could take is given back.
func TestAbsentDevicesLeaveTheWindow(t *testing.T) {
	o := plain(profileAWS)
	o.Limits.QueueMessages = 150
	h := open(t, people{}, o)
	l, d, other := h.downlink(), h.join(5, "d", persistent(60)), h.join(5, "other")
	d.subscribe(1, "cmd", "both")
	other.subscribe(1, "cmd2", "both")
	h.leave(d, "d")
	for range o.Limits.QueueMessages {
		l.send("cmd", 1)
		l.expect(bridge.ResultAcked)
	}
	l.send("cmd", 1)
	l.expect(bridge.ResultRetry)
	l.send("cmd2", 1)
	other.take()
	l.expect(bridge.ResultAcked)
	l.send("both", 1)
	other.take()
	l.expect(bridge.ResultAcked)
	if n := h.dropped("session-queue-full"); n != 2 {
		t.Errorf("%d counted as dropped", n)
	}
}

// TestDownlinkOrder: what is sent in order arrives in order.
func TestDownlinkOrder(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	l, d := h.downlink(), h.join(5, "d")
	d.subscribe(1, "cmd/+")
	topics := []string{"cmd/0", "cmd/1", "cmd/2", "cmd/3", "cmd/4"}
	for _, topic := range topics {
		l.send(topic, 1)
	}
	var got []string
	for range topics {
		got = append(got, d.take().TopicName)
		l.expect(bridge.ResultAcked)
	}
	if !slices.Equal(got, topics) {
		t.Errorf("got %q", got)
	}
	if l.Window() != 100 {
		t.Errorf("window %d", l.Window())
	}
}

// TestDownlinkProperties: the rest of the expiry, the properties and RETAIN
// come through.
func TestDownlinkProperties(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	l, d := h.downlink(), h.join(5, "d")
	d.subscribe(1, "cmd")
	l.send("cmd", 1, func(d *bridge.Delivery) {
		d.HasExpiry, d.Expiry, d.Remaining = true, 1000, 50
		d.User = []bridge.UserProperty{{Key: bridge.PropHops, Value: "1"}}
		d.Receiver.Retain = true
	})
	got := d.take()
	if e := got.Properties.MessageExpiryInterval; e < 48 || e > 50 || len(got.Properties.User) != 1 || got.FixedHeader.Retain {
		t.Errorf("got %+v", got.Properties)
	}
	late := h.join(5, "late")
	late.subscribe(1, "cmd")
	if !late.take().FixedHeader.Retain {
		t.Error("not retained")
	}
}
