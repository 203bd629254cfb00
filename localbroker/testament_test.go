package localbroker

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestWillOutlivesTheGateway: the will of a device that was connected when the
// gateway died is published by the next start, once, whole, and before anybody
// connects; one of a device that said goodbye is not (B164, B166, B170).
func TestWillOutlivesTheGateway(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, plain(profileAWSEdge))
		h.join(version, "present", withWill, persistent(60))
		h.join(version, "clean", withWill)
		polite := h.join(version, "polite", withWill)
		polite.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		polite.expectEnd()
		watcher := h.join(4, "watcher", persistent(0))
		watcher.subscribe(1, "w")
		receive(t, "the polite one's end", h.ended)

		next, disk := disk.crashed(t, h, c, plain(profileAWSEdge))
		if got := next.walk.topics(); len(got) != 2 {
			t.Fatalf("the walk took %q", got)
		}
		m := next.walk.took[0]
		if string(m.Payload) != "gone" || m.QoS != 1 || version == 5 && (m.ContentType != "text/plain" || len(m.User) != 1 || m.Expiry != 60) {
			t.Errorf("will %+v", m)
		}
		watcher = next.join(4, "watcher", persistent(0))
		watcher.take()
		watcher.take()
		watcher.expectNothing()
		last, _ := disk.crashed(t, next, c, plain(profileAWSEdge))
		if got := last.walk.topics(); len(got) != 0 {
			t.Errorf("again: the walk took %q", got)
		}
	})
}

// TestWillOfAStop: a stop publishes wills once: the next start has none.
func TestWillOfAStop(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileAWSEdge))
	h.join(5, "d", withWill)
	h.stop()
	if got := h.walk.topics(); len(got) != 1 {
		t.Errorf("the walk took %q", got)
	}
	eventually(t, "off the shelf", func() bool {
		n := 0
		if err := disk.Keys(shelfWill, "", func(string) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	if got := disk.back().house(t, c, plain(profileAWSEdge)).walk.topics(); len(got) != 0 {
		t.Errorf("again: the walk took %q", got)
	}
}

// TestDelayedWillOutlivesTheGateway: the delay goes on while the gateway is
// down, and a device that comes back in time leaves no will.
func TestDelayedWillOutlivesTheGateway(t *testing.T) {
	delayed := func(pk *packets.Packet) { withWill(pk); pk.Connect.WillProperties.WillDelayInterval = 60 }
	for name, tt := range map[string]struct {
		away  bool // the device left before the crash
		pause time.Duration
		back  bool
		want  int
	}{
		"due while down":             {away: true, pause: 61 * time.Second, want: 1},
		"not yet due":                {away: true, pause: 30 * time.Second, want: 0},
		"back in time":               {away: true, pause: 30 * time.Second, back: true, want: 0},
		"its delay begins at start":  {pause: 61 * time.Second, want: 0},
		"connected and back in time": {pause: 61 * time.Second, back: true, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{}
			disk := newDisk(c)
			h := disk.house(t, c, plain(profileMQTT))
			d := h.join(5, "d", delayed, persistent(600))
			if tt.away {
				h.leave(d, "d")
				eventually(t, "its will waits", func() bool {
					v, _ := disk.Get(shelfSession, "d")
					r, err := decodeSession("d", v)
					return err == nil && r.expires > 0
				})
			}
			disk.crash()
			h.stop()
			c.advance(tt.pause)
			disk = disk.back()
			h = disk.house(t, c, plain(profileMQTT))
			h.sessions.sweep(h.age())
			if tt.back {
				h.join(5, "d", persistent(600))
				c.advance(time.Hour)
				h.sessions.sweep(h.age())
			}
			if tt.want > 0 {
				eventually(t, "the will", func() bool { return len(h.walk.topics()) == tt.want })
			}
			if got := h.walk.topics(); len(got) != tt.want {
				t.Fatalf("the walk took %q", got)
			}
			if tt.want == 0 && !tt.back {
				c.advance(time.Minute)
				h.sessions.sweep(h.age())
				eventually(t, "the will in the end", func() bool { return len(h.walk.topics()) == 1 })
			}
		})
	}
}

// TestPreventedWillStaysPrevented: a delayed will that whoever ended the session
// prevented (B71) is not published by the next start either.
func TestPreventedWillStaysPrevented(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileMQTT))
	d := h.join(5, "d", persistent(600), withWill, func(pk *packets.Packet) { pk.Connect.WillProperties.WillDelayInterval = 60 })
	h.leave(d, "d")
	if found, err := h.sessions.disconnect("d", true, true); !found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	next, _ := disk.crashed(t, h, c, plain(profileMQTT))
	if got := next.walk.topics(); len(got) != 0 {
		t.Errorf("the walk took %q", got)
	}
}
