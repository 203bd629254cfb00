package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// moveLine is that a message was moved to another queue by ebbgate spool requeue.
type moveLine struct {
	From  string    `json:"from"`
	To    string    `json:"to"`
	When  time.Time `json:"when"`
	Clock string    `json:"clock"`
}

func describeMove(e *bridge.DropEntry) *moveLine {
	return &moveLine{e.Queue, e.MovedTo(), e.Dropped, bridge.Instant{Synced: e.Synced}.Quality()}
}

// course follows a message from queue to queue through what the log has of it, in the
// order in which it was done. What is delivered is not in the log: it is what a queue
// was given, and neither holds nor has given away. What waits for the steps of a route
// is in the queue of the route.
type course struct {
	given map[string]int    // how many of it a queue was given and has not given away
	from  map[string]string // the queue that the last came from
}

func newCourse() *course { return &course{map[string]int{}, map[string]string{}} }

// entry takes in the next entry of the log.
func (c *course) entry(e *bridge.DropEntry) {
	c.left(e.Queue)
	to := e.MovedTo()
	if e.Reason == bridge.DeadLetter {
		to = bridge.DeadQueue(e.Queue)
	}
	if to != "" {
		c.given[routeQueue(to)]++
		c.from[routeQueue(to)] = e.Queue
	}
}

// left takes one from a queue. That it was given to it when it was accepted is not in
// the log.
func (c *course) left(queue string) {
	queue = routeQueue(queue)
	c.given[queue] = max(c.given[queue]-1, 0)
}

// routeQueue is the queue itself, or that of the products.
func routeQueue(queue string) string {
	products, _ := bridge.IsRaw(queue)
	return products
}

// end tells what became of what the log has no end of; held is how many of the message
// the queues hold. It says delivered only of a queue that sends, and was given more of
// it than it holds or has given away.
func (c *course) end(s *desk, held map[string]int) (out []*whyLine) {
	holds := 0
	for _, n := range held {
		holds += n
	}
	for _, queue := range slices.Sorted(maps.Keys(c.given)) {
		lost := s.Ledger(queue).Lost
		switch again := "sent again since, from "; {
		case c.given[queue] <= held[queue]:
		case isDead(queue) && holds > 0: // that may be it
		case isDead(queue):
			out = append(out, &whyLine{State: whyGone, Text: again + queue + " (ebbgate spool requeue), by an earlier version, which has not noted by which queue: delivered, if none above has given it up after that"})
		case lost > 0:
			out = append(out, &whyLine{State: whyGone, Text: fmt.Sprintf("%s%s by %s (ebbgate spool requeue), and neither held nor given up after that: delivered, or one of %d that damage of the spool has taken from %s", again, c.from[queue], queue, lost, queue)})
		default:
			out = append(out, &whyLine{State: whySent, Text: fmt.Sprintf("%s%s by %s (ebbgate spool requeue), and neither held nor given up after that: delivered", again, c.from[queue], queue)})
		}
	}
	return out
}
