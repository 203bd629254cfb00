package bridge_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestOrderAgainstModel sends what random devices publish by random routes to a
// receiver that refuses, denies, hangs up and is cut off, over pools that grow and
// shrink and links that are closed at times, and compares the order of first
// transmissions with that of the commits. Nothing goes by what is closed, after its time,
// or after as many newer ones of its topic as may wait, and nothing stays behind. It runs in a bubble with a clock of its own: a pause of ten minutes takes no time.
// EBBGATE_SEED repeats one, EBBGATE_SOAK=1 runs many.
func TestOrderAgainstModel(t *testing.T) {
	t.Parallel()
	seeds := []uint64{rand.Uint64(), rand.Uint64()}
	if text := os.Getenv("EBBGATE_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	} else if os.Getenv("EBBGATE_SOAK") == "1" {
		for range 200 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("EBBGATE_SEED=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newOrderTest(t, seed).run() })
		})
	}
}

// orderTest is one random history.
type orderTest struct {
	t   *testing.T
	s   bridge.Spool
	rnd *rand.Rand // the driver's

	queues  []orderQueue
	devices int
	most    int // messages
	burst   int // of them, at most
	pool    int
	wanted  atomic.Int64
	cfg     bridge.ForwarderConfig
	gate    *orderGate
	links   []*orderGate // of each connection alone; none: they have none
	cloud   *orderCloud
	drops   bridge.DropLog

	mu   sync.Mutex
	next int      // number of the next message
	sure []string // what has to be sent, by queue and number
	dice *rand.Rand
}

// orderQueue is a route as the model knows it.
type orderQueue struct {
	bridge.QueueRef
	keep    int  // keep_last, 0: all
	denied  bool // the receiver's policy denies it at times
	refuses bool // some of it is refused for good
}

// randomGate opens and closes priorities.
type randomGate struct{ closed [10]atomic.Bool }

func (g *randomGate) Open(priority int) bool { return !g.closed[priority].Load() }
func (g *randomGate) Account(*bridge.Batch)  {}

// orderGate is one that knows since when it has been closed.
type orderGate struct {
	randomGate
	since [10]atomic.Int64
}

func newOrderGate() *orderGate { return new(orderGate) }

// set opens or closes it for a priority.
func (g *orderGate) set(priority int, closed bool) {
	if closed && !g.closed[priority].Load() {
		g.since[priority].Store(time.Now().UnixNano())
	}
	g.closed[priority].Store(closed)
}

// wasOpen reports whether it is open, or was until this very moment.
func (g *orderGate) wasOpen(priority int) bool {
	return g == nil || !g.closed[priority].Load() || time.Now().UnixNano() == g.since[priority].Load()
}

func newOrderTest(t *testing.T, seed uint64) *orderTest {
	o := &orderTest{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), dice: rand.New(rand.NewPCG(seed, 2))}
	o.s = &interrupted{openUnsynced(t), o}
	r := o.rnd
	o.devices, o.pool, o.most, o.burst = 1+r.IntN(6), 1+r.IntN(8), 300+r.IntN(900), 60
	if r.IntN(2) == 0 { // a backlog, which is read past lines that are slow
		o.devices, o.most, o.burst = 3+r.IntN(30), 2000, 2000
	}
	for i := range 1 + r.IntN(4) {
		q := orderQueue{QueueRef: bridge.QueueRef{Name: fmt.Sprintf("up/cloud/q%d", i), Priority: 4}}
		if r.IntN(4) == 0 {
			q.Priority = 9
		}
		q.LiveFirst = r.IntN(3) == 0
		q.Requests = r.IntN(6) == 0
		q.denied = r.IntN(4) == 0
		q.refuses = r.IntN(2) == 0
		if r.IntN(5) == 0 {
			q.Together = fmt.Sprint("t", r.IntN(2))
		}
		if r.IntN(3) == 0 {
			q.keep = 1 + r.IntN(1+r.IntN(40))
		}
		o.queues = append(o.queues, q)
	}
	o.gate = newOrderGate()
	if r.IntN(3) == 0 {
		for range o.pool {
			o.links = append(o.links, newOrderGate())
		}
	}
	o.cloud = &orderCloud{orderTest: o, topics: map[string][]int{}, rnd: rand.New(rand.NewPCG(seed, 3)), streams: map[string]*stream{}, out: map[string]map[int]int{}, first: map[string]bool{}, split: map[string][]int{}, window: 1 + r.IntN(30), slow: time.Duration(1+r.IntN(200)) * time.Millisecond, trouble: r.Float64(), slowest: r.IntN(16), busy: 0.1 * r.Float64()}
	o.cfg = bridge.ForwarderConfig{
		Upstream: "cloud", RefusalGrace: 10 * time.Minute, LiveFor: 2 * time.Second, Gate: o.gate,
		Connections: func() int { return int(o.wanted.Load()) }, Weight: float64(r.IntN(2) * 2),
	}
	o.wanted.Store(int64(o.pool))
	return o
}

// run plays the history to its end.
func (o *orderTest) run() {
	end := o.start()
	for o.published() < o.most {
		o.publish(1 + o.rnd.IntN(o.burst))
		switch o.rnd.IntN(10) {
		case 0, 1:
			o.wanted.Store(int64(1 + o.rnd.IntN(o.pool)))
		case 2:
			o.cloud.cutSome()
		case 3:
			o.gate.set(4, o.rnd.IntN(3) == 0)
		case 4:
			o.gate.set(9, o.rnd.IntN(4) == 0)
		case 5:
			if o.rnd.IntN(4) == 0 {
				end()
				end = o.start()
			}
		}
		for _, g := range o.links {
			if o.rnd.IntN(5) == 0 {
				g.set(4, o.rnd.IntN(2) == 0)
			}
		}
		o.pass(time.Duration(o.rnd.ExpFloat64() * float64(time.Second)))
	}
	for _, g := range append(o.links, o.gate) {
		g.set(4, false)
		g.set(9, false)
	}
	for range 60 { // with trouble still
		o.pass(time.Second)
	}
	o.cloud.heal()
	left := func() (n int64) {
		for _, q := range o.queues {
			n += o.s.Depth(q.Name).Records
		}
		return n
	}
	for begun := time.Now(); left() > 0; o.pass(time.Second) {
		if time.Since(begun) > 24*time.Hour {
			o.t.Errorf("%d messages wait for ever", left())
			break
		}
	}
	end()
	o.cloud.judge()
	o.t.Logf("%d messages of %d devices by %d connections, %d sent, %d first", o.next, o.devices, o.pool, o.cloud.sent, len(o.cloud.first))
	for _, q := range o.queues {
		o.t.Logf("%+v: %+v", q, o.s.Ledger(q.Name))
	}
}

func (o *orderTest) pass(d time.Duration) { <-time.After(d) }

// start runs a forwarder, and what belongs to it, until the returned function is
// called.
func (o *orderTest) start() (end func()) {
	log := slog.New(slog.DiscardHandler)
	cfg := o.cfg
	var ends []func()
	for _, q := range o.queues {
		if q.keep > 0 {
			q.Last = bridge.NewKeepLast(bridge.KeepLastConfig{Queue: q.Name, Last: q.keep}, o.s, &o.drops, new(bridge.Health), log)
			ends = append(ends, running(o.t, q.Last.Run))
		}
		cfg.Queues = append(cfg.Queues, q.QueueRef)
	}
	var senders []bridge.Sender
	for n := range o.pool {
		var sender bridge.Sender = orderSender{o.cloud, n}
		if len(o.links) > 0 {
			sender = gatedOrderSender{orderSender{o.cloud, n}, o.links[n]}
		}
		senders = append(senders, sender)
	}
	o.cloud.begin()
	f := bridge.NewForwarder(cfg, o.s, senders, new(noMeter), &o.drops, new(bridge.Health), log)
	ends = append(ends, running(o.t, f.Run))
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

func (o *orderTest) published() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

// publish commits n messages, and does not wait for it.
func (o *orderTest) publish(n int) { o.commit(n, nil) }

func (o *orderTest) commit(n int, done func(bridge.Seq, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := new(bridge.Batch)
	for range n {
		device := fmt.Sprint("d", o.dice.IntN(o.devices))
		r := &bridge.Record{
			Message: bridge.Message{Topic: fmt.Sprintf("dt/%s/%d", device, o.dice.IntN(3)), Payload: strconv.AppendInt(nil, int64(o.next), 10), QoS: 1},
			Origin:  bridge.Origin{Device: device, ID: idOf(o.next), Instant: bridge.Instant{Age: o.s.Age(), Wall: time.Now()}},
		}
		o.next++
		first := o.dice.IntN(len(o.queues))
		for i := range len(o.queues) {
			if i == 0 || o.dice.IntN(10) == 0 {
				to := bridge.Receiver{Queue: o.queues[(first+i)%len(o.queues)].Name, Topic: r.Topic, QoS: 1}
				if o.dice.IntN(8) == 0 {
					to.TTL = time.Duration(1+o.dice.IntN(20)) * time.Second
				} else if q := o.queues[(first+i)%len(o.queues)]; q.keep == 0 && !q.denied {
					o.sure = append(o.sure, q.Name+" "+string(r.Payload))
				}
				r.Receivers = append(r.Receivers, to)
			}
		}
		b.Append(r)
	}
	o.s.Commit(b, done)
}

// interrupted is a spool to which messages come right after something was read.
type interrupted struct {
	bridge.Spool
	o *orderTest
}

func (s *interrupted) Cursor(queue string) bridge.Cursor {
	return interruptedCursor{s.Spool.Cursor(queue), s.o}
}

type interruptedCursor struct {
	bridge.Cursor
	o *orderTest
}

func (c interruptedCursor) Next() (*bridge.Stored, error) {
	r, err := c.Cursor.Next()
	if c.o.chance(0.02) && c.o.published() < c.o.most {
		done := make(chan struct{})
		c.o.commit(1+len(c.o.queues), func(bridge.Seq, error) { close(done) })
		<-done
	}
	return r, err
}

func (o *orderTest) chance(p float64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dice.Float64() < p
}
