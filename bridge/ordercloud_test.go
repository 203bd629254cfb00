package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// orderCloud is the receiver of an orderTest. It watches over the order: of each
// device (or of what goes together) and priority, what is sent for the first time was
// accepted after all that was before. A queue that the receiver's policy has paused
// stands for itself, and of one whose live messages go first the two parts do.
type orderCloud struct {
	*orderTest
	window  int
	slow    time.Duration // of an answer, at most
	slowest int           // the connection that is slower still
	trouble float64       // 0 to 1
	busy    float64       // the share of what is refused for now

	mu      sync.Mutex
	rnd     *rand.Rand
	streams map[string]*stream
	out     map[string]map[int]int // key → connection → not answered yet
	first   map[string]bool        // queue and number
	split   map[string][]int       // device and queue with live messages → first transmissions
	topics  map[string][]int       // topic and queue of which the last are kept and live ones go first → what was sent by this forwarder, sorted
	links   []*orderLink
	sent    int
}

type stream struct {
	last  int
	queue string
}

type orderSender struct {
	*orderCloud
	n int
}

func (s orderSender) Connect(ctx context.Context) (bridge.Link, error) {
	s.mu.Lock()
	pause := time.Duration(s.rnd.ExpFloat64() * s.trouble * float64(time.Second))
	s.mu.Unlock()
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l := &orderLink{orderCloud: s.orderCloud, n: s.n, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = append(s.links, l)
	if s.n%2 == 1 {
		return promptOrderLink{l}, nil
	}
	return l, nil
}

// gatedOrderSender is one whose link is closed at times.
type gatedOrderSender struct {
	orderSender
	gate *orderGate
}

func (s gatedOrderSender) Open(priority int) bool { return s.gate.Open(priority) }

type orderLink struct {
	*orderCloud
	n    int
	once sync.Once
	done chan struct{}
	err  error
}

func (l *orderLink) Window() int           { return l.window }
func (l *orderLink) Done() <-chan struct{} { return l.done }
func (l *orderLink) Flush()                {}
func (l *orderLink) Close() error          { l.end(errCut); return nil }
func (l *orderLink) end(err error)         { l.once.Do(func() { l.err = err; close(l.done) }) }
func (l *orderLink) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// promptOrderLink can be sent on by who brings an answer as well.
type promptOrderLink struct{ *orderLink }

func (l promptOrderLink) SendNow(d *bridge.Delivery, report func(bridge.Outcome)) error {
	l.mu.Lock()
	waits := l.rnd.IntN(4) == 0
	l.mu.Unlock()
	if waits {
		return bridge.ErrWouldWait
	}
	return l.Send(context.Background(), d, report)
}

func (l *orderLink) Send(_ context.Context, d *bridge.Delivery, report func(bridge.Outcome)) error {
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	key := l.note(l.n, d)
	o := l.outcome(l, d)
	pause := time.Duration(l.rnd.Int64N(int64(l.slow)))
	at := l.rnd.IntN(10) == 0
	if l.n == l.slowest {
		pause, at = pause+time.Second, false
	}
	l.mu.Unlock()
	answer := func() {
		if l.Err() != nil {
			o = bridge.Outcome{Result: bridge.ResultLost}
		}
		l.mu.Lock()
		l.out[key][l.n]--
		l.mu.Unlock()
		report(o)
	}
	if at {
		answer()
	} else {
		time.AfterFunc(pause, answer)
	}
	return nil
}

// note judges a transmission, and returns what its order goes by.
func (c *orderCloud) note(connection int, d *bridge.Delivery) (key string) {
	i := slices.IndexFunc(c.queues, func(q orderQueue) bool { return q.Name == d.Receiver.Queue })
	q := c.queues[i]
	if key = d.Device; q.Together != "" {
		key = "together " + q.Together
	}
	n, err := strconv.Atoi(string(d.Payload))
	if err != nil {
		c.t.Error(err)
	}
	for other, open := range c.out[key] {
		if other != connection && open > 0 {
			c.t.Errorf("%s is sent on connection %d while %d of it are on their way on %d", key, connection, open, other)
		}
	}
	c.mayGo(connection, d, q, n)
	if c.out[key] == nil {
		c.out[key] = map[int]int{}
	}
	c.out[key][connection]++
	c.sent++
	id := q.Name + " " + string(d.Payload)
	if c.first[id] {
		return key
	}
	c.first[id] = true
	if q.LiveFirst {
		c.split[key+" of "+q.Name] = append(c.split[key+" of "+q.Name], n)
		return key
	}
	name := fmt.Sprintf("%s, priority %d", key, q.Priority)
	if q.denied {
		name += " in " + q.Name
	}
	s := c.streams[name]
	if s == nil {
		s = &stream{last: -1}
		c.streams[name] = s
	}
	if n < s.last {
		c.t.Errorf("%s: %d of %s is first sent after %d of %s", name, n, q.Name, s.last, s.queue)
	} else {
		s.last, s.queue = n, q.Name
	}
	return key
}

// begin begins a forwarder, which does not know what the one before has sent.
func (c *orderCloud) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.topics)
}

// mayGo judges whether a message may be sent at all now.
func (c *orderCloud) mayGo(connection int, d *bridge.Delivery, q orderQueue, n int) {
	if !c.gate.wasOpen(q.Priority) {
		c.t.Errorf("%d of %s is sent while the gate is closed", n, q.Name)
	}
	if gates := c.orderTest.links; len(gates) > 0 && !gates[connection].wasOpen(q.Priority) {
		c.t.Errorf("%d of %s is sent on connection %d, which is closed", n, q.Name, connection)
	}
	if d.Mortal() && d.Expired(c.s.Age()) {
		c.t.Errorf("%d of %s is sent after its time", n, q.Name)
	}
	if q.keep == 0 || !q.LiveFirst {
		return
	}
	topic := q.Name + " " + d.Topic
	sent := c.topics[topic]
	at, again := slices.BinarySearch(sent, n)
	if again { // what comes back from a link is no older than it was
		return
	}
	if newer := sent[at:]; len(newer) >= q.keep {
		c.t.Errorf("%d of %s is sent when %v of %s were: %d may wait", n, q.Name, newer, d.Topic, q.keep)
	}
	c.topics[topic] = slices.Insert(sent, at, n)
}

// outcome decides what becomes of a transmission.
func (c *orderCloud) outcome(l *orderLink, d *bridge.Delivery) (o bridge.Outcome) {
	q := c.queues[slices.IndexFunc(c.queues, func(q orderQueue) bool { return q.Name == d.Receiver.Queue })]
	o.Result = bridge.ResultAcked
	poison := q.refuses && (d.ID[14] == 7 && d.ID[15]%64 == 7)
	p := c.rnd.Float64() / max(c.trouble, 1e-9)
	switch {
	case c.trouble == 0:
	case poison:
		o.Result = bridge.ResultLost
		l.end(fmt.Errorf("reset: %w", bridge.ErrClosedByPeer))
	case p < 0.004:
		o.Result = bridge.ResultLost
		l.end(errCut)
	case p < 0.008:
		o.Result = bridge.ResultLost
		l.end(fmt.Errorf("reset: %w", bridge.ErrClosedByPeer))
	case p < 0.008+c.busy:
		o.Result, o.Code = bridge.ResultRetry, 0x97
	case p < 0.013+c.busy:
		o.Result, o.Code = bridge.ResultRetry, 0x83
	case p < 0.018+c.busy:
		o.Result = bridge.ResultAbsent
	case p < 0.03+c.busy && q.refuses:
		o.Result, o.Code = bridge.ResultRefused, 0x90
	case p < 0.04+c.busy && q.denied:
		o.Result, o.Code = bridge.ResultDenied, 0x87
	}
	return o
}

// cutSome ends some of the links.
func (c *orderCloud) cutSome() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if c.rnd.IntN(2) == 0 {
			l.end(errors.New("cut"))
		}
	}
	c.links = slices.DeleteFunc(c.links, func(l *orderLink) bool { return l.Err() != nil })
}

// heal ends the trouble.
func (c *orderCloud) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = 0
}

// judge looks at the queues whose live messages go first: each first transmission is
// the newest of its device so far, or the oldest of those that were still to be sent.
func (c *orderCloud) judge() {
	for _, id := range c.sure {
		if !c.first[id] {
			c.t.Errorf("%s was never sent", id)
		}
	}
	for name, order := range c.split {
		left := slices.Sorted(slices.Values(order))
		newest := -1
		for _, n := range order {
			if n < newest && n != left[0] {
				c.t.Errorf("%s: %d is first sent after %d, and before %d", name, n, newest, left[0])
			}
			newest = max(newest, n)
			left = slices.DeleteFunc(left, func(x int) bool { return x == n })
		}
	}
}
