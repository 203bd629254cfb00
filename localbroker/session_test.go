package localbroker

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestResume: subscriptions and messages outlive the connection; what was
// unacknowledged comes again first, in order, with its packet id (B51, B54,
// B63, B66).
func TestResume(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for _, profile := range []string{profileAWS, profileMQTT} {
			h := open(t, people{}, plain(profile))
			d := dial(t, h.addr(), version)
			if d.connect("d", persistent(600)).SessionPresent {
				t.Error("a new session is present")
			}
			d.subscribe(1, "t")
			pub := h.join(4, "pub")
			pub.send(publish(1, "t", "0"))
			pub.send(publish(2, "t", "1"))
			ids := []uint16{d.expect(packets.Publish).PacketID, d.expect(packets.Publish).PacketID}
			h.leave(d, "d")
			pub.send(publish(0, "t", "lost: QoS 0 to nobody")) // B64
			pub.send(publish(3, "t", "2"))
			eventually(t, "three queued", func() bool { return h.Sessions()[0].Waiting == 3 })
			d = dial(t, h.addr(), version)
			if !d.connect("d", persistent(600)).SessionPresent {
				t.Error("the session is not present")
			}
			for i := range 3 {
				pk := d.take()
				if string(pk.Payload) != fmt.Sprint(i) || i < 2 && pk.PacketID != ids[i] {
					t.Errorf("message %d is %q, id %d", i, pk.Payload, pk.PacketID)
				}
				if dup := i < 2 && profile == profileMQTT; pk.FixedHeader.Dup != dup { // B112
					t.Errorf("%s: message %d has DUP %v", profile, i, pk.FixedHeader.Dup)
				}
			}
			d.expectNothing()
		}
	})
}

// TestSessionEnds: when nothing is to be kept.
func TestSessionEnds(t *testing.T) {
	disconnect := func(expiry uint32) packets.Packet {
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = expiry, true
		return pk
	}
	tests := []struct {
		name    string
		version byte
		first   func(*packets.Packet)
		part    func(d *device)
		away    time.Duration
		second  byte
		present bool
	}{
		{"clean (B52, B56)", 4, nil, nil, 0, 4, false},
		{"persistent (B57)", 5, persistent(60), nil, 0, 5, true},
		{"expired (B59, B68)", 4, persistent(0), nil, 61 * time.Minute, 4, false},
		{"not yet expired", 4, persistent(0), nil, 59 * time.Minute, 4, true},
		{"v5 expiry is its own", 5, persistent(60), nil, 61 * time.Second, 5, false},
		{"no expiry asked (B44)", 5, persistent(0), nil, 0, 5, false},
		{"the other version (B58)", 4, persistent(0), nil, 0, 5, false},
		{"DISCONNECT with expiry 0 (B61)", 5, persistent(60), func(d *device) { d.send(disconnect(0)); d.expectEnd() }, 0, 5, false},
		{"DISCONNECT with another expiry (B62)", 5, persistent(60), func(d *device) { d.send(disconnect(600)); d.expectEnd() }, time.Minute, 5, true},
		{"DISCONNECT from 0 to more (B60)", 5, nil, func(d *device) { d.send(disconnect(600)); d.expectGoodbye(0x82) }, 0, 5, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t, people{}, plain(profileAWS))
			change := []func(*packets.Packet){}
			if tt.first != nil {
				change = append(change, tt.first)
			}
			d := h.join(tt.version, "d", change...)
			d.subscribe(1, "t")
			if tt.part != nil {
				tt.part(d)
			}
			h.leave(d, "d")
			h.clock.advance(tt.away)
			again := dial(t, h.addr(), tt.second)
			if got := again.connect("d", persistent(60)).SessionPresent; got != tt.present {
				t.Errorf("session present %v, want %v", got, tt.present)
			}
			want := 0
			if tt.present {
				want = 1
			}
			if got := h.sessions.find("d").info().Filters; len(got) != want {
				t.Errorf("subscriptions %v", got)
			}
		})
	}
}

// TestSweep: an expired session leaves nothing behind, its subscriptions above
// all (M11).
func TestSweep(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(4, "d", persistent(0))
	d.subscribe(1, "t/#", "$share/g/t")
	h.leave(d, "d")
	h.sessions.sweep(h.age())
	if len(h.Sessions()) != 1 {
		t.Fatal("swept too early")
	}
	h.sessions.sweep(h.age() + 2*time.Hour)
	if len(h.Sessions()) != 0 || !h.index.root.empty() {
		t.Error("something is left")
	}
}

// TestTakeOver: the old connection is told 0x8E (B19), the new one has the
// session.
func TestTakeOver(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	old := h.join(5, "d", persistent(60))
	old.subscribe(1, "t")
	fresh := dial(t, h.addr(), 5)
	if !fresh.connect("d", persistent(60)).SessionPresent {
		t.Error("the session is not present")
	}
	old.expectGoodbye(0x8E)
	h.join(4, "pub").send(publish(1, "t", "x"))
	fresh.take()
	v3 := h.join(4, "d")
	fresh.expectGoodbye(0x8E)
	h.join(4, "d")
	v3.expectEnd()
}

// TestTakeOverStorm: many CONNECTs of one client id at once leave exactly one
// connection.
func TestTakeOverStorm(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	const n = 20
	var wg sync.WaitGroup
	for range n {
		d := dial(t, h.addr(), 5)
		wg.Go(func() {
			_, _ = d.Write(encode(t, hello(5, "d"), 5))
			for {
				if _, err := d.read(); err != nil {
					return
				}
			}
		})
	}
	eventually(t, "one connection", func() bool {
		st := h.Status()
		return st.Sockets == 1 && st.Connections == 1 && st.Sessions == 1
	})
	h.stop()
	wg.Wait()
}

// TestKick (B188).
func TestKick(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "d")
	if !h.Kick("d") || h.Kick("nobody") {
		t.Error("Kick says the wrong thing")
	}
	d.expectGoodbye(0x98)
	if why := receive(t, "the callback", h.ended); why != "kicked" {
		t.Errorf("reason %q", why)
	}
}

// TestSessionBound: no more sessions than allowed, resuming excepted.
func TestSessionBound(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.memory.Sessions = 1
	d := h.join(4, "d", persistent(0))
	h.leave(d, "d")
	if got := dial(t, h.addr(), 5).connect("other").ReasonCode; got != 0x97 {
		t.Errorf("CONNACK %#x, want 0x97", got)
	}
	h.join(4, "d", persistent(0))
}

// TestResumeUnderLoad: a subscriber that is cut again and again misses nothing,
// sees first arrivals in order, and sees twice only what it had not
// acknowledged.
func TestResumeUnderLoad(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h := open(t, people{}, plain(profileAWSEdge))
		d := h.join(version, "d", persistent(600))
		d.subscribe(1, "t")
		const messages, every = 2000, 150
		pub := h.join(4, "pub")
		go func() {
			for i := range messages {
				if i >= 50 {
					if _, err := pub.read(); err != nil {
						return
					}
				}
				if _, err := pub.Write(encode(t, publish(uint16(i+1), "t", fmt.Sprint(i)), 4)); err != nil {
					return
				}
			}
		}()
		next, unacked := 0, 0
		for taken := 1; next < messages; taken++ {
			pk, err := d.read()
			if err != nil {
				t.Fatal(err)
			}
			var n int
			if _, err := fmt.Sscan(string(pk.Payload), &n); err != nil {
				t.Fatal(err)
			}
			switch {
			case n == next:
				next++
			case n > next:
				t.Fatalf("message %d before %d", n, next)
			case unacked == 0:
				t.Fatalf("message %d again, though all had been acknowledged", n)
			default:
				unacked--
			}
			if taken%every == 0 {
				unacked += 100 // what may have been in flight
				_ = d.Close()
				d = h.join(version, "d", persistent(600))
				continue
			}
			d.puback(pk.PacketID)
		}
	})
}
