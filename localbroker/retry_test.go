package localbroker

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestRetryWindow: what a connected device does not acknowledge is dropped after
// an hour (3.1.1, B110) or 16 minutes (5, B111), whether its session is kept or
// not; until then a 3.1.1 device gets it again with the same packet id and
// without DUP (B112), and the window moves on afterwards.
func TestRetryWindow(t *testing.T) {
	for _, kept := range []bool{true, false} {
		each(t, func(t *testing.T, version byte) {
			h := open(t, people{}, plain(profileAWSEdge))
			window := time.Hour
			if version == 5 {
				window = 16 * time.Minute
			}
			expiry := persistent(7200)
			if !kept {
				expiry = func(*packets.Packet) {}
			}
			d := h.join(version, "d", expiry)
			d.subscribe(1, "t")
			pub := h.join(4, "pub")
			pub.send(publish(1, "t", "x"))
			first := d.expect(packets.Publish)
			h.clock.advance(window - time.Second)
			h.sessions.sweep(h.age())
			if version == 4 {
				if again := d.expect(packets.Publish); again.PacketID != first.PacketID || again.FixedHeader.Dup || string(again.Payload) != "x" {
					t.Errorf("again: id %d, dup %v, %q", again.PacketID, again.FixedHeader.Dup, again.Payload)
				}
			}
			d.expectNothing()
			if h.dropped("retry-window") != 0 || h.sessions.find("d").info().Waiting != 1 {
				t.Error("dropped too early")
			}
			h.clock.advance(time.Second)
			h.sessions.sweep(h.age())
			if h.dropped("retry-window") != 1 || h.sessions.find("d").info().Waiting != 0 {
				t.Error("not dropped")
			}
			d.puback(first.PacketID) // too late, and nobody's
			d.expectNothing()
			pub.send(publish(2, "t", "y"))
			if got := string(d.take().Payload); got != "y" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestResend: the interval is a switch, and MQTT as it is sends nothing again on
// a live connection.
func TestResend(t *testing.T) {
	for name, tt := range map[string]struct {
		profile string
		resend  time.Duration
		after   time.Duration
		want    bool
	}{
		"aws":             {profileAWS, 0, time.Minute, true},
		"aws, not yet":    {profileAWS, 0, 59 * time.Second, false},
		"switched":        {profileAWS, 5 * time.Second, 5 * time.Second, true},
		"mqtt":            {profileMQTT, 0, 24 * time.Hour, false},
		"mqtt, switched":  {profileMQTT, time.Minute, time.Minute, true},
		"edge, every one": {profileAWSEdge, 0, 30 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain(tt.profile)
			o.ResendV3 = tt.resend
			h := open(t, people{}, o)
			d := h.join(4, "d", persistent(0))
			d.subscribe(1, "t")
			h.join(4, "pub").send(publish(1, "t", "x"))
			d.expect(packets.Publish)
			h.clock.advance(tt.after)
			h.sessions.sweep(h.age())
			if tt.want {
				if again := d.take(); again.FixedHeader.Dup != (tt.profile == profileMQTT) {
					t.Errorf("DUP %v", again.FixedHeader.Dup)
				}
			}
			d.expectNothing()
		})
	}
}
