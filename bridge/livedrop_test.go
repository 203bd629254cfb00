package bridge_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// dropAll gives up everything that waits in a queue, as ebbgate spool drop does of a
// running gateway, record by record.
func dropAll(t *testing.T, s bridge.Spool, log *bridge.DropLog, queue string) {
	t.Helper()
	c := s.Cursor(queue)
	defer c.Close()
	for {
		r, err := c.Next()
		if err != nil {
			t.Error(err)
		}
		if r == nil || err != nil {
			return
		}
		if !log.Claim(t, queue, r.Place) {
			continue // it is delivered, or somebody else gives it up
		}
		b := &bridge.Batch{IfLive: true}
		b.ReleaseAs(r, bridge.Dropped)
		log.Note(b, r, bridge.ByOperator, "")
		done := make(chan error, 1)
		s.Commit(b, func(_ bridge.Seq, err error) { done <- err })
		switch err := <-done; {
		case err == nil:
			log.Committed(t, queue, r.Place)
		case !errors.Is(err, bridge.ErrReleased):
			t.Error(err)
		}
		log.Disown(t)
	}
}

// An operator gives up a queue whose live messages go first while both parts of it are
// being sent: what is given up stands in the drop log, one by one, with that reason;
// with what is delivered it is what was accepted; and all that the cloud has taken is
// metered, also what was given up while it was on its way.
func TestLiveFirstAndAnOperatorWhoDrops(t *testing.T) {
	const waited, live = 300, 200
	s := openSpool(t)
	log := openLog(t, s, bridge.DefaultDropLimits())
	as := func(from, n int) {
		var b bridge.Batch
		for i := from; i < from+n; i++ {
			b.Append(&bridge.Record{
				Message:   bridge.Message{Topic: "dt/d", Payload: fmt.Append(nil, i), QoS: 1},
				Origin:    bridge.Origin{Device: fmt.Sprint("d", i%5), ID: idOf(i), Instant: bridge.Instant{Age: s.Age()}},
				Receivers: []bridge.Receiver{{Queue: normal, Topic: "dt/d", QoS: 1}},
			})
		}
		commit(t, s, &b)
	}
	as(0, waited)
	c, taken, m := &cloud{window: 10}, map[bridge.MessageID]int{}, new(noMeter)
	var operator sync.WaitGroup
	answered := 0
	c.answer = func(d *bridge.Delivery) bridge.Outcome { // one connection asks it, one after the other
		switch answered++; answered {
		case 1:
			as(waited, live)
		case 100:
			operator.Go(func() { dropAll(t, s, log, normal) })
		}
		taken[d.ID]++
		return bridge.Outcome{Result: bridge.ResultAcked}
	}
	f := bridge.NewForwarder(bridge.ForwarderConfig{Upstream: "cloud", Queues: liveFirst}, s, []bridge.Sender{c}, m, log, new(bridge.Health), slog.New(slog.DiscardHandler))
	stop := running(t, f.Run)
	reach(t, "nothing waits", empty(s, normal))
	operator.Wait()
	stop()
	given := map[bridge.MessageID]int{}
	if err := log.Entries(func(e *bridge.DropEntry) bool {
		if given[e.ID]++; e.Reason != bridge.ByOperator || e.Queue != normal {
			t.Errorf("the drop log has %+v", e)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for i := range waited + live {
		if id := idOf(i); given[id] > 1 || taken[id] > 1 || given[id]+taken[id] == 0 {
			t.Errorf("message %d is in the drop log %d times, and was taken %d times", i, given[id], taken[id])
		}
	}
	l := s.Ledger(normal)
	if l.Dropped == 0 || l.Dropped != int64(len(given)) || l.Delivered+l.Dropped != waited+live || l.Accepted != waited+live {
		t.Errorf("the ledger says %+v, the drop log has %d", l, len(given))
	}
	if m.delivered != len(taken) {
		t.Errorf("%d are metered, and the cloud has taken %d", m.delivered, len(taken))
	}
}
