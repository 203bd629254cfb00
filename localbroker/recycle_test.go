package localbroker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// largeShop is a shop that takes larger packets than the profile does, and answers
// them all in the end.
type largeShop struct {
	*shop
	count   int
	took    []FamilyRequest
	payload [][]byte
	answers []func(error)
	ended   chan struct{}
}

func (*largeShop) LargestPacket(string) int { return 300 << 10 }

func (s *largeShop) Take(r FamilyRequest, done func(error)) {
	s.took, s.payload, s.answers = append(s.took, r), append(s.payload, bytes.Clone(r.Message.Payload)), append(s.answers, done)
	if len(s.answers) == s.count {
		close(s.ended)
	}
}

// TestBodiesAreUsedAgain: packets that are read into the memory of earlier ones, of
// any size and with others' messages between them, are whole; and what a message
// has beside its payload stays what it was, as do messages that are kept.
func TestBodiesAreUsedAgain(t *testing.T) {
	const count = 60
	s := &largeShop{shop: &shop{}, count: count, ended: make(chan struct{})}
	h := openWith(t, people{}, func(d *Deps) { d.Families = []Family{s} }, plain(profileAWSEdge))
	d := h.join(5, "a")
	payload := func(i int) string {
		return strings.Repeat(fmt.Sprintf("%04d", i), []int{2 << 10, 3 << 10, 25 << 10, 26 << 10, 40 << 10, 45 << 10}[i%6])
	}
	for i := range count {
		d.send(publish(uint16(i+1), fmt.Sprintf("$shop/%d", i), payload(i), func(pk *packets.Packet) {
			pk.Properties.ResponseTopic, pk.Properties.CorrelationData = fmt.Sprintf("to/%d", i), []byte(fmt.Sprint(i))
			pk.Properties.User = []packets.UserProperty{{Key: fmt.Sprint("key", i), Val: fmt.Sprint("value", i)}}
		}))
		if i%6 == 5 {
			d.send(publish(uint16(count+i+1), fmt.Sprintf("dt/%d", i), payload(i)[:100<<10]))
		}
	}
	<-s.ended
	for i, r := range s.took {
		m := r.Message
		if m.Topic != fmt.Sprintf("$shop/%d", i) || m.ResponseTopic != fmt.Sprintf("to/%d", i) || string(m.CorrelationData) != fmt.Sprint(i) ||
			len(m.User) != 1 || m.User[0].Key != fmt.Sprint("key", i) || m.User[0].Value != fmt.Sprint("value", i) {
			t.Errorf("message %d is %s, %s, %s, %v", i, m.Topic, m.ResponseTopic, m.CorrelationData, m.User)
		}
		if string(s.payload[i]) != payload(i) {
			t.Errorf("payload %d of %d bytes is another", i, len(s.payload[i]))
		}
		s.answers[i](nil)
	}
	for range count + count/6 {
		d.expect(packets.Puback)
	}
	h.walk.mu.Lock()
	defer h.walk.mu.Unlock()
	if len(h.walk.took) != count/6 {
		t.Errorf("%d messages for the walk, want %d", len(h.walk.took), count/6)
	}
	for i, m := range h.walk.took {
		if n := 6*i + 5; m.Topic != fmt.Sprintf("dt/%d", n) || string(m.Payload) != payload(n)[:100<<10] {
			t.Errorf("%s with %d bytes is not what was sent", m.Topic, len(m.Payload))
		}
	}
}
