package upstream

import (
	"fmt"

	"github.com/ebbgate/ebbgate/bridge"
)

// Limits are what one connection may carry.
type Limits struct {
	MessagesPerSecond float64     `koanf:"messages_per_second" doc:"Messages a second on one connection, both directions together; 0 is unlimited. AWS IoT Core discards what is above 100 (Q06)."`
	Burst             int         `koanf:"burst" doc:"Messages that may follow each other without spacing, 1 to 10000; a second holds at most messages_per_second + burst and, to make up for late timers, a 20th more."`
	BytesPerSecond    bridge.Size `koanf:"bytes_per_second" doc:"Bytes a second on one connection, both directions together; 0 is unlimited, else at least 1KiB. AWS IoT Core delays what is above 512KiB (Q07)."`
	InFlight          int         `koanf:"in_flight" doc:"Messages sent and not yet acknowledged, 1 to 65535; the server's Receive Maximum bounds it further. AWS IoT Core takes 100 (Q08)."`
}

// DefaultLimits fit AWS IoT Core. 95 messages a second with a burst of 1 put 96
// into a second where no timer is late, and at most 97 as we send them where some
// are; what is left of AWS's 100 is for what comes in at once, and for a second of
// AWS's that is a little longer than ours (Q06). 448 KiB and the
// byte burst of a seventh, 64 KiB, make the 512 KiB of Q07. 100 in flight are Q08.
//
// AWS counts at its end. A network that holds 200 ms of traffic back and then lets it
// go brings 1.2 of our seconds into one of AWS's; who has such a one, and finds
// messages thrown away, sets messages_per_second to 80.
func DefaultLimits() Limits {
	return Limits{MessagesPerSecond: 95, Burst: 1, BytesPerSecond: 448 << 10, InFlight: 100}
}

// Most is how many messages a second may ever hold, both directions together: the
// rate, the burst, and a 20th of the rate to make up for late timers. 0 is no limit.
func (l Limits) Most() int {
	if l.MessagesPerSecond == 0 {
		return 0
	}
	return int(l.MessagesPerSecond*21/20) + max(l.Burst, 1)
}

// mostBytes is how many bytes a second may ever hold, as Most.
func (l Limits) mostBytes() int { return int(l.BytesPerSecond) * (byteBurst + 1) / byteBurst }

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
