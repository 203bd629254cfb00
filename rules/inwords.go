package rules

import (
	"fmt"

	"github.com/ebbgate/ebbgate/rules/shape"
)

// Sends is the template of the topic under which a route sends, Basic Ingest's rule
// before it.
func (u UpRoute) Sends() string { return ingestTopic(u) }

// InWords names what a route does to messages besides sending them, in that order.
func (u UpRoute) InWords() (out []string) {
	say := func(some bool, format string, args ...any) {
		if some {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	s := u.Steps
	say(u.Where != "", "where")
	say(u.Sample.OneIn > 1, "one in %d", u.Sample.OneIn)
	say(u.Sample.Every > 0, "one every %v", u.Sample.Every)
	say(s.Deadband.Field != "", "deadband of %s", s.Deadband.Field)
	say(s.Window.Every > 0, "window of %v", s.Window.Every)
	say(s.Batch.Format != shape.None && s.Batch.Format != "", "batches as %s", s.Batch.Format)
	say(s.Compress != shape.None && s.Compress != "", "%s", s.Compress)
	say(s.Split > 0, "split above %v", s.Split)
	say(s.Divert > 0, "files above %v", s.Divert)
	say(u.KeepLast > 0, "the last %d", u.KeepLast)
	say(u.LiveFirst, "live first")
	say(u.TTL > 0, "for %v", u.TTL)
	return out
}
