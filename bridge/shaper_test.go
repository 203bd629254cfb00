package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// threes is a line that joins three payloads, and drops those that say so. An
// open three goes a second after its first message.
type threes struct {
	open []*bridge.Stored
	from time.Duration
}

func (l *threes) Take(s *bridge.Stored, out func(*bridge.Product)) {
	members := []bridge.Member{{Place: s.Place, Size: s.Size(), ID: s.ID}}
	switch string(s.Payload) {
	case "unwanted":
		out(&bridge.Product{Members: members, Step: "deadband"})
		return
	case "broken":
		out(&bridge.Product{Members: members, Reason: "unreadable"})
		return
	}
	if l.open = append(l.open, s); len(l.open) == 1 {
		l.from = s.Age
	}
	if len(l.open) == 3 {
		l.close(out)
	}
}

func (l *threes) close(out func(*bridge.Product)) {
	p := &bridge.Product{}
	var words []string
	for _, s := range l.open {
		words = append(words, string(s.Payload))
		p.Members = append(p.Members, bridge.Member{Place: s.Place, Size: s.Size(), ID: s.ID})
	}
	r := *l.open[0].Record
	r.Payload = []byte(strings.Join(words, "+"))
	r.Receivers = []bridge.Receiver{{Queue: normal, Topic: "dt/all", QoS: 1}}
	p.Records, l.open = []*bridge.Record{&r}, nil
	out(p)
}

func (l *threes) Ripe(now time.Duration, out func(*bridge.Product)) (time.Duration, bool) {
	if len(l.open) == 0 {
		return 0, false
	}
	if due := l.from + time.Hour; now < due {
		return due, true
	}
	l.close(out)
	return 0, false
}

// shaping runs a shaper until the condition holds, and returns its drop log.
func shaping(t *testing.T, s bridge.Spool, until func() bool) *bridge.DropLog {
	t.Helper()
	drops := new(bridge.DropLog)
	shapingInto(t, s, drops, until)
	return drops
}

func shapingInto(t *testing.T, s bridge.Spool, drops *bridge.DropLog, until func() bool) {
	t.Helper()
	sh := bridge.NewShaper(bridge.ShaperConfig{Queue: normal, Line: func() bridge.Line { return new(threes) }},
		s, drops, new(bridge.Health), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- sh.Run(ctx) }()
	eventually(t, until) // however long the disk takes: a busy machine is no failure
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// content lists the payloads of a queue.
func content(t *testing.T, s bridge.Spool, queue string) (out []string) {
	t.Helper()
	c := s.Cursor(queue)
	defer c.Close()
	for {
		r, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			return out
		}
		out = append(out, string(r.Payload))
	}
}

func depth(s bridge.Spool, queue string, want int64) func() bool {
	return func() bool { return s.Depth(queue).Records == want }
}

// balanced fails unless what the steps are done with is what is sent, dropped and
// consumed, and what was given is that and what waits.
func balanced(t *testing.T, s bridge.Spool, accepted int64) bridge.Shaped {
	t.Helper()
	all, err := bridge.ReadShaped(s)
	if err != nil {
		t.Fatal(err)
	}
	got := all[normal]
	sum := s.Depth(bridge.RawQueue(normal)).Records + s.Depth(normal).Records + got.Consumed()
	for _, n := range got.Dropped {
		sum += n
	}
	if sum != accepted {
		t.Errorf("held, dropped and consumed are %d of %d accepted: %+v", sum, accepted, got)
	}
	return got
}

func TestShaperMakesAndReleasesTogether(t *testing.T) {
	s := openSpool(t)
	raw := bridge.RawQueue(normal)
	for i := range 8 {
		put(t, s, raw, "d", fmt.Sprint(i))
	}
	put(t, s, raw, "d", "unwanted")
	put(t, s, raw, "d", "broken")
	drops := shaping(t, s, depth(s, raw, 2))
	if got, want := content(t, s, normal), []string{"0+1+2", "3+4+5"}; !slices.Equal(got, want) {
		t.Fatalf("made %q, want %q", got, want)
	}
	got := balanced(t, s, 10)
	if got.In != 8 || got.Out != 2 || got.Consumed() != 5 || got.Steps["deadband"] != 1 || got.Dropped["unreadable"] != 1 {
		t.Errorf("counted %+v", got)
	}
	if all := drops.All(); len(all) != 1 || all[0].Reason != "unreadable" || all[0].Count != 1 {
		t.Errorf("the drop log has %+v, want the broken one only: the other was not wanted", all)
	}

	// What waited in the line is found again by the next one.
	put(t, s, raw, "d", "8")
	shaping(t, s, depth(s, raw, 0))
	if got, want := content(t, s, normal), []string{"0+1+2", "3+4+5", "6+7+8"}; !slices.Equal(got, want) {
		t.Errorf("after a restart made %q, want %q", got, want)
	}
	balanced(t, s, 11)
}

// More than one commit takes goes in several, each of them whole.
func TestShaperCutsItsCommits(t *testing.T) {
	s := openSpool(t)
	raw := bridge.RawQueue(normal)
	const records = 9000
	b := new(bridge.Batch)
	for i := range records {
		b.Append(&bridge.Record{
			Message:   bridge.Message{Topic: "dt/d", Payload: fmt.Appendf(nil, "%0300d", i)},
			Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age()}},
			Receivers: []bridge.Receiver{{Queue: raw, Topic: "dt/d"}},
		})
		if len(b.Appends) == 1000 {
			done := make(chan error, 1)
			s.Commit(b, func(_ bridge.Seq, err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			b = new(bridge.Batch)
		}
	}
	shaping(t, s, depth(s, raw, 0))
	if n := len(content(t, s, normal)); n != records/3 {
		t.Errorf("made %d, want %d", n, records/3)
	}
	balanced(t, s, records)
}

// refusing is a spool that refuses what appends, for a while.
type refusing struct {
	bridge.Spool
	refusals atomic.Int64
}

func (r *refusing) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if len(b.Appends) > 0 && r.refusals.Add(-1) >= 0 {
		done(0, bridge.Errorf("append", bridge.Full, "no room"))
		return
	}
	r.Spool.Commit(b, done)
}

// A spool that is full keeps the records as they are, and their products are
// made once.
func TestShaperWaitsForRoom(t *testing.T) {
	s := openSpool(t)
	raw := bridge.RawQueue(normal)
	for i := range 6 {
		put(t, s, raw, "d", fmt.Sprint(i))
	}
	full := &refusing{Spool: s}
	full.refusals.Store(2)
	shaping(t, full, depth(s, raw, 0))
	if got, want := content(t, s, normal), []string{"0+1+2", "3+4+5"}; !slices.Equal(got, want) {
		t.Errorf("made %q, want %q", got, want)
	}
	balanced(t, s, 6)
}

// A shaper that follows another at once, as after a reload, must not read again
// what the other has just released.
func TestShaperAfterShaper(t *testing.T) {
	s := openSpool(t)
	raw := bridge.RawQueue(normal)
	var want []string
	for i := range 60 {
		for j := range 3 {
			put(t, s, raw, "d", fmt.Sprint(3*i+j))
		}
		want = append(want, fmt.Sprintf("%d+%d+%d", 3*i, 3*i+1, 3*i+2))
		shaping(t, s, depth(s, normal, int64(i+1)))
	}
	if got := content(t, s, normal); !slices.Equal(got, want) {
		t.Errorf("made %q, want %q", got, want)
	}
}

func TestShaperDropsTheExpired(t *testing.T) {
	s := openSpool(t)
	raw := bridge.RawQueue(normal)
	var b bridge.Batch
	b.Append(&bridge.Record{
		Message:   bridge.Message{Topic: "dt/d", Payload: []byte("old"), Properties: bridge.Properties{HasExpiry: true, Expiry: 5}},
		Origin:    bridge.Origin{Device: "d", Instant: bridge.Instant{Age: s.Age() - time.Minute}},
		Receivers: []bridge.Receiver{{Queue: raw, Topic: "dt/d"}},
	})
	done := make(chan error, 1)
	s.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	drops := shaping(t, s, depth(s, raw, 0))
	if got := balanced(t, s, 1); got.Dropped["expired"] != 1 || len(drops.All()) != 1 {
		t.Errorf("counted %+v and %+v", got, drops.All())
	}
}

// The log of what is in which product keeps the newest, within its bounds, across
// starts; a member stands in it once.
func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	raw := bridge.RawQueue(normal)
	limits := bridge.DropLimits{Entries: 192, Size: 1 << 20, Age: bridge.DefaultDropLimits().Age, Hours: 3}
	n := 0
	for range 3 {
		log := openLog(t, s, limits)
		for range 50 {
			var b bridge.Batch
			for range 6 {
				n++
				b.Append(&bridge.Record{Origin: bridge.Origin{ID: idOf(n)}, Receivers: []bridge.Receiver{{Queue: raw}}})
			}
			commit(t, s, &b)
			shapingInto(t, s, log, depth(s, raw, 0))
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		log.Keep(ctx)
	}
	var got []bridge.MessageID
	if err := openLog(t, s, limits).Parts(func(p *bridge.PartOf) bool {
		if p.Queue != normal || p.When.IsZero() || p.Age == 0 {
			t.Errorf("%+v", p)
		}
		got = append(got, p.Member)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) < 192 || len(got) > 204 {
		t.Fatalf("%d members are kept, want the last 192 and a chapter at most", len(got))
	}
	for i, id := range got {
		if want := idOf(n - len(got) + 1 + i); id != want {
			t.Fatalf("member %d is %s, want %s", i, id, want)
		}
	}
}
