package rules

import (
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// keepLast is what of a queue waits.
type keepLast struct {
	n      int
	exempt string
}

// sparkplug begins the topics of Sparkplug, in which each message builds on those
// before it.
const sparkplug = "spBv1.0/"

// keepLast notes what a route says of its queue.
func (t *Table) keepLast(u UpRoute) {
	if u.KeepLast == 0 {
		return
	}
	k := keepLast{n: u.KeepLast, exempt: sparkplug}
	if strings.HasPrefix(u.From, sparkplug) {
		k.exempt = ""
	}
	t.last[bridge.QueueName("up", u.Upstream, u.Name)] = k
}

// KeepLast says how many messages of one topic may wait in a queue, the newest
// ones; 0 is all. Topics that begin with exempt, unless it is empty, are left
// alone.
func (t *Table) KeepLast(queue string) (n int, exempt string) {
	shared, _, _ := bridge.OwnedBy(queue)
	k := t.last[shared]
	return k.n, k.exempt
}

// MaxKeepLast is the most that keep_last may say.
const MaxKeepLast = 1000
