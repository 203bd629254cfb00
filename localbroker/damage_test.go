package localbroker

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestDamageIsNotAbsence: what the shelf has and cannot read is told, counted and
// given up, be it a session, a message, a retained one or a will; what is whole
// stays. Nothing is told when nothing is damaged.
func TestDamageIsNotAbsence(t *testing.T) {
	for namespace, want := range map[string]struct {
		lost     int64
		sessions int
		messages int
		retained int
	}{
		"":            {0, 2, 3, 2},
		shelfSession:  {2, 0, 0, 2},
		shelfBody:     {6, 2, 0, 2}, // three messages, each for two
		shelfQueue:    {6, 2, 0, 2},
		shelfRetained: {2, 2, 3, 0},
		shelfWill:     {1, 2, 3, 2},
		shelfNumbers:  {1, 2, 3, 2},
	} {
		t.Run(namespace, func(t *testing.T) {
			c := &clock{}
			disk := newDisk(c)
			h := disk.house(t, c, plain(profileAWSEdge))
			for _, id := range []string{"a", "b"} {
				d := h.join(5, id, persistent(600))
				d.subscribe(1, "t")
				h.leave(d, id)
			}
			pub := h.join(5, "pub", func(pk *packets.Packet) {
				pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "w", []byte("x")
			})
			for i := range 3 {
				pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
				pub.answered(0)
			}
			for _, topic := range []string{"one", "two"} {
				pub.send(publish(9, topic, "x", retain))
				pub.answered(0)
			}
			disk.crash()
			h.stop()
			disk = disk.back()
			disk.spoiled = map[string]bool{namespace: true}
			h = disk.house(t, c, plain(profileAWSEdge))
			if st := h.Status(); st.Sessions != want.sessions || st.Retained != want.retained {
				t.Errorf("%d sessions, %d retained messages", st.Sessions, st.Retained)
			}
			for _, id := range []string{"a", "b"} {
				d := h.join(5, id, persistent(600))
				for i := range want.messages {
					if got := string(d.take().Payload); got != fmt.Sprint(i) {
						t.Errorf("%s got %q", id, got)
					}
				}
				d.expectNothing()
			}
			eventually(t, "all of the loss is counted", func() bool { return h.dropped("corrupt") == want.lost })
		})
	}
}
