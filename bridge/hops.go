package bridge

import "strconv"

// The user properties by which the origin travels upstream and comes back.
const (
	PropDevice   = "ebb-device"
	PropThing    = "ebb-thing"
	PropID       = "ebb-id"
	PropAccepted = "ebb-accepted" // RFC 3339 with nanoseconds, UTC
	PropClock    = "ebb-clock"    // "synchronised" or "unsynchronised"
	PropHops     = "ebb-hops"     // gateways passed, this one included
)

// MaxHops is how many gateways a message may pass; one more is a loop.
const MaxHops = 8

// Hops reads how many gateways m has passed. What is not a small number counts
// as too many, so that a hostile value cannot reset the count.
func Hops(m *Message) uint8 {
	v, ok := m.UserValue(PropHops)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 8)
	if err != nil {
		return 255
	}
	return uint8(n)
}
