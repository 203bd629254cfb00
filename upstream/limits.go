package upstream

import (
	"fmt"

	"github.com/ebbgate/ebbgate/bridge"
)

// Limits are what one connection may carry.
type Limits struct {
	MessagesPerSecond float64     `koanf:"messages_per_second" doc:"Messages a second on one connection, both directions together; 0 is unlimited. AWS IoT Core discards what is above 100 (Q06)."`
	Burst             int         `koanf:"burst" doc:"Messages that may follow each other without spacing, 1 to 10000; a second holds at most messages_per_second + burst and, to make up for a late timer, a 64th more."`
	BytesPerSecond    bridge.Size `koanf:"bytes_per_second" doc:"Bytes a second on one connection, both directions together; 0 is unlimited, else at least 1KiB. AWS IoT Core delays what is above 512KiB (Q07)."`
	InFlight          int         `koanf:"in_flight" doc:"Messages sent and not yet acknowledged, 1 to 65535; the server's Receive Maximum bounds it further. AWS IoT Core takes 100 (Q08)."`
}

// DefaultLimits fit AWS IoT Core. 95 messages a second with a burst of 1 put at
// most 97 into any second as we send it, 96 where no timer is late; the 3 left to
// AWS's 100 are for what comes in at once and for what the network bunches up. 448 KiB and the byte burst of a seventh, 64 KiB, make
// the 512 KiB of Q07. 100 in flight are Q08.
func DefaultLimits() Limits {
	return Limits{MessagesPerSecond: 95, Burst: 1, BytesPerSecond: 448 << 10, InFlight: 100}
}

// Validate lists everything that is wrong with the limits.
func (l Limits) Validate() []bridge.Problem {
	var out []bridge.Problem
	if l.MessagesPerSecond < 0 || l.MessagesPerSecond > 0 && l.MessagesPerSecond < 0.01 {
		out = append(out, bridge.Problem{
			Path: "messages_per_second", Text: fmt.Sprintf("%v is not a rate", l.MessagesPerSecond),
			Remedy: "set it to 0.01 or more, or to 0 for no limit",
		})
	}
	if l.Burst < 1 || l.Burst > 10_000 {
		out = append(out, bridge.Problem{
			Path: "burst", Text: fmt.Sprintf("%d is out of range", l.Burst), Remedy: "set it between 1 and 10000",
		})
	}
	if l.BytesPerSecond < 0 || l.BytesPerSecond > 0 && l.BytesPerSecond < 1<<10 {
		out = append(out, bridge.Problem{
			Path: "bytes_per_second", Text: fmt.Sprintf("%v is too little for a connection to work", l.BytesPerSecond),
			Remedy: "set it to 1KiB or more, or to 0 for no limit",
		})
	}
	if l.InFlight < 1 || l.InFlight > 65535 {
		out = append(out, bridge.Problem{
			Path: "in_flight", Text: fmt.Sprintf("%d is out of range", l.InFlight), Remedy: "set it between 1 and 65535",
		})
	}
	return out
}
