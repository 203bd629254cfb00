package localbroker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestB180_GroupsAndOthers: a client gets a copy for its ordinary subscriptions
// (B114) and one for each share group that has chosen it (B180), whether it is
// there or comes back.
func TestB180_GroupsAndOthers(t *testing.T) {
	for _, profile := range []string{profileAWSEdge, profileMQTT} {
		for i, tt := range []struct {
			filters []string
			want    int
		}{
			{[]string{"o/b", "o/+"}, 1},
			{[]string{"$share/g/o/b"}, 1},
			{[]string{"$share/g/o/b", "$share/h/o/b"}, 2},
			{[]string{"o/b", "$share/g/o/b"}, 2},
			{[]string{"o/b", "o/+", "$share/g/o/b"}, 2},
			{[]string{"o/b", "$share/g/o/b", "$share/h/o/+", "o/+"}, 3},
		} {
			for _, away := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/away %v", profile, i, away), func(t *testing.T) {
					h := open(t, people{}, plain(profile))
					pub := h.join(5, "pub")
					for round := range 4 { // maps have no order
						id, topic := fmt.Sprint("d", round), fmt.Sprintf("o%d/", round)
						d := h.join(5, id, persistent(600))
						for _, f := range tt.filters {
							d.subscribe(1, strings.ReplaceAll(f, "o/", topic))
						}
						if away {
							h.leave(d, id)
						}
						pub.send(publish(uint16(round+1), topic+"b", "x"))
						pub.expect(packets.Puback)
						if away {
							d = h.join(5, id, persistent(600))
						}
						for range tt.want {
							d.take()
						}
						d.expectNothing()
					}
				})
			}
		}
	}
}

// TestRefusedStaysRefused: who had no room for a message is not offered it again
// because somebody has subscribed meanwhile: it would come behind newer ones.
func TestRefusedStaysRefused(t *testing.T) {
	l := plain(profileAWSEdge)
	l.Limits.QueueMessages = 1
	h := open(t, people{}, l)
	d := h.join(5, "d", persistent(600))
	d.subscribe(1, "t")
	pub := h.join(5, "pub")
	pub.send(publish(1, "t", "first"))
	first := d.expect(packets.Publish)
	p := &parcel{broker: h.Broker, from: "pub", msg: &bridge.Message{Topic: "t", QoS: 1, Payload: []byte("second")}}
	var batch bridge.Batch
	p.extend(&batch)
	if p.full != 1 {
		t.Fatal("there is room")
	}
	d.puback(first.PacketID)
	eventually(t, "room", func() bool { return h.waits("d") == 0 })
	h.join(5, "late").subscribe(1, "u")
	p.settle(nil)
	p.deliver(offer)
	d.expectNothing()
}
