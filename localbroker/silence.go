package localbroker

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// MQTT 3.1.1 has no way to tell why a broker closes (B186), nor most reasons
// why it refuses a CONNECT: what MQTT 5 would have said is counted and logged
// instead, so that somebody on site sees it.

// SilentClose is how many MQTT 3.1.1 connections were closed for one reason
// that MQTT 5 would have been told.
type SilentClose struct {
	Reason string // kebab-case, as in the log
	Packet string // "CONNACK" or "DISCONNECT"
	Code   byte   // MQTT 5 reason code
	Count  int64
}

// Said is the code as specifications write it.
func (s SilentClose) Said() string { return fmt.Sprintf("%s 0x%02X", s.Packet, s.Code) }

// silences counts them. Reasons are a fixed set of words, and each has one
// code, so that the map is bounded.
type silences struct {
	mu     sync.Mutex
	counts map[SilentClose]int64 // keys without Count
}

const (
	saidConnack    = "CONNACK"
	saidDisconnect = "DISCONNECT"
)

// close counts a close without a word.
func (s *silences) close(reason, packet string, code byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[SilentClose]int64{}
	}
	s.counts[SilentClose{Reason: reason, Packet: packet, Code: code}]++
}

// list is the counts by reason.
func (s *silences) list() []SilentClose {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]SilentClose, 0, len(s.counts))
	for key, n := range s.counts {
		key.Count = n
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b SilentClose) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Packet, b.Packet), cmp.Compare(a.Code, b.Code))
	})
	return out
}

// unsaid is what MQTT 5 would have said to this end of a connection; empty when
// the other version was told, or there was nothing to tell.
func (c *client) unsaid(why *cause) string {
	if c.version == 5 || why.code == 0 || why.clean {
		return ""
	}
	c.broker.silences.close(why.reason, saidDisconnect, why.code)
	return SilentClose{Packet: saidDisconnect, Code: why.code}.Said()
}

// unsaidRefusal is the same for a CONNECT that was refused without a CONNACK.
func (c *client) unsaidRefusal(why *connectError) string {
	if c.version == 5 || why.v5 == 0 || c.refusal(why) != 0 {
		return ""
	}
	c.broker.silences.close(why.reason, saidConnack, why.v5)
	return SilentClose{Packet: saidConnack, Code: why.v5}.Said()
}
