package bridge

import (
	"fmt"
	"time"
)

// A device on whose messages the receiver hangs up one after the other publishes, most
// often, to a topic that it may not, and the receiver has no word for that. Or it has,
// and refuses one after the other for good. Each of
// them ends several links, which others go by, too. So after restAt in a row the
// device rests before its next is tried, the longer the more there were, as a queue
// does that the receiver's policy denies. What others have sent is read past it; when
// they have come as far as they may, some of it makes way. Before that, from the first
// poison on, what follows of the device goes alone and after others, as a suspect does,
// until one is taken.
const restAt = 5

// rest notes that a message was poison, and what the receiver does with such.
func (f *Forwarder) rest(fl *flight, does string) {
	key := f.cfg.HoldBy(fl.Stored)
	n := f.streaks[key] + 1
	if n == 1 && len(f.streaks) >= maxSuspects {
		return
	}
	if f.streaks[key] = n; n < restAt {
		return
	}
	h := f.holdOf(holdKey{by: key}, fl.line)
	h.rests, h.until = true, time.Now().Add(min(pauseBase<<min(n-restAt, 10), pauseMax))
	h.why = fmt.Sprintf("the receiver %s the %d before it of the same device", does, n)
	h.tried = tried{refused: wayTries, since: f.spool.Age() - wayGrace, way: min(1<<min(n, 10), wayBatch)}
	if f.health.Raise(Warning{Code: f.restCode(), Severity: Critical,
		Text: fmt.Sprintf("%s %s message after message of %q (the latest to topic %q), %d so far, which are dead letters: its other messages wait, and one is tried every now and then; let the cloud's policy allow the topic, or ours deny it", f.cfg.Upstream, does, fl.Device, fl.Receiver.Topic, n)}) {
		f.log.Warn("a device rests: the receiver "+does+" each of its messages", "queue", fl.source.queue, "device", fl.Device, "topic", fl.Receiver.Topic)
	}
}

// endStreak notes that a message was taken. What else of its device waits to go alone
// need not.
func (f *Forwarder) endStreak(fl *flight) {
	if len(f.streaks) == 0 {
		return
	}
	key := f.cfg.HoldBy(fl.Stored)
	if f.streaks[key] == 0 {
		return
	}
	if delete(f.streaks, key); len(f.streaks) == 0 {
		f.health.Clear(f.restCode())
	}
	for _, x := range fl.line.recall(func(x *flight) bool { return x.alone && f.cfg.HoldBy(x.Stored) == key }) {
		f.unsent(x)
	}
}

func (f *Forwarder) restCode() string { return "rests-" + f.cfg.Upstream }
