package localbroker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestWaterline(t *testing.T) {
	for _, tt := range []struct {
		held         []int64
		budget, want int64
	}{
		{[]int64{100}, 75, 75},
		{[]int64{10, 100, 20}, 75, 45},
		{[]int64{50, 50}, 75, 37},
		{[]int64{20, 10}, 75, 20}, // all of it fits
		{[]int64{1, 1, 1, 1000}, 3, 0},
	} {
		if got := waterline(slices.Clone(tt.held), tt.budget); got != tt.want {
			t.Errorf("%v in %d: %d, want %d", tt.held, tt.budget, got, tt.want)
		}
	}
}

// crowded is a house with 4 MiB of memory for queues.
func crowded(t *testing.T) *house {
	return openOptions(t, people{}, func(*Deps) {}, func(o *Options) { o.Broker.MemoryQueueSize = 4 << 20 }, plain(profileAWSEdge))
}

// lazy takes one message and acknowledges nothing.
func (h *house) lazy(id, filter string) *device {
	h.tb.Helper()
	d := h.join(5, id, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	d.subscribe(1, filter)
	return d
}

// holds is the bytes that wait for a client id in memory.
func (h *house) holds(id string) int64 { return h.sessions.find(id).out.bytes.Load() }

// TestStalledShareMemory: devices that subscribe to everything and read nothing
// cost one that reads not a single message, however many they are: nobody has
// more than is free, and those who hold most make room.
func TestStalledShareMemory(t *testing.T) {
	h := crowded(t)
	good, pub := h.join(4, "good"), h.join(4, "pub")
	good.subscribe(1, "t")
	id := 0
	give := func() {
		t.Helper()
		id++
		pub.send(publish(uint16(id), "t", fmt.Sprintf("%060000d", id)))
		pub.expect(packets.Puback)
		if got := string(good.take().Payload); got != fmt.Sprintf("%060000d", id) {
			t.Fatalf("message %d is %q", id, got)
		}
		eventually(t, "it is acknowledged", func() bool { return h.holds("good") == 0 })
	}
	var stalled []*device
	for i := range 12 {
		stalled = append(stalled, h.lazy(fmt.Sprint("lazy", i), "t"))
		for range 80 { // 4.8 MB
			give()
		}
		h.shareMemory()
		if free := h.queued.total - h.queued.bytes.Load(); free < h.queued.total/8 {
			t.Fatalf("%d stalled devices leave %d bytes", i+1, free)
		}
		if i == 0 && h.holds("lazy0") < h.queued.total*2/5 {
			t.Errorf("one alone holds %d bytes", h.holds("lazy0"))
		}
	}
	least, most := h.queued.total, int64(0)
	for i := range stalled {
		n := h.holds(fmt.Sprint("lazy", i))
		least, most = min(least, n), max(most, n)
	}
	if most > 2*least+120_000 {
		t.Errorf("the stalled ones hold from %d to %d bytes", least, most)
	}
	if h.dropped("session-queue-full") == 0 {
		t.Error("what they lose is not counted")
	}
	for want := 1; want <= 3; want++ { // what they have is the oldest, in order
		if got := string(stalled[0].take().Payload); got != fmt.Sprintf("%060000d", want) {
			t.Fatalf("message %d is %q", want, got)
		}
	}
	for i, d := range stalled {
		h.leave(d, fmt.Sprint("lazy", i))
	}
	h.shareMemory()
	if level := h.queued.level.Load(); level != 0 {
		t.Errorf("nobody waits, and the bound is %d", level)
	}
}

// TestMemoryIsGivenBack: who has to give the newest of it up tells who awaits
// that, and keeps what is in flight.
func TestMemoryIsGivenBack(t *testing.T) {
	h := crowded(t)
	d, pub := h.lazy("d", "#"), h.join(4, "pub")
	link := h.downlink()
	for i := range 300 {
		pub.send(publish(uint16(i+1), "t", fmt.Sprint(i)))
		pub.expect(packets.Puback)
	}
	link.send("cmd", 1)
	eventually(t, "all of them wait", func() bool {
		n, _ := h.sessions.find("d").waiting()
		return n == 301
	})
	if h.sessions.find("d").trim(0) {
		t.Error("there may be more")
	}
	link.expect(bridge.ResultRetry)
	if n := h.dropped("session-queue-full"); n != 299 {
		t.Errorf("%d are counted, want 299", n)
	}
	if got := string(d.take().Payload); got != "0" {
		t.Errorf("in flight was %q", got)
	}
	d.expectNothing()
	pub.send(publish(1, "t", "next"))
	pub.expect(packets.Puback)
	if got := string(d.take().Payload); got != "next" {
		t.Errorf("got %q", got)
	}
}

// waiting is waitingLocked.
func (s *session) waiting() (messages, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waitingLocked()
}

// TestReadAheadIsBounded: what is read ahead of devices that stall, and waits on
// the shelf too, leaves the others half of the memory.
func TestReadAheadIsBounded(t *testing.T) {
	h := crowded(t)
	pub := h.join(4, "pub")
	payload := string(make([]byte, 100_000))
	for i := range 12 {
		id := fmt.Sprint("d", i)
		d := h.join(5, id, persistent(600), func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
		d.subscribe(1, "t")
		h.leave(d, id)
	}
	for i := range 10 {
		pub.send(publish(uint16(i+1), "t", payload))
		pub.expect(packets.Puback)
	}
	var devices []*device
	for i := range 12 {
		devices = append(devices, h.join(5, fmt.Sprint("d", i), persistent(600), func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 }))
	}
	for _, d := range devices {
		d.expect(packets.Publish)
	}
	for i := 10; i < 20; i++ {
		pub.send(publish(uint16(i+1), "t", payload))
		pub.expect(packets.Puback)
	}
	h.sessions.sweep(h.age())
	if n := h.queued.bytes.Load(); n > h.queued.total/2+12*200_000 { // each has one message at least
		t.Errorf("%d bytes are read ahead, of %d", n, h.queued.total)
	}
}
