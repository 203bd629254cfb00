package localbroker

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

func withWill(pk *packets.Packet) {
	pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillQos = true, "w", []byte("gone"), 1
	if pk.ProtocolVersion == 5 {
		pk.Connect.WillProperties = packets.Properties{
			ContentType: "text/plain", ResponseTopic: "r", CorrelationData: []byte{1}, MessageExpiryInterval: 60,
			User: []packets.UserProperty{{Key: "k", Val: "v"}},
		}
	}
}

// TestWill: published for every end but a DISCONNECT (B164-B166, B171), through
// the walk, with all its properties (B170).
func TestWill(t *testing.T) {
	ends := map[string]struct {
		end  func(h *house, d *device)
		sent bool
	}{
		"cut": {func(_ *house, d *device) { _ = d.Close() }, true},
		"DISCONNECT": {func(_ *house, d *device) {
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		}, false},
		"protocol error":     {func(_ *house, d *device) { d.send(hello(d.version, "d")) }, true},
		"kicked":             {func(h *house, _ *device) { h.Kick("d") }, true},
		"taken over":         {func(h *house, d *device) { h.join(d.version, "d") }, true},
		"gateway stops":      {func(h *house, _ *device) { h.stop() }, true},
		"publish not wanted": {func(_ *house, d *device) { d.send(publish(1, "1/2/3/4/5/6/7/8/9", "x")); _ = d.Close() }, true},
	}
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				h := open(t, people{}, plain(profileAWSEdge))
				d := h.join(version, "d", withWill)
				tt.end(h, d)
				receive(t, "the end", h.ended)
				want := 0
				if tt.sent {
					want = 1
				}
				if got := h.walk.topics(); len(got) != want {
					t.Fatalf("the walk took %q, want %d wills", got, want)
				}
				if !tt.sent || version == 4 {
					return
				}
				if m := h.walk.took[0]; string(m.Payload) != "gone" || m.ContentType != "text/plain" || m.ResponseTopic != "r" ||
					len(m.CorrelationData) != 1 || len(m.User) != 1 || !m.HasExpiry || m.Expiry != 60 || m.QoS != 1 {
					t.Errorf("will %+v", m)
				}
			})
		})
	}
}

func TestWillOnRequest(t *testing.T) { // B165
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "d", withWill)
	d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: 4})
	receive(t, "the end", h.ended)
	if got := h.walk.topics(); len(got) != 1 {
		t.Errorf("the walk took %q", got)
	}
}

// TestEmptyWill: a will may be empty, a password too.
func TestEmptyWill(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(4, "d", withWill, login("", ""), func(pk *packets.Packet) { pk.Connect.WillPayload = nil })
	_ = d.Close()
	receive(t, "the end", h.ended)
	if got := h.walk.topics(); len(got) != 1 {
		t.Errorf("the walk took %q", got)
	}
}

// TestWillIsDeliveredAndRetained (B159).
func TestWillIsDeliveredAndRetained(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	sub := h.join(5, "sub")
	sub.subscribe(1, "w")
	d := h.join(5, "d", withWill, func(pk *packets.Packet) { pk.Connect.WillRetain = true })
	_ = d.Close()
	if got := sub.take(); string(got.Payload) != "gone" || got.FixedHeader.Retain || got.Properties.ContentType != "text/plain" {
		t.Errorf("got %+v", got)
	}
	late := h.join(5, "late")
	late.subscribe(1, "w")
	if got := late.take(); !got.FixedHeader.Retain {
		t.Error("not retained")
	}
}

// TestWillIsAskedAgain: a policy that has changed since CONNECT counts (M12).
func TestWillIsAskedAgain(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "d", withWill)
	h.rules.deny("iot:Publish w")
	_ = d.Close()
	receive(t, "the end", h.ended)
	if got := h.walk.topics(); len(got) != 0 || h.dropped("will-refused") != 1 {
		t.Errorf("the walk took %q, %d counted", got, h.dropped("will-refused"))
	}
}

// TestWillDelay: in profile mqtt a device that comes back in time leaves no
// will; AWS has no delay (B169).
func TestWillDelay(t *testing.T) {
	delayed := func(pk *packets.Packet) { withWill(pk); pk.Connect.WillProperties.WillDelayInterval = 30 }
	t.Run("aws", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(5, "d", delayed, persistent(60))
		_ = d.Close()
		receive(t, "the end", h.ended)
		if got := h.walk.topics(); len(got) != 1 {
			t.Errorf("the walk took %q", got)
		}
	})
	for name, tt := range map[string]struct {
		expiry uint32
		after  time.Duration
		back   bool
		clean  bool
		want   int
	}{
		"not yet":                 {expiry: 60, after: 29 * time.Second, want: 0},
		"due":                     {expiry: 60, after: 31 * time.Second, want: 1},
		"the session ends before": {expiry: 10, after: 11 * time.Second, want: 1},
		"no session":              {expiry: 0, want: 1},
		"back in time":            {expiry: 60, after: 29 * time.Second, back: true, want: 0},
		"back with a clean start": {expiry: 60, after: 29 * time.Second, back: true, clean: true, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, people{}, plain(profileMQTT))
			d := h.join(5, "d", delayed, persistent(tt.expiry))
			h.leave(d, "d")
			h.clock.advance(tt.after)
			if tt.back {
				h.join(5, "d", persistent(60), func(pk *packets.Packet) { pk.Connect.Clean = tt.clean })
				h.clock.advance(time.Minute)
			}
			h.sessions.sweep(h.age())
			if tt.want > 0 {
				eventually(t, "the will", func() bool { return len(h.walk.topics()) == tt.want })
			} else if got := h.walk.topics(); len(got) != 0 {
				t.Errorf("the walk took %q", got)
			}
		})
	}
}

// TestWillRefusedByTheWalk is counted; one that finds no room is tried again.
func TestWillRefusedByTheWalk(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	refuse := func(kind bridge.Kind) {
		h.walk.setStep(func(_ *bridge.Message, done func(error)) { done(bridge.Errorf("walk", kind, "says the test")) })
	}
	refuse(bridge.TopicInvalid)
	d := h.join(4, "d", withWill)
	_ = d.Close()
	receive(t, "the end", h.ended)
	eventually(t, "counted", func() bool { return h.dropped("will-refused") == 1 })
	refuse(bridge.Full)
	d = h.join(4, "d", withWill)
	_ = d.Close()
	receive(t, "the end", h.ended)
	h.walk.setStep(nil)
	if h.sessions.sweep(h.age()); len(h.walk.topics()) != 2 {
		t.Error("tried again too early")
	}
	h.clock.advance(retryWill)
	h.sessions.sweep(h.age())
	if got := h.walk.topics(); len(got) != 3 || h.dropped("will-refused") != 1 {
		t.Errorf("the walk took %q, %d counted", got, h.dropped("will-refused"))
	}
}
