package failover

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options say where to go when an upstream is not reached, and when.
type Options struct {
	To        string        `koanf:"to" doc:"Upstream that takes the messages while this one is not reached; empty: none, they wait in the spool. It is logged in to by client ids of its own: its client_id with -for-NAME. It may fail over further."`
	After     time.Duration `koanf:"after" doc:"How long this upstream may be away before the other takes over, 1s to 24h."`
	BackAfter time.Duration `koanf:"back_after" doc:"How long this upstream must be reached again before it takes its messages back, 1s to 24h."`
}

// DefaultOptions fail over to nobody.
func DefaultOptions() Options { return Options{After: time.Minute, BackAfter: 5 * time.Minute} }

// Validate lists everything that is wrong with the options.
func (o Options) Validate() []bridge.Problem {
	var out []bridge.Problem
	usual := DefaultOptions()
	for _, c := range []struct {
		path     string
		d, usual time.Duration
	}{{"after", o.After, usual.After}, {"back_after", o.BackAfter, usual.BackAfter}} {
		switch {
		case c.d < time.Second || c.d > 24*time.Hour:
			out = append(out, bridge.Problem{Path: c.path, Text: fmt.Sprintf("%v is out of range", c.d), Remedy: "set it between 1s and 24h"})
		case o.To == "" && c.d != c.usual:
			out = append(out, bridge.Problem{Path: c.path, Text: "is given, and no upstream takes over", Remedy: "name one in failover.to, or leave it out"})
		}
	}
	return out
}
