package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// courses are a spool in which one message after another is moved about.
type courses struct {
	t *testing.T
	*desk
	id bridge.MessageID
}

const (
	queueAll  = "up/cloud/all"
	queueSome = "up/cloud/some"
	deadSome  = "dead/up/cloud/some"
)

// accepted gives a queue, or several, a new message, which is spoken of from then on.
func (c *courses) accepted(queues ...string) {
	c.id[1]++
	c.id[0] = 7
	r := &bridge.Record{Message: bridge.Message{Topic: "dt/a", Payload: []byte("x")}, Origin: bridge.Origin{Device: "pump", ID: c.id}}
	for _, q := range queues {
		r.Receivers = append(r.Receivers, bridge.Receiver{Queue: q, Topic: "dt/a"})
	}
	var b bridge.Batch
	b.Append(r)
	commit(c.t, c.Spool, &b)
}

// change does something with the message in a queue.
func (c *courses) change(queue string, fn func(*bridge.Batch, *bridge.Stored)) {
	c.t.Helper()
	settled(c.t, c.Spool)
	cursor := c.Cursor(queue)
	defer cursor.Close()
	for {
		x, err := cursor.Next()
		if err != nil || x == nil {
			c.t.Fatalf("%s does not hold the message: %v", queue, err)
		}
		if x.ID == c.id {
			var b bridge.Batch
			fn(&b, x)
			commit(c.t, c.Spool, &b)
			settled(c.t, c.Spool)
			return
		}
	}
}

func (c *courses) refused(queue string) {
	c.t.Helper()
	c.change(queue, func(b *bridge.Batch, x *bridge.Stored) { // as the forwarder does it
		r, to := *x.Record, *x.Receiver
		to.Queue = bridge.DeadQueue(queue)
		r.Receivers = []bridge.Receiver{to}
		b.Append(&r)
		b.ReleaseAs(x, bridge.Moved)
		c.drops.Note(b, x, bridge.DeadLetter, "refused with 0x99")
	})
}

func (c *courses) requeued(from, to string) {
	c.t.Helper()
	c.change(from, func(b *bridge.Batch, x *bridge.Stored) { c.move(b, x, to) })
}

// requeuedUnnoted is requeued as versions did it that noted nothing.
func (c *courses) requeuedUnnoted(from, to string) {
	c.t.Helper()
	drops := c.drops
	c.drops = new(bridge.DropLog)
	c.requeued(from, to)
	c.drops = drops
}

func (c *courses) dropped(queue string) {
	c.t.Helper()
	c.change(queue, func(b *bridge.Batch, x *bridge.Stored) { c.drop(b, x, false) })
}

func (c *courses) delivered(queue string) {
	c.t.Helper()
	c.change(queue, func(b *bridge.Batch, x *bridge.Stored) { b.Release(x) })
}

// told is what spool why says: the states, and the texts.
func (c *courses) told() (states []string, texts string) {
	c.t.Helper()
	err := c.operate(c.t.Context(), spoolRequest{Op: "why", ID: c.id.String()}, func(l spoolLine) error {
		var text strings.Builder
		if err := l.Why.tell(&text); err != nil {
			return err
		}
		states, texts = append(states, l.Why.State), texts+text.String()
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return states, texts
}

// spool why says of a message that was sent again, by its queue or by another, that it
// was delivered when it was, and never when that queue holds it or has given it up.
func TestWhyFollowsWhatIsSentAgain(t *testing.T) {
	const viaAll, viaSome = "from dead/up/cloud/all by up/cloud/all (ebbgate spool requeue)", "from dead/up/cloud/all by up/cloud/some (ebbgate spool requeue)"
	c := &courses{t: t, desk: deskWith(t, 0)}
	c.queues = []string{queueAll, queueSome}
	for _, x := range []struct {
		name string
		do   func()
		want []string
		says string
	}{
		{"refused", func() { c.accepted(queueAll); c.refused(queueAll) }, []string{whyDead, whyDropped}, ""},
		{"sent again", func() { c.requeued(deadAll, queueAll) }, []string{whyHeld, whyDropped, whyMoved}, "moved from dead/up/cloud/all to up/cloud/all by ebbgate spool requeue, at 20"},
		{"refused again", func() { c.refused(queueAll) }, []string{whyDead, whyDropped, whyMoved, whyDropped}, ""},
		{"sent once more", func() { c.requeued(deadAll, queueAll) }, []string{whyHeld, whyDropped, whyMoved, whyDropped, whyMoved}, ""},
		{"delivered", func() { c.delivered(queueAll) }, []string{whyDropped, whyMoved, whyDropped, whyMoved, whySent}, viaAll},
		{"given up as a dead letter", func() { c.accepted(queueAll); c.refused(queueAll); c.dropped(deadAll) }, []string{whyDropped, whyDropped}, ""},
		{"given up as one for a second time", func() {
			c.accepted(queueAll)
			c.refused(queueAll)
			c.requeued(deadAll, queueAll)
			c.refused(queueAll)
			c.dropped(deadAll)
		}, []string{whyDropped, whyMoved, whyDropped, whyDropped}, ""},
		{"given up when it was sent again", func() { c.accepted(queueAll); c.refused(queueAll); c.requeued(deadAll, queueAll); c.dropped(queueAll) }, []string{whyDropped, whyMoved, whyDropped}, ""},
		{"by another queue", func() { c.accepted(queueAll); c.refused(queueAll); c.requeued(deadAll, queueSome) }, []string{whyHeld, whyDropped, whyMoved}, "moved from dead/up/cloud/all to up/cloud/some"},
		{"delivered by that", func() { c.delivered(queueSome) }, []string{whyDropped, whyMoved, whySent}, viaSome},
		{"refused by that", func() {
			c.accepted(queueAll)
			c.refused(queueAll)
			c.requeued(deadAll, queueSome)
			c.refused(queueSome)
		}, []string{whyDead, whyDropped, whyMoved, whyDropped}, ""},
		{"and given up there", func() { c.dropped(deadSome) }, []string{whyDropped, whyMoved, whyDropped, whyDropped}, ""},
		{"given up by that", func() {
			c.accepted(queueAll)
			c.refused(queueAll)
			c.requeued(deadAll, queueSome)
			c.dropped(queueSome)
		}, []string{whyDropped, whyMoved, whyDropped}, ""},
		{"from queue to queue", func() { c.accepted(queueAll); c.requeued(queueAll, queueSome); c.delivered(queueSome) }, []string{whyMoved, whySent}, "from up/cloud/all by up/cloud/some"},
		{"and given up", func() { c.accepted(queueAll); c.requeued(queueAll, queueSome); c.dropped(queueSome) }, []string{whyMoved, whyDropped}, ""},
		{"to where it goes as well, and both given up", func() {
			c.accepted(queueAll, queueSome)
			c.refused(queueAll)
			c.requeued(deadAll, queueSome)
			c.dropped(queueSome)
			c.dropped(queueSome)
		}, []string{whyDropped, whyMoved, whyDropped, whyDropped}, ""},
		{"to where it was given up before", func() {
			c.accepted(queueAll, queueSome)
			c.refused(queueAll)
			c.dropped(queueSome)
			c.requeued(deadAll, queueSome)
			c.delivered(queueSome)
		}, []string{whyDropped, whyDropped, whyMoved, whySent}, viaSome},
		{"by an earlier version", func() {
			c.accepted(queueAll)
			c.refused(queueAll)
			c.requeuedUnnoted(deadAll, queueSome)
			c.delivered(queueSome)
		},
			[]string{whyDropped, whyGone}, "by an earlier version, which has not noted by which queue: delivered, if none above has given it up after that"},
		{"by one, and held", func() { c.accepted(queueAll); c.refused(queueAll); c.requeuedUnnoted(deadAll, queueSome) }, []string{whyHeld, whyDropped}, ""},
	} {
		x.do()
		states, texts := c.told()
		if !slices.Equal(states, x.want) || !strings.Contains(texts, x.says) {
			t.Errorf("%s: %q, want %q\n%s, want %q", x.name, states, x.want, texts, x.says)
		}
		if !slices.Contains(x.want, whySent) && !slices.Contains(x.want, whyGone) && strings.Contains(texts, "delivered") {
			t.Errorf("%s: delivered, it says: %s", x.name, texts)
		}
	}
	// What was moved is in no list of what was given up, nor in a sum.
	err := c.drops.Entries(func(e *bridge.DropEntry) bool {
		if e.MovedTo() != "" || e.Reason != bridge.DeadLetter && e.Reason != bridge.ByOperator {
			t.Errorf("given up: %+v", e)
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
	if err := c.drops.Hours(func(h bridge.DropHour) bool {
		if h.Reason != bridge.DeadLetter && h.Reason != bridge.ByOperator {
			t.Errorf("in the sums: %+v", h)
		}
		return true
	}); err != nil {
		t.Error(err)
	}
}
