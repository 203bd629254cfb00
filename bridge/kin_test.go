package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// putOf appends what a thing has sent to a queue.
func putOf(t *testing.T, s bridge.Spool, queue, thing, payload string) {
	t.Helper()
	var b bridge.Batch
	b.Append(&bridge.Record{
		Message:   bridge.Message{Topic: "dt/" + thing, Payload: []byte(payload)},
		Origin:    bridge.Origin{Device: thing, Thing: thing, ID: bridge.MessageID{1}, Instant: bridge.Instant{Age: s.Age()}},
		Receivers: []bridge.Receiver{{Queue: queue, Topic: "dt/" + thing, QoS: 1}},
	})
	commit(t, s, &b)
}

// tired is a spool that says when it has made a number of commits.
type tired struct {
	bridge.Spool
	left atomic.Int64
	rest func()
}

func (x *tired) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if x.left.Add(-1) == 0 {
		x.rest()
	}
	x.Spool.Commit(b, done)
}

// resting is a line that tells when it has been read to the end of its queue.
type resting struct {
	*threes
	rested func()
}

func (l resting) Ripe(now time.Duration, out func(*bridge.Product)) (time.Duration, bool) {
	if now < time.Hour*24*365 { // it is not asked to give out everything
		l.rested()
	}
	return l.threes.Ripe(now, out)
}

// mover is a route whose lines make batches of three, and two things that get and
// lose connections of their own while batches are open.
type mover struct {
	t   *testing.T
	r   *rand.Rand
	s   bridge.Spool
	own map[string]bool
	n   map[string]int // messages of each
}

func (m *mover) accept() {
	for range m.r.IntN(8) {
		thing := []string{"pump", "fan", "other"}[m.r.IntN(3)]
		queue := normal
		if m.own[thing] {
			queue = bridge.OwnQueue(normal, thing)
		}
		m.n[thing]++
		putOf(m.t, m.s, bridge.RawQueue(queue), thing, fmt.Sprint(thing, ":", m.n[thing]))
	}
}

// round runs the stages of the route until all rest, or until they have made so many
// commits.
func (m *mover) round(commits int64) {
	ctx, stop := context.WithCancel(m.t.Context())
	defer stop()
	x := &tired{Spool: m.s, rest: stop}
	x.left.Store(commits)
	kin := bridge.NewKin()
	configs := []bridge.ShaperConfig{{Queue: normal}}
	for _, thing := range []string{"pump", "fan"} {
		queue := bridge.OwnQueue(normal, thing)
		kin.Add(queue, m.own[thing])
		configs = append(configs, bridge.ShaperConfig{Queue: queue, Last: !m.own[thing]})
	}
	var shapers, atRest sync.WaitGroup
	for _, c := range configs {
		atRest.Add(1)
		var once sync.Once
		c.Kin = kin
		rested := func() { once.Do(atRest.Done) }
		c.Line = func() bridge.Line { return resting{new(threes), rested} }
		if c.Last { // it rests when its queue is empty
			q, look := bridge.RawQueue(c.Queue), time.NewTicker(time.Millisecond)
			shapers.Go(func() {
				defer look.Stop()
				for ctx.Err() == nil && m.s.Depth(q).Records > 0 {
					select {
					case <-look.C:
					case <-ctx.Done():
					}
				}
				rested()
			})
		}
		sh := bridge.NewShaper(c, x, new(bridge.DropLog), new(bridge.Health), slog.New(slog.DiscardHandler))
		shapers.Go(func() {
			defer rested()
			if err := sh.Run(ctx); err != nil {
				m.t.Error(err)
			}
		})
	}
	atRest.Wait()
	stop()
	shapers.Wait()
}

// sent is what goes up, in the order in which it was made.
func (m *mover) sent() (out []string) {
	type made struct {
		seq  bridge.Seq
		text string
	}
	var all []made
	for _, q := range []string{normal, bridge.OwnQueue(normal, "pump"), bridge.OwnQueue(normal, "fan")} {
		c := m.s.Cursor(q)
		for {
			r, err := c.Next()
			if err != nil {
				m.t.Fatal(err)
			}
			if r == nil {
				break
			}
			all = append(all, made{r.Seq, string(r.Payload)})
		}
		c.Close()
	}
	slices.SortFunc(all, func(a, b made) int { return int(a.seq) - int(b.seq) })
	for _, p := range all {
		out = append(out, strings.Split(p.text, "+")...)
	}
	return out
}

// A thing that gets a connection of its own and loses it again, while batches are open
// and however quickly, keeps its order through the steps of its route: what is made of
// its messages is made in the order in which they were accepted, and nothing twice.
func TestThingsThatMoveKeepTheirOrder(t *testing.T) {
	for range 8 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &mover{t: t, r: rand.New(rand.NewPCG(seed, 0)), s: openSpool(t), own: map[string]bool{}, n: map[string]int{}}
			for range 12 {
				m.accept()
				switch m.r.IntN(4) {
				case 0: // the next reload comes before the round has begun
				case 1:
					m.round(1 + m.r.Int64N(8)) // or while it settles
				default:
					m.round(1 << 40)
				}
				thing := []string{"pump", "fan"}[m.r.IntN(2)]
				m.own[thing] = !m.own[thing]
			}
			m.own = map[string]bool{}
			m.round(1 << 40)
			var seen bridge.Batch // a change of the state alone: what was released before is seen then
			seen.Add("test", "seen", 0)
			commit(t, m.s, &seen)
			got := map[string]int{}
			for _, text := range m.sent() {
				thing, number, _ := strings.Cut(text, ":")
				n, err := strconv.Atoi(number)
				if err != nil || n != got[thing]+1 {
					t.Fatalf("%s comes after %d of them: %v", text, got[thing], m.sent())
				}
				got[thing] = n
			}
			for _, thing := range []string{"pump", "fan"} {
				waits := 0
				for _, text := range content(t, m.s, bridge.RawQueue(normal)) {
					if strings.HasPrefix(text, thing) {
						waits++
					}
				}
				if got[thing]+waits != m.n[thing] {
					t.Errorf("%d of %d messages of %s are made, and %d wait", got[thing], m.n[thing], thing, waits)
				}
			}
		})
	}
}
