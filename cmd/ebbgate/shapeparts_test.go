package main

import (
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/spool"
)

func numberedID(n int) (id bridge.MessageID) {
	id[0] = 1
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// drops is the drop log of a spool.
func (m *shapeModel) drops(s bridge.Spool) *bridge.DropLog {
	log, err := bridge.OpenDropLog(s, bridge.NewClock(s.Age, nil).Now, bridge.DefaultDropLimits())
	if err != nil {
		m.t.Fatal(err)
	}
	return log
}

// follow finds every accepted message by its id: it is held, or the log of parts
// leads from it to a product that is held, or to a window that is still open.
func (m *shapeModel) follow() {
	there := map[bridge.MessageID]bool{}
	for _, queue := range []string{shapedQueue, bridge.RawQueue(shapedQueue)} {
		m.each(queue, func(r *bridge.Stored) {
			if there[r.ID] = true; r.ID != (bridge.MessageID{}) {
				return
			}
			var part struct{ ID bridge.MessageID }
			if err := json.Unmarshal(r.Payload, &part); err != nil {
				m.t.Fatal(err)
			}
			there[part.ID] = true
		})
	}
	parts := map[bridge.MessageID][]bridge.MessageID{}
	if err := m.drops(m.s).Parts(func(p *bridge.PartOf) bool {
		parts[p.Member] = append(parts[p.Member], p.Product)
		return true
	}); err != nil {
		m.t.Fatal(err)
	}
	for n := 1; n <= m.numbers; n++ {
		reached, next := false, []bridge.MessageID{numberedID(n)}
		for hops := 0; len(next) > 0 && hops < whyHops && !reached; hops++ {
			reached = there[next[0]]
			next = append(next[1:], parts[next[0]]...)
		}
		if !reached {
			m.t.Fatalf("message %d of %d is not held, and nothing tells what it is a part of: %v", n, m.numbers, parts[numberedID(n)])
		}
	}
}

// TestWhyFollowsParts: a message is named that another one is in, and where that is;
// what a step kept back is told with the step.
func TestWhyFollowsParts(t *testing.T) {
	config, cfg := spooled(t)
	s := openSpool(t, cfg)
	const queue = "up/cloud/all"
	stage(t, s, queue, 1, 4)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	asked := func(n int) string {
		t.Helper()
		code, out := spoolRun(t, config, "spool", "why", numberedID(n).String())
		if code != exitOK {
			t.Errorf("exit %d, %s", code, out)
		}
		return out
	}
	first := numberedID(1).String()
	want := func(n int, texts ...string) {
		t.Helper()
		out := asked(n)
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("message %d: %q, want %q", n, out, text)
			}
		}
	}
	want(1, "held in up/cloud/all, place 1", "its id is that of what the steps of the route have made of it and of others, in up/cloud/all, from ")
	want(2, "made a part of message "+first, "message "+first+": held in up/cloud/all, place 1")
	want(4, "kept back by the step deadband of up/cloud/all, as the route says, at ")
	if code, out := spoolRun(t, config, "spool", "drop", queue, "--yes"); code != exitOK {
		t.Fatal(out)
	}
	want(3, "made a part of message "+first, "message "+first+": given up by up/cloud/all at ")

	// And delivered, when neither holds it.
	s = openSpool(t, cfg)
	stage(t, s, queue, 5, 7)
	c := s.Cursor(queue)
	r, err := c.Next()
	c.Close()
	if err != nil || r == nil {
		t.Fatal(r, err)
	}
	var b bridge.Batch
	b.Release(r)
	commit(t, s, &b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fifth := numberedID(5).String()
	want(6, "made a part of message "+fifth, "message "+fifth+": delivered by up/cloud/all")
	want(5, "delivered by up/cloud/all")
	if code, out := spoolRun(t, config, "spool", "why", "--json", numberedID(6).String()); code != exitOK || !strings.Contains(out, `"product": "`+fifth) || !strings.Contains(out, `"state": "delivered"`) {
		t.Errorf("exit %d, %s", code, out)
	}
}

// stage accepts messages for a route whose steps make a batch of three, and hold
// back the fourth, and lets the steps have them.
func stage(t *testing.T, s *spool.Spool, queue string, from, to int) {
	t.Helper()
	m := &shapeModel{t: t, r: rand.New(rand.NewPCG(1, 1)), s: s}
	var b bridge.Batch
	for n := from; n <= to; n++ {
		b.Append(&bridge.Record{
			Message: bridge.Message{Topic: "dt/a", Payload: []byte("1")}, Origin: bridge.Origin{Device: "pump", ID: numberedID(n)},
			Receivers: []bridge.Receiver{{Queue: bridge.RawQueue(queue), Topic: "dt/a"}},
		})
	}
	commit(t, s, &b)
	sh := bridge.NewShaper(bridge.ShaperConfig{Queue: queue, Line: func() bridge.Line { return &three{} }},
		s, m.drops(s), new(bridge.Health), slog.New(slog.DiscardHandler))
	stop := peers.Run(t, sh.Run)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Depth(bridge.RawQueue(queue)).Records > 0 {
		<-tick.C
	}
	stop()
}

// three is a line that makes one message of three, and holds back what comes then.
type three struct {
	taken []*bridge.Stored
}

func (l *three) Take(s *bridge.Stored, out func(*bridge.Product)) {
	if l.taken = append(l.taken, s); len(l.taken) > 3 {
		out(&bridge.Product{Members: []bridge.Member{{Place: s.Place, Size: s.Size(), ID: s.ID}}, Step: "deadband"})
		return
	}
	if len(l.taken) < 3 {
		return
	}
	p := &bridge.Product{}
	for _, s := range l.taken {
		p.Members = append(p.Members, bridge.Member{Place: s.Place, Size: s.Size(), ID: s.ID})
	}
	r := *l.taken[0].Record
	queue, _ := bridge.IsRaw(s.Receiver.Queue)
	r.Receivers = []bridge.Receiver{{Queue: queue, Topic: "dt/a"}}
	p.Records = []*bridge.Record{&r}
	out(p)
}

func (l *three) Ripe(time.Duration, func(*bridge.Product)) (time.Duration, bool) { return 0, false }
