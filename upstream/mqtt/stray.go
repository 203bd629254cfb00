package mqtt

import (
	"fmt"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// strays counts the acknowledgements on one connection of what is not in flight: a
// cloud, or a proxy before it, acknowledges a message twice, or one that it never
// got from us. They say nothing about any message of ours, so they are passed over.
// Ending the connection for them would make of each a reconnect, with everything in
// flight sent again.
type strays struct {
	health *health

	mu     sync.Mutex
	n      int64     // on this connection
	raised bool      // a warning tells of them
	told   int64     // in it
	last   time.Time // when the latest came
}

// strayQuiet is how long none must have come for the warning to go.
const strayQuiet = 10 * time.Minute

// begin is called once, before anything can come.
func (s *strays) begin(h *health) {
	s.health = h
	h.hooks.Over(s.code())
}

func (s *strays) code() string { return s.health.prefix + "-stray-acks" }

// add notes one that came at a time. The first is told; of the others the count is,
// every now and then.
func (s *strays) add(a puback, at time.Time) {
	s.mu.Lock()
	s.n++
	s.last = at
	news := !s.raised
	s.raised = true
	s.mu.Unlock()
	if news {
		s.health.log.Warn(s.health.prefix+": an acknowledgement of nothing that is in flight is passed over", "packet", a.name(), "packet_id", a.id)
		s.tell()
	}
}

// review tells the count, or that it is over.
func (s *strays) review(now time.Time) {
	s.mu.Lock()
	n, over, more := s.n, s.raised && now.Sub(s.last) >= strayQuiet, s.n > s.told
	if over {
		s.raised = false
	}
	s.mu.Unlock()
	switch {
	case over:
		s.health.log.Info(s.health.prefix+": acknowledgements of nothing have ended", "count", n)
		s.health.hooks.Over(s.code())
	case more:
		s.tell()
	}
}

func (s *strays) tell() {
	s.mu.Lock()
	n := s.n
	s.told = n
	s.mu.Unlock()
	s.health.hooks.Warn(bridge.Warning{Code: s.code(), Severity: bridge.Notice, Text: fmt.Sprintf(
		"%s: %d acknowledgements on this connection of what was not in flight: the broker, or a proxy before it, acknowledges messages twice; they are passed over, no message is lost by them",
		s.health.o.Endpoint, n)})
}

// name is the packet's.
func (a puback) name() string { return packets.NewControlPacket(a.kind).PacketType() }
