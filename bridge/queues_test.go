package bridge_test

import (
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// filling is a spool to which something comes right after a queue was found empty.
type filling struct {
	bridge.Spool
	queue string
	come  func()
}

func (f *filling) Cursor(queue string) bridge.Cursor {
	c := f.Spool.Cursor(queue)
	if queue != f.queue {
		return c
	}
	return &fillingCursor{c, f}
}

type fillingCursor struct {
	bridge.Cursor
	*filling
}

func (c *fillingCursor) Next() (*bridge.Stored, error) {
	r, err := c.Cursor.Next()
	if r == nil && err == nil {
		c.come()
	}
	return r, err
}

// A device whose messages go by several routes of one priority stays in order also
// while they come in as they are read: what is committed between the reading of one
// queue and that of another is not sent before what is older.
func TestOrderAcrossQueuesWhileTheyFill(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	second := "up/cloud/second"
	var want []string
	say := func(queue string) {
		want = append(want, fmt.Sprint(len(want)))
		put(t, s, queue, "pump", want[len(want)-1])
	}
	come := func() {
		if len(want) < 20 && s.Depth(second).Records == 0 {
			say(normal)
			say(second)
		}
	}
	var sent sentBy
	stop := forwarder(t, &filling{s, normal, come}, sent.cloud(), nil, bridge.QueueRef{Name: normal, Priority: 4}, bridge.QueueRef{Name: second, Priority: 4})
	reach(t, "all is sent", func() bool { return s.Ledger(normal).Delivered == 10 && s.Ledger(second).Delivered == 10 })
	stop()
	sent.expect(t, want)
}
