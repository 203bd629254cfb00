package bridge_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

const deadNormal = "dead/" + normal

// images is a spool that is copied, as a kill would leave it, after some of its
// commits. One commit is made at a time, so that the steps are apart.
type images struct {
	bridge.Spool
	t    *testing.T
	dir  string
	dice *rand.Rand
	most int

	step  sync.Mutex
	after func(*bridge.Batch) bool // from the first such commit on; nil: all
	begun bool
	taken []string
}

func (s *images) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	s.step.Lock()
	s.begun = s.begun || s.after == nil || s.after(b)
	s.Spool.Commit(b, func(seq bridge.Seq, err error) {
		if s.begun && len(s.taken) < s.most && s.dice.IntN(3) == 0 {
			to := s.t.TempDir()
			if err := os.CopyFS(to, os.DirFS(s.dir)); err != nil {
				s.t.Error(err)
			}
			s.taken = append(s.taken, to)
		}
		s.step.Unlock()
		done(seq, err)
	})
}

// delivers reports whether a batch releases what was delivered: from then on there
// is something to add up.
func delivers(b *bridge.Batch) bool {
	return slices.ContainsFunc(b.Releases, func(r bridge.Release) bool { return r.Fate == bridge.Delivered })
}

func openLog(t *testing.T, s bridge.Spool, limits bridge.DropLimits) *bridge.DropLog {
	t.Helper()
	l, err := bridge.OpenDropLog(s, bridge.NewClock(s.Age, nil).Now, limits)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func idOf(i int) (id bridge.MessageID) {
	id[0] = 7
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

// fill appends messages of which every fifth expires at once and the cloud
// refuses every seventh.
func fill(t *testing.T, s bridge.Spool, n int) {
	t.Helper()
	for i := 0; i < n; {
		b := new(bridge.Batch)
		for ; i < n && len(b.Appends) < 100; i++ {
			to := bridge.Receiver{Queue: normal, Topic: "dt/d", QoS: 1}
			if i%5 == 0 {
				to.TTL = 1
			}
			device := fmt.Sprint("d", i%11)
			b.Append(&bridge.Record{
				Message:   bridge.Message{Topic: "dt/" + device, Payload: []byte(fmt.Sprint(i)), QoS: 1},
				Origin:    bridge.Origin{Device: device, ID: idOf(i), Instant: bridge.Instant{Age: s.Age()}},
				Receivers: []bridge.Receiver{to},
			})
		}
		commit(t, s, b)
	}
}

// accounted checks that each of n messages is held, in the drop log, or has
// arrived, that the ledger says the same, and that it adds up.
func accounted(t *testing.T, s bridge.Spool, n int, arrived map[bridge.MessageID]bool) bridge.Ledger {
	t.Helper()
	where := map[bridge.MessageID]string{}
	put := func(id bridge.MessageID, at string) {
		if was, ok := where[id]; ok {
			t.Errorf("%s is %s and %s", id, was, at)
		}
		where[id] = at
	}
	held := func(queue, at string) {
		c := s.Cursor(queue)
		defer c.Close()
		for {
			r, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if r == nil {
				return
			}
			put(r.ID, at)
		}
	}
	held(normal, "held")
	log, logged, dead := openLog(t, s, bridge.DefaultDropLimits()), map[string]int64{}, map[bridge.MessageID]bool{}
	if err := log.Entries(func(e *bridge.DropEntry) bool {
		if logged[e.Reason]++; e.Reason == bridge.DeadLetter {
			dead[e.ID] = true
		} else {
			put(e.ID, e.Reason)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	held(deadNormal, bridge.DeadLetter)
	for id, at := range where {
		if at == bridge.DeadLetter != dead[id] {
			t.Errorf("%s is %s; in the log as a dead letter: %v", id, at, dead[id])
		}
	}
	delivered := int64(0)
	for i := range n {
		if id := idOf(i); where[id] == "" {
			if delivered++; !arrived[id] {
				t.Errorf("message %d is nowhere, and has not arrived", i)
			}
		}
	}
	l, d := s.Ledger(normal), s.Ledger(deadNormal)
	want := bridge.Ledger{Accepted: int64(n), Held: s.Depth(normal).Records, Delivered: delivered, Dropped: logged["expired"], Moved: logged[bridge.DeadLetter]}
	if l != want {
		t.Errorf("the ledger is %+v, want %+v", l, want)
	}
	if l.Accepted != l.Held+l.Delivered+l.Dropped+l.Consumed+l.Moved {
		t.Errorf("it does not add up: %+v", l)
	}
	if d != (bridge.Ledger{Accepted: l.Moved, Held: l.Moved}) {
		t.Errorf("of dead letters: %+v, %d were moved there", d, l.Moved)
	}
	if w := l.Plus(d).Whole(); w.Accepted != int64(n) || w.Accepted != w.Held+w.Delivered+w.Dropped {
		t.Errorf("as a whole: %+v", w)
	}
	hours := map[string]int64{}
	if err := log.Hours(func(h bridge.DropHour) bool {
		hours[h.Reason] += h.Count
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(hours) != fmt.Sprint(logged) {
		t.Errorf("by hour %v, one by one %v", hours, logged)
	}
	return l
}

// U8: the gateway is killed between any two commits of releases, expiries and
// moves to the dead letters. Each image that such a kill leaves accounts for
// every message, and goes on to the end.
func TestLedgerAddsUpAcrossKills(t *testing.T) {
	t.Parallel()
	const n = 1500
	dir := t.TempDir()
	s := &images{Spool: openAt(t, dir), t: t, dir: dir, dice: rand.New(rand.NewPCG(3, 4)), most: 6, after: delivers}
	fill(t, s.Spool, n)
	arrived := map[bridge.MessageID]bool{}
	c := &cloud{window: 50, answer: func(d *bridge.Delivery) bridge.Outcome {
		if d.ID[15]%7 == 0 {
			return bridge.Outcome{Result: bridge.ResultRefused, Code: 0x90}
		}
		return bridge.Outcome{Result: bridge.ResultAcked}
	}}
	run := func(s bridge.Spool) {
		queues := []bridge.QueueRef{{Name: normal}}
		forwardFrom(t, queues, s, c, new(noMeter), openLog(t, s, bridge.DefaultDropLimits()), new(bridge.Health), empty(s, normal))
		for _, d := range c.arrived {
			arrived[d.ID] = true
		}
	}
	run(s)
	whole := accounted(t, s.Spool, n, arrived)
	if whole.Held != 0 || whole.Dropped != n/5 || whole.Moved == 0 {
		t.Fatalf("%+v", whole)
	}
	if len(s.taken) < s.most {
		t.Fatalf("%d images", len(s.taken))
	}
	between := 0
	for i, image := range s.taken {
		after := openAt(t, image)
		if l := accounted(t, after, n, arrived); l.Held > 0 && l.Delivered > 0 && l.Dropped > 0 {
			between++
		}
		run(after)
		if l := accounted(t, after, n, arrived); l.Held != 0 || l.Dropped != whole.Dropped || l.Moved != whole.Moved {
			t.Errorf("image %d ends with %+v, the first run with %+v", i, l, whole)
		}
	}
	if between == 0 {
		t.Error("no kill came in between")
	}
}

// What is released twice, by an operator while it is in flight, has one fate.
func TestReleasedTwiceIsOneFate(t *testing.T) {
	s := openSpool(t)
	put(t, s, normal, "d", "x")
	r := stored(t, s, normal, 1)[0]
	for _, fate := range []bridge.Fate{bridge.Dropped, bridge.Delivered, bridge.Moved} {
		b := new(bridge.Batch)
		b.ReleaseAs(r, fate)
		commit(t, s, b)
	}
	if l, want := s.Ledger(normal), (bridge.Ledger{Accepted: 1, Dropped: 1}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
}

// The log keeps its bounds, the newest entries, and the sums of what it has let
// go.
func TestDropLogIsBounded(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	limits := bridge.DropLimits{Entries: 192, Size: 1 << 20, Age: bridge.DefaultDropLimits().Age, Hours: 3}
	for range 3 { // a start begins a chapter
		log := openLog(t, s, limits)
		ctx, stop := context.WithCancel(t.Context())
		var keeping sync.WaitGroup
		keeping.Go(func() { log.Keep(ctx) })
		for i := range 300 {
			b := new(bridge.Batch)
			log.Note(b, dropped(i, "dt/"+strings.Repeat("x", i%300)), bridge.ByOperator, "")
			commit(t, s, b)
		}
		stop()
		keeping.Wait()
	}
	log := openLog(t, s, limits)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	log.Keep(ctx)
	var got []bridge.DropEntry
	if err := log.Entries(func(e *bridge.DropEntry) bool {
		got = append(got, *e)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) < 192 || len(got) > 200 {
		t.Fatalf("%d entries are kept, want the last 192 and a chapter at most", len(got))
	}
	for i, e := range got {
		if want := idOf(300 - len(got) + i); e.ID != want || e.Queue != normal || len(e.Topic) > 256 {
			t.Fatalf("entry %d is %+v, want %s", i, e, want)
		}
	}
	sum := int64(0)
	if err := log.Hours(func(h bridge.DropHour) bool { sum += h.Count; return true }); err != nil || sum != 900 {
		t.Errorf("%d in the sums, want 900 (%v)", sum, err)
	}
}

func dropped(i int, topic string) *bridge.Stored {
	return &bridge.Stored{
		Place:    bridge.Place(i + 1),
		Record:   &bridge.Record{Message: bridge.Message{Topic: topic}, Origin: bridge.Origin{Device: "d", ID: idOf(i)}},
		Receiver: &bridge.Receiver{Queue: normal},
	}
}

// A batch for live records only changes nothing when one of them is released.
func TestIfLive(t *testing.T) {
	s := openSpool(t)
	put(t, s, normal, "d", "x")
	put(t, s, normal, "d", "y")
	log, two := openLog(t, s, bridge.DefaultDropLimits()), stored(t, s, normal, 2)
	drop := func(records ...*bridge.Stored) error {
		b := &bridge.Batch{IfLive: true}
		for _, r := range records {
			b.ReleaseAs(r, bridge.Dropped)
			log.Note(b, r, bridge.ByOperator, "")
		}
		return ended(s, b)
	}
	if err := drop(two[0]); err != nil {
		t.Fatal(err)
	}
	if err := drop(two[1], two[0]); !errors.Is(err, bridge.ErrReleased) {
		t.Errorf("%v", err)
	}
	if all := balance(t, s); all[normal] != (bridge.Ledger{Accepted: 2, Held: 1, Dropped: 1}) {
		t.Errorf("%+v", all)
	}
}
