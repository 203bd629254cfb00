package localbroker

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestEarlyPacket: what a device sends while its CONNECT is being decided on is as
// early as what comes along with it, over TCP and TLS; who waits is let in (B17).
func TestEarlyPacket(t *testing.T) {
	c := &clock{}
	ca := peers.CA(t)
	dev := ca.Client("dev", peers.Validity{})
	for name, o := range map[string]ListenerOptions{"tcp": plain(profileAWSEdge), "tls": secure(ca, profileAWSEdge, clientFingerprint)} {
		t.Run(name, func(t *testing.T) {
			disk := newDisk(c)
			h := openWith(t, people{known: map[string]bool{"dev": true}}, func(deps *Deps) {
				deps.Shelf, deps.Now = disk, c.now
			}, o)
			connect := func() *device {
				if name == "tls" {
					return h.tlsDial(ca, dev, 5)
				}
				return dial(t, h.addr(), 5)
			}
			for _, together := range []bool{false, true} {
				disk.hold()
				d := connect()
				pk := hello(5, "d")
				pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "w", []byte("x") // to be put on the shelf first
				subscribe := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "t"}}}
				if together {
					both := append(encode(t, pk, 5), encode(t, subscribe, 5)...)
					if _, err := d.Write(both); err != nil {
						t.Fatal(err)
					}
				} else {
					d.send(pk)
					eventually(t, "CONNECT waits for the disk", func() bool { return h.sessions.find("d") != nil })
					d.send(subscribe)
					socket := h.sessions.find("d").current().wire.raw
					eventually(t, "it has arrived", func() bool { return waitsFor(socket) })
				}
				disk.release()
				d.expect(packets.Connack)
				d.expectGoodbye(0x82)
				eventually(t, "it is gone", func() bool { return h.sessions.find("d") == nil })
			}
			d := connect()
			if ack := d.connect("d"); ack.ReasonCode != 0 {
				t.Fatalf("CONNACK %#x", ack.ReasonCode)
			}
			d.send(publish(1, "t", "x"))
			d.answered(0)
		})
	}
}
