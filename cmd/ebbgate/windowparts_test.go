package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// Of readings of one topic a window has summed up one half, which is one record of the
// raw queue, also when midnight is between them; the others wait as they came.
const readings = 2*256 + 2

const (
	rawAll = "raw/up/cloud/all"
	rawNew = "raw/up/cloud/new"
)

// windowed is a desk on a spool in which a window of a day is open, and no gateway.
func windowed(t *testing.T) *courses {
	t.Helper()
	c := &courses{t: t, desk: deskWith(t, 0)}
	c.queues = []string{queueAll, queueSome, rawAll, rawNew}
	var b bridge.Batch
	for n := range readings {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/a", Payload: fmt.Appendf(nil, `{"v":%d}`, n), QoS: 1},
			Origin:    bridge.Origin{Device: "pump", ID: numberedID(n + 1), Instant: bridge.Instant{Wall: time.Now(), Age: c.Age(), Synced: true}},
			Receivers: []bridge.Receiver{{Queue: rawAll, Topic: "dt/a", QoS: 1}},
		})
	}
	commit(t, c.Spool, &b)
	c.shape(queueAll, 24*time.Hour, func() bool { return c.Depth(rawAll).Records < readings/2 })
	return c
}

// shape runs the stage of a queue, with windows, until that is so.
func (c *courses) shape(queue string, every time.Duration, so func() bool) {
	c.t.Helper()
	steps := rules.DefaultUpRoute().Steps
	steps.Window = shape.Window{Every: every, Fields: []string{"v"}}
	line := func() bridge.Line { return shape.New(steps, false, queue, shape.Terms{}) }
	end := peers.Run(c.t, bridge.NewShaper(bridge.ShaperConfig{Queue: queue, Line: line}, c.Spool, c.drops, new(bridge.Health), slog.New(slog.DiscardHandler)).Run)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !so() {
		<-tick.C
	}
	end()
	settled(c.t, c.Spool)
}

// part is the record that holds what was summed up, nil when there is none.
func (c *courses) part(queue string) *bridge.Stored {
	c.t.Helper()
	for _, x := range c.all(queue) {
		if _, ok := shape.SummedIn(x.Record); ok {
			return x
		}
	}
	return nil
}

func (c *courses) all(queue string) (out []*bridge.Stored) {
	c.t.Helper()
	cursor := c.Cursor(queue)
	defer cursor.Close()
	for {
		x, err := cursor.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		if x == nil {
			return out
		}
		out = append(out, x)
	}
}

// why asks for a message.
func (c *courses) why(id bridge.MessageID) (states []string, texts string) {
	c.t.Helper()
	c.id = id
	return c.told()
}

// A reading that is summed up in a window that is open is held, one whose sum was
// dropped or has expired is given up, and no other is told to be delivered than what
// was.
func TestWhyOfWhatAWindowHasPutBack(t *testing.T) {
	const held = "held in raw/up/cloud/all, place "
	for _, x := range []struct {
		name string
		then func(*courses)
		says string
	}{
		{"open", func(*courses) {}, held},
		{"dropped", func(c *courses) {
			if err := c.operate(t.Context(), spoolRequest{Op: "drop", Queue: rawAll}, func(spoolLine) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}, "given up by raw/up/cloud/all at "},
		{"expired", func(c *courses) {
			var b bridge.Batch
			for _, x := range c.all(rawAll) { // each is a moment old by now
				r, to := *x.Record, *x.Receiver
				to.TTL = 1
				r.Receivers = []bridge.Receiver{to}
				b.Append(&r)
				b.Release(x)
			}
			commit(t, c.Spool, &b)
			settled(t, c.Spool)
			c.shape(queueAll, 24*time.Hour, func() bool { return c.Depth(rawAll).Records == 0 })
		}, "given up by raw/up/cloud/all at "},
		{"sent", func(c *courses) {
			c.shape(queueAll, 12*time.Hour, func() bool { return c.part(rawAll) == nil })
			for _, r := range c.all(queueAll) {
				c.id = r.ID
				c.delivered(queueAll)
			}
		}, "delivered by up/cloud/all"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := windowed(t)
			sum, ok := shape.SummedIn(c.part(rawAll).Record)
			if !ok || sum.Count < 256 {
				t.Fatalf("%+v", sum)
			}
			x.then(c)
			settled(t, c.Spool)
			second := sum.ID
			second[15]++
			for _, id := range []bridge.MessageID{sum.ID, second} {
				_, texts := c.why(id)
				if !strings.Contains(texts, x.says) || x.name != "sent" && strings.Contains(texts, "delivered") {
					t.Errorf("%q, want %q", texts, x.says)
				}
				if x.name != "sent" && !strings.Contains(texts, sum.Text()) {
					t.Errorf("%q, want %q", texts, sum.Text())
				}
				if id == sum.ID && strings.Contains(texts, "made a part of message "+id.String()) {
					t.Errorf("a part of itself: %q", texts)
				}
			}
		})
	}
}

// What a window has summed up leaves the raw queue of a route that is gone as a message
// of which everybody reads how many it is, or goes on in the window of another route:
// never as the gateway's own record.
func TestRequeueOfAWindow(t *testing.T) {
	for _, to := range []string{queueSome, rawNew} {
		t.Run(to, func(t *testing.T) {
			c := windowed(t)
			sum, _ := shape.SummedIn(c.part(rawAll).Record)
			waits := c.Depth(rawAll).Records
			var done int
			err := c.operate(t.Context(), spoolRequest{Op: "requeue", Queue: rawAll, To: to}, func(l spoolLine) error {
				if l.Done != nil {
					done = *l.Done
				}
				return nil
			})
			settled(t, c.Spool)
			if err != nil || int64(done) != waits || c.Depth(to).Records != waits || c.Ledger(rawAll).Moved != waits {
				t.Fatalf("%d of %d moved: %+v, %v", done, waits, c.Ledger(rawAll), err)
			}
			second := sum.ID
			second[15]++
			if to == queueSome {
				if c.part(to) != nil {
					t.Error("the gateway's own record waits for the cloud")
				}
				i := slices.IndexFunc(c.all(to), func(x *bridge.Stored) bool { return x.ID == sum.ID })
				if i < 0 {
					t.Fatal("the sum is not there")
				}
				x := c.all(to)[i]
				if want := fmt.Sprintf(`"count":%d,"fields":{"v":`, sum.Count); x.ContentType != "application/json" || !strings.Contains(string(x.Payload), want) || x.Topic != "dt/a" || x.Receiver.QoS != 1 {
					t.Errorf("%s, want %s: %+v", x.Payload, want, x.Record)
				}
				if _, texts := c.why(second); !strings.Contains(texts, "message "+sum.ID.String()+": held in up/cloud/some, place ") ||
					!strings.Contains(texts, "moved from raw/up/cloud/all to up/cloud/some by ebbgate spool requeue") {
					t.Errorf("%s", texts)
				}
				c.id = sum.ID
				c.change(to, func(b *bridge.Batch, x *bridge.Stored) { c.drop(b, x, false) })
				if _, texts := c.why(sum.ID); strings.Contains(texts, "delivered") || !strings.Contains(texts, "given up by up/cloud/some") {
					t.Errorf("it was given up: %s", texts)
				}
				return
			}
			if _, texts := c.why(second); !strings.Contains(texts, "message "+sum.ID.String()+": held in raw/up/cloud/new, place ") {
				t.Errorf("%s", texts)
			}
			c.shape("up/cloud/new", 24*time.Hour, func() bool { return c.Depth(rawNew).Records < waits || waits < 256 })
			if sent := c.all("up/cloud/new"); len(sent) > 0 && sum.Count+waits-1 == readings {
				t.Errorf("the window of the new route is cut: %d messages", len(sent))
			}
			if err := c.operate(t.Context(), spoolRequest{Op: "requeue", Queue: queueSome, To: rawNew}, func(spoolLine) error { return nil }); err == nil || !strings.Contains(err.Error(), "has gone through the steps of its route") {
				t.Errorf("from a queue of products: %v", err)
			}
		})
	}
}

// A part that this version cannot read goes nowhere but to other steps.
func TestRequeueOfAPartThatCannotBeRead(t *testing.T) {
	for to, taken := range map[string]bool{queueSome: false, rawNew: true} {
		c := &courses{t: t, desk: deskWith(t, 0)}
		c.queues = []string{queueAll, queueSome, rawNew}
		var b bridge.Batch
		b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt/a", Payload: []byte("{"), Properties: bridge.Properties{ContentType: "application/x-ebb-window"}},
			Receivers: []bridge.Receiver{{Queue: rawAll, Topic: "dt/a"}}})
		commit(t, c.Spool, &b)
		err := c.operate(t.Context(), spoolRequest{Op: "requeue", Queue: rawAll, To: to}, func(spoolLine) error { return nil })
		settled(t, c.Spool)
		if taken != (err == nil) || taken != (c.Depth(rawAll).Records == 0) {
			t.Errorf("%s: %v, %+v", to, err, c.Ledger(rawAll))
		}
		if !taken && !strings.Contains(fmt.Sprint(err), "place 1 of raw/up/cloud/all: a part of a window, which this version cannot read") {
			t.Errorf("%v", err)
		}
	}
}
