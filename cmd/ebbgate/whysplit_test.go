package main

import (
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

// Of a message that went in parts none of which is told to be delivered while others are
// held, or were given up.
func TestWhyOfAMessageInParts(t *testing.T) {
	c := &courses{t: t, desk: deskWith(t, 0)}
	c.id = numberedID(300)
	var b bridge.Batch
	b.Append(&bridge.Record{
		Message: bridge.Message{Topic: "dt/a", Payload: make([]byte, 10<<10)}, Origin: bridge.Origin{Device: "pump", ID: c.id},
		Receivers: []bridge.Receiver{{Queue: rawAll, Topic: "dt/a"}},
	})
	commit(t, c.Spool, &b)
	steps := rules.DefaultUpRoute().Steps
	steps.Split = 2 << 10
	line := func() bridge.Line { return shape.New(steps, false, queueAll, shape.Terms{}) }
	end := peers.Run(t, bridge.NewShaper(bridge.ShaperConfig{Queue: queueAll, Line: line}, c.Spool, c.drops, new(bridge.Health), slog.New(slog.DiscardHandler)).Run)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.Depth(rawAll).Records > 0 {
		<-tick.C
	}
	end()
	parts := c.all(queueAll)
	if len(parts) != 6 {
		t.Fatalf("%d parts", len(parts))
	}
	whole := c.id
	with := func(part int, do func(queue string), queue string) {
		t.Helper()
		c.id = parts[part].ID
		do(queue)
		c.id = whole
	}
	for _, x := range []struct {
		name string
		do   func()
		want []string
		says string
	}{
		{"all wait", func() {}, []string{whyHeld, whySplit}, "of the others: 5 held in up/cloud/all"},
		{"the first is there", func() { with(0, c.delivered, queueAll) }, []string{whySplit}, "of the others: 5 held in up/cloud/all"},
		{"one is refused, one given up", func() { with(1, c.refused, queueAll); with(2, c.dropped, queueAll) }, []string{whySplit},
			"of the others: 1 held in dead/up/cloud/all, 3 held in up/cloud/all, 1 given up by up/cloud/all (operator)"},
		{"the others are there", func() {
			with(1, c.dropped, deadAll)
			for _, n := range []int{3, 4, 5} {
				with(n, c.delivered, queueAll)
			}
		}, []string{whySplit}, "of the others: 1 given up by dead/up/cloud/all (operator), 1 given up by up/cloud/all (operator)"},
	} {
		x.do()
		states, texts := c.told()
		if !slices.Equal(states, x.want) || !strings.HasSuffix(texts, x.says+"\n") || strings.Contains(texts, "delivered") {
			t.Errorf("%s: %q, want %q: %s, want %s", x.name, states, x.want, texts, x.says)
		}
	}
}
