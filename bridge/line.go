package bridge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// line is one connection of a forwarder: a goroutine that connects, sends what
// the forwarder has given it, and connects again. It waits for its link's rate
// limit alone, so that no line waits for another.
//
// What it is given waits in a queue of each priority and is chosen when it can
// be sent: an alarm does not wait behind what was read before it. A place of the
// window is free again when the forwarder has settled the outcome, which is what
// bounds what a crash makes us send again.
type line struct {
	n      int
	f      *Forwarder
	sender Sender
	gate   func(priority int) bool // of its link alone; nil: always open
	resume chan struct{}           // the forwarder has accounted for what the link lost
	wake   chan struct{}           // there is something to send, or room in the window

	// The forwarder's.
	running   bool // its goroutine runs
	stop      context.CancelFunc
	retiring  bool
	up        bool
	ended     error       // why the link ended that is being accounted for
	cause     error       // what the link itself said
	window    int         // of the link, or 1: see suspect
	full      int         // of the link
	settled   int         // outcomes settled since the last giveBack
	oldest    *flight     // of those that the link lost
	lost      []*flight   // those, up to maxDoubts
	probe     *flight     // of them, that of a paused queue
	downSince time.Time   // the latest link ended
	busyAt    time.Time   // it had something to do, as of the latest look while there are holds
	crowded   bool        // see suspect
	good      bool        // something was acknowledged on it since the receiver hung up
	shut      bool        // its link is closed for something,
	avoided   bool        // and another is not
	barren    int         // how often the receiver has hung up on it since something was
	shunned   time.Time   // its devices go by others until then; zero: they do not
	near      bool        // it is up, or was a moment ago, see keeps
	passed    []*reader   // by lane: what the front has passed over because this line was full
	idleSince time.Time   // it had nothing to do since; zero: it has
	lent      int         // slots, since then
	pending   []*flight   // to be published
	held      []int       // by lane: what waits here, as of the last look, and pending
	bytes     []int       // by lane: their bytes
	most      []int       // by lane: how much may wait
	mostBytes int         // of each lane
	fullSince []time.Time // by lane: the front has met it full, and it was not half empty since
	filled    []bool      // by lane: it had as much

	live live

	mu      sync.Mutex
	queues  []queue // by lane
	inbox   inbox
	room    int       // places of the window that are free
	out     int       // sent and not settled
	solo    bool      // what is out is alone, and stays so
	unsure  time.Time // something was sent since that is never answered
	still   time.Time // the link is up, and nothing is out, since then
	turn    *queue    // whose first waits to be alone
	stopped bool      // a gate kept something back
	hushed  bool      // a timer tells when it may be
	vtime   float64   // of the latest that was sent, see queue

	connected atomic.Bool
	connects  atomic.Int64
	lastError atomic.Pointer[string]
}

// queue is what waits on a line of one lane. The lane with the lowest turn goes
// first, the higher priority among equals; having gone costs a turn, the less
// the greater the lane's weight. With weight 0 the highest always goes first.
type queue struct {
	flights []*flight
	first   int
	bytes   int
	low     int  // when so many are left the forwarder is told
	dry     bool // it ran empty after it had been full
	*share
	behind *queue // of a live lane: what goes in its turn now and then, see liveStreak
	streak int
}

// share is the turns of one priority.
type share struct {
	turn float64
	cost float64 // of one message; 0: the highest priority always
}

// What waits on a line of one lane, at most. It begins with leastAhead and is
// doubled whenever the line ran dry, up to lookAhead, which is 5 ms at full speed:
// what is read is marked, and a crash leaves that uncertain. When a quarter is
// left the forwarder is told.
// The bytes of one lane are shared by the lines, down to leastBytes for each.
const (
	leastAhead     = 32
	lookAhead      = 512
	lookAheadBytes = 1 << 20
	leastBytes     = 192 << 10
)

func newLine(n, of int, f *Forwarder, s Sender) *line {
	l := &line{
		n: n, f: f, sender: s, inbox: inbox{most: max(earlyRoom/of, leastEarly)}, mostBytes: max(lookAheadBytes/of, leastBytes),
		resume: make(chan struct{}), wake: make(chan struct{}, 1),
		passed: make([]*reader, len(f.lanes)), held: make([]int, len(f.lanes)), bytes: make([]int, len(f.lanes)),
		most: make([]int, len(f.lanes)), filled: make([]bool, len(f.lanes)), fullSince: make([]time.Time, len(f.lanes)), queues: make([]queue, len(f.lanes)),
	}
	if g, ok := s.(GatedSender); ok {
		l.gate = g.Open
	}
	for i, ln := range f.lanes {
		l.queues[i].share, l.queues[i].low, l.most[i] = &share{cost: ln.cost}, leastAhead/4, leastAhead
	}
	for i, ln := range f.lanes {
		if ln.behind != nil {
			l.queues[i].behind = &l.queues[ln.behind.n]
			l.queues[i].share = l.queues[i].behind.share
		}
	}
	return l
}

// lineEvent is what a line tells its forwarder.
type lineEvent struct {
	*line
	up    bool // a link is up, with the window
	down  bool // the link ended; nothing more is sent until resume
	size  int
	err   error // why it is down
	cause error // what the link said
	fatal error // when neither: the line's goroutine has ended, with this
}

// run keeps the line connected until ctx ends.
func (l *line) run(ctx context.Context) {
	for {
		link, err := l.sender.Connect(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			l.f.events <- lineEvent{line: l, fatal: err}
			return
		}
		l.connects.Add(1)
		l.connected.Store(true)
		l.f.events <- lineEvent{line: l, up: true, size: link.Window()}
		err = l.session(ctx, link)
		l.connected.Store(false)
		_ = link.Close()
		if err == nil {
			err = errors.New("the link ended without a reason")
		}
		if ctx.Err() == nil {
			text := err.Error()
			l.lastError.Store(&text)
		}
		l.f.events <- lineEvent{line: l, down: true, err: err, cause: link.Err()}
		<-l.resume
	}
}

// session sends over one link until it is down or ctx ends.
func (l *line) session(ctx context.Context, link Link) error {
	l.live.set(ctx, link)
	defer l.live.clear()
	for {
		err := l.live.send(l)
		switch {
		case ctx.Err() != nil && link.Err() == nil: // what was sent before may still land
			l.land(link)
			return ctx.Err()
		case err != nil:
			return errors.Join(err, link.Err())
		}
		select {
		case <-l.wake:
		case <-link.Done():
			return link.Err()
		case <-ctx.Done():
		}
	}
}

// next takes what is to be sent now: nil when nothing waits, or the window is
// full.
func (l *line) next() *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room <= 0 || l.solo {
		return nil
	}
	q := l.turn
	if l.turn = nil; q == nil || !l.goes(q) {
		q = l.first()
	}
	if q == nil {
		return nil
	}
	fl := q.flights[q.first]
	if fl.alone && !l.quietFor(fl) {
		l.turn = q
		return nil
	}
	if fl.Receiver.QoS == 0 {
		l.unsure = time.Now()
	}
	l.solo = fl.alone
	q.flights[q.first] = nil
	q.first++
	q.bytes -= fl.Size()
	l.vtime = q.turn
	q.turn += q.cost
	switch len(q.flights) - q.first {
	case 0:
		q.flights, q.first, q.dry = q.flights[:0], 0, true
		l.f.wakeUp()
	case q.low:
		l.f.wakeUp()
	}
	l.room--
	l.out++
	return fl
}

// first is the queue whose turn it is; nil when nothing waits. [with mu]
func (l *line) first() *queue {
	var q *queue
	for i := range l.queues {
		if c := &l.queues[i]; (q == nil || c.cost > 0 && c.turn < q.turn) && l.goes(c) {
			q = c
		}
	}
	if q == nil {
		return nil
	}
	return q.orBehind()
}

// goes reports whether a queue has something that may go now: what was read before its
// lane was closed does not. [with mu]
func (l *line) goes(q *queue) bool {
	if len(q.flights) == q.first {
		return false
	}
	ln := q.flights[q.first].lane
	goes := !l.f.closed(ln) && l.opens(ln)
	l.stopped = l.stopped || !goes
	return goes
}

// unnext puts back what next has just returned.
func (l *line) unnext(fl *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &l.queues[fl.lane.n]
	if q.first > 0 {
		q.first--
		q.flights[q.first] = fl
	} else {
		q.flights = slices.Insert(q.flights, 0, fl)
	}
	q.bytes += fl.Size()
	q.turn -= q.cost
	l.room++
	l.out--
	l.solo = false
}

// send transmits one flight. What it could not transmit comes back as unsent.
func (l *line) send(ctx context.Context, link Link, fl *flight) error {
	return l.sent(fl, link.Send(ctx, l.delivery(fl), l.reporter(fl)))
}

// sendNow is send on a link that does not wait; it reports false when that would
// have to, and the flight waits as before.
func (l *line) sendNow(link PromptLink, fl *flight) (ok bool, err error) {
	err = link.SendNow(l.delivery(fl), l.reporter(fl))
	if errors.Is(err, ErrWouldWait) {
		l.unnext(fl)
		return false, nil
	}
	return true, l.sent(fl, err)
}

func (l *line) delivery(fl *flight) *Delivery {
	d := &fl.delivery
	*d = Delivery{Stored: fl.Stored, Attempt: max(fl.attempt, fl.blamed+1), Together: l.f.cfg.HoldBy(fl.Stored)}
	if fl.HasExpiry {
		left := time.Duration(fl.Expiry)*time.Second - (l.f.spool.Age() - fl.Age)
		d.Remaining = uint32(min(max(left/time.Second, 0), time.Duration(fl.Expiry)))
	}
	return d
}

func (l *line) reporter(fl *flight) func(Outcome) {
	return func(o Outcome) { l.put(report{fl, o, false}) }
}

func (l *line) sent(fl *flight, err error) error {
	if err != nil {
		l.put(report{flight: fl, unsent: true})
		return err
	}
	l.f.stats.sent.Add(1)
	return nil
}

// land waits a little for what is in flight, so that an orderly stop leaves
// nothing to be sent twice.
func (l *line) land(link Link) {
	t := time.NewTimer(landing)
	defer t.Stop()
	link.Flush()
	for l.flying() > 0 {
		select {
		case <-l.wake:
		case <-link.Done():
			return
		case <-t.C:
			return
		}
	}
}

// open gives the line a window of a new link. [the forwarder's]
func (l *line) open(window int) {
	l.mu.Lock()
	l.room, l.window, l.still = window-l.out+l.inbox.early, window, time.Now()
	l.mu.Unlock()
	l.tell()
}

// publish gives the line what was gathered for it. [the forwarder's]
func (l *line) publish() {
	if len(l.pending) == 0 {
		return
	}
	l.mu.Lock()
	for _, fl := range l.pending {
		q := &l.queues[fl.lane.n]
		if len(q.flights) == q.first {
			q.turn = max(q.turn, l.vtime) // having been idle is no credit
		}
		if q.first > 0 && len(q.flights) == cap(q.flights) {
			n := copy(q.flights, q.flights[q.first:])
			clear(q.flights[n:])
			q.flights, q.first = q.flights[:n], 0
		}
		q.flights = append(q.flights, fl)
		q.bytes += fl.Size()
	}
	l.mu.Unlock()
	clear(l.pending)
	l.pending = l.pending[:0]
	l.tell()
}

// recall takes back what waits and matches. [the forwarder's]
func (l *line) recall(match func(*flight) bool) (out []*flight) {
	l.publish()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.queues {
		q := &l.queues[i]
		kept := q.flights[:0]
		for _, fl := range q.flights[q.first:] {
			if match(fl) {
				q.bytes -= fl.Size()
				out = append(out, fl)
			} else {
				kept = append(kept, fl)
			}
		}
		clear(q.flights[len(kept):])
		q.flights, q.first = kept, 0
	}
	return out
}

func (l *line) tell() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
