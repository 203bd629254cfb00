package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// porter is a router that turns messages away, by what is in them.
type porter struct{}

const second = "up/aws/second"

func (porter) Up(_ *bridge.Principal, m *bridge.Message) ([]bridge.Receiver, []bridge.Turned, error) {
	to := []bridge.Receiver{{Queue: normal, Topic: m.Topic, QoS: 1}}
	dropped := []bridge.Turned{{Queue: second, Fate: bridge.Dropped, Why: "over-budget"}}
	switch string(m.Payload) {
	case "sample":
		return nil, []bridge.Turned{{Queue: normal, Fate: bridge.Consumed, Why: "sample"}}, nil
	case "drop":
		return nil, dropped, nil
	case "both":
		return to, dropped, nil
	}
	return to, nil, nil
}

func (porter) Down(_ string, m *bridge.Message) ([]bridge.Receiver, error) {
	if string(m.Payload) == "refused" {
		return nil, bridge.Errorf("route", bridge.TopicInvalid, "no topic for it")
	}
	return nil, nil
}

type anything struct{}

func (anything) Decide(bridge.Request) bridge.Decision { return bridge.Decision{Allowed: true} }

func ingestOf(t *testing.T, s bridge.Spool) *bridge.Ingest {
	clock := bridge.NewClock(s.Age, nil)
	return bridge.NewIngest(s, porter{}, clock, new(noMeter), openLog(t, s, bridge.DefaultDropLimits()))
}

// balance reads the ledgers, and checks that each adds up and that the drop log
// holds what they count.
func balance(t *testing.T, s bridge.Spool) map[string]bridge.Ledger {
	t.Helper()
	all, err := bridge.ReadLedgers(s)
	if err != nil {
		t.Fatal(err)
	}
	log, logged, hours := openLog(t, s, bridge.DefaultDropLimits()), map[string]int64{}, map[string]int64{}
	if err := log.Entries(func(e *bridge.DropEntry) bool { logged[e.Queue]++; return true }); err != nil {
		t.Fatal(err)
	}
	if err := log.Hours(func(h bridge.DropHour) bool { hours[h.Queue] += h.Count; return true }); err != nil {
		t.Fatal(err)
	}
	for queue, l := range all {
		if l.Accepted != l.Held+l.Delivered+l.Dropped+l.Consumed+l.Moved || logged[queue] != l.Dropped || hours[queue] != l.Dropped {
			t.Errorf("%s: %+v; %d in the log, %d by hour", queue, l, logged[queue], hours[queue])
		}
	}
	return all
}

// U8: what a budget drops and a step leaves out is on the disk when its giver is
// acknowledged, whether the message goes to another queue as well or not, and a
// kill between any two commits leaves sums that hold.
func TestTurnedAwayIsDurable(t *testing.T) {
	t.Parallel()
	const n = 400
	dir := t.TempDir()
	s := &images{Spool: openAt(t, dir), t: t, dir: dir, dice: rand.New(rand.NewPCG(5, 6)), most: 5}
	in := ingestOf(t, s)
	var givers sync.WaitGroup
	for i, what := range []string{"plain", "sample", "drop", "both"} {
		givers.Go(func() {
			p := &bridge.Principal{ClientID: fmt.Sprint("d", i)}
			for range n {
				end := make(chan error, 1)
				in.Up(p, anything{}, &bridge.Message{Topic: "dt/x", Payload: []byte(what), QoS: 1}, nil, func(err error) { end <- err })
				if err := <-end; err != nil {
					t.Error(err)
				}
			}
		})
	}
	givers.Wait()
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	all := balance(t, openAt(t, killed))
	if want := (bridge.Ledger{Accepted: 3 * n, Held: 2 * n, Consumed: n}); all[normal] != want {
		t.Errorf("%+v, want %+v", all[normal], want)
	}
	if want := (bridge.Ledger{Accepted: 2 * n, Dropped: 2 * n}); all[second] != want {
		t.Errorf("%+v, want %+v", all[second], want)
	}
	for _, image := range s.taken {
		balance(t, openAt(t, image))
	}
	if len(s.taken) == 0 {
		t.Error("no kill came in between")
	}
	seen := map[bridge.MessageID]bool{}
	if err := openLog(t, s.Spool, bridge.DefaultDropLimits()).Entries(func(e *bridge.DropEntry) bool {
		if seen[e.ID] || e.ID == (bridge.MessageID{}) || e.Reason != "over-budget" || e.Topic != "dt/x" || e.Accepted.IsZero() {
			t.Errorf("%+v", e)
		}
		seen[e.ID] = true
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

// doorKept is a spool whose first commit waits.
type doorKept struct {
	bridge.Spool
	open    chan struct{}
	refuse  error
	mu      sync.Mutex
	commits int
}

func (g *doorKept) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	g.mu.Lock()
	g.commits++
	g.mu.Unlock()
	<-g.open
	if g.refuse != nil {
		done(0, g.refuse)
		return
	}
	g.Spool.Commit(b, done)
}

// What is turned away while a commit is under way goes into few more, so that a
// device whose messages are left out costs no sync for each; and no batch is more
// than the state takes.
func TestTurnedAwayIsGathered(t *testing.T) {
	const n = 5000
	g := &doorKept{Spool: openSpool(t), open: make(chan struct{})}
	in := ingestOf(t, g)
	var waiting sync.WaitGroup
	for i := range n {
		waiting.Add(1)
		m := &bridge.Message{Topic: "dt/" + strings.Repeat("x", i%200), Payload: []byte("drop"), QoS: 1}
		in.Up(&bridge.Principal{ClientID: fmt.Sprint("d", i)}, anything{}, m, nil, func(err error) {
			if err != nil {
				t.Error(err)
			}
			waiting.Done()
		})
	}
	close(g.open)
	waiting.Wait()
	if all := balance(t, g.Spool); all[second].Dropped != n {
		t.Errorf("%+v", all[second])
	}
	if g.commits > n/100 {
		t.Errorf("%d commits for %d messages", g.commits, n)
	}
}

// What could not be written is not acknowledged.
func TestTurnedAwayAndNotWritten(t *testing.T) {
	g := &doorKept{Spool: openSpool(t), open: make(chan struct{}), refuse: bridge.Errorf("commit", bridge.Unavailable, "no")}
	close(g.open)
	for _, what := range []string{"sample", "drop", "both"} {
		end := make(chan error, 1)
		ingestOf(t, g).Up(&bridge.Principal{ClientID: "d"}, anything{}, &bridge.Message{Topic: "a", Payload: []byte(what)}, nil, func(err error) { end <- err })
		if err := <-end; !errors.Is(err, g.refuse) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What comes down and no route takes, or the routes refuse, is in the log before
// the cloud is acknowledged: it would only send it again.
func TestUnroutedIsLogged(t *testing.T) {
	s := openSpool(t)
	in := ingestOf(t, s)
	for _, c := range []struct {
		payload string
		kind    bridge.Kind
	}{{"x", bridge.Internal}, {"refused", bridge.TopicInvalid}} {
		end := make(chan error, 1)
		in.Down("aws", &bridge.Message{Topic: "cmd/x", Payload: []byte(c.payload)}, 10, func(err error) { end <- err })
		if err := <-end; bridge.KindOf(err) != c.kind || (err != nil) != (c.payload == "refused") {
			t.Errorf("%s: %v", c.payload, err)
		}
	}
	if all := balance(t, s); all["down/aws"] != (bridge.Ledger{Accepted: 2, Dropped: 2}) {
		t.Errorf("%+v", all)
	}
	reasons := ""
	_ = openLog(t, s, bridge.DefaultDropLimits()).Entries(func(e *bridge.DropEntry) bool {
		reasons += e.Reason + "|" + e.Detail + " "
		return true
	})
	if want := "unrouted| topic-invalid|route: topic-invalid: no topic for it "; reasons != want {
		t.Errorf("%q, want %q", reasons, want)
	}
}

// What devices of the site have missed outlives the process, by reason and hour.
func TestMissedIsSummedUp(t *testing.T) {
	s := openSpool(t)
	for range 2 { // two starts
		log := openLog(t, s, bridge.DefaultDropLimits())
		log.Missed("session-queue-full", "d", "a")
		log.MissedAll("session-queue-full", 4, "d", "a")
		log.MissedAll("expired", 0, "d", "a")
		log.Count("not-authorized", "d", "a")
		ctx, stop := context.WithCancel(t.Context())
		stop()
		log.Keep(ctx)
		if all := log.All(); len(all) != 2 || all[0].Count != 5 || !all[0].Logged || all[1].Logged {
			t.Errorf("%+v", all)
		}
	}
	got := map[string]int64{}
	if err := openLog(t, s, bridge.DefaultDropLimits()).Hours(func(h bridge.DropHour) bool {
		got[h.Queue+" "+h.Reason] += h.Count
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[bridge.SiteQueue+" session-queue-full"] != 10 {
		t.Errorf("%v", got)
	}
}
