package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Forwarder is the second half of the walk, for one upstream:
//
//	send → cloud's ack → release and meter, in one transaction
//
// It is one goroutine, and one more for each connection (see line). It reads the
// upstream's queues, the highest priority first and within a priority in the
// order of acceptance, gives each device's messages to one connection, which
// keeps up to its link's window in flight, and gathers what is acknowledged on
// all of them into releases.
//
// Order is that of first transmissions, per device (of a queue whose live messages
// go first, of each of its parts: split.go). When one message of a
// device is refused for now, the device is held: nothing more of it is sent,
// what is in flight comes back, and then it is sent again from the oldest
// unacknowledged, while the other devices go on. A device goes to another
// connection only when nothing of it is in flight.
type Forwarder struct {
	cfg    ForwarderConfig
	spool  Spool
	meter  Meter
	drops  *DropLog
	health *Health
	log    *slog.Logger

	lanes   []*lane // by falling priority
	wake    chan struct{}
	bell    bell // outcomes have come
	events  chan lineEvent
	settled chan settlement
	batch   Batch       // releases gathered, not committed yet
	waiting []flightKey // what batch releases
	given   []flightKey // those of it that it gives up
	flying  int         // commits of batches under way
	closing int         // releases in these, and in failed
	failed  []settlement
	retryAt time.Time
	ending  bool // no link is to come any more
	takes   bool // something was acknowledged since the last poison
	holds   map[holdKey]*hold

	lines    []*line // those that may be
	wanted   int     // of them
	running  int     // those whose goroutine runs
	up       int     // those that have a link, or are being accounted for
	gated    bool    // some may be closed by themselves
	takers   []*line // those that take messages
	passes   int     // how often the front went back to what it had passed over
	idle     *line   // one that has nothing to do; nil: none
	slots    []slot
	moves    map[*slot]struct{} // those that move
	suspects map[Seq]*suspect
	streaks  map[string]int // poisons one after the other, by what HoldBy says
	unread   time.Time      // reading failed: not before

	refused   int            // dead letters in a row because of it
	refusals  map[string]int // in a row, by what HoldBy says, see refuse
	deadText  string         // of the warning of dead letters
	givenUp   int64          // by others, as of the last look
	dropsTill time.Time      // it is looked for until then

	stats    forwardStats
	retryNow atomic.Bool // see Retry
}

// ForwarderConfig says what a forwarder sends.
type ForwarderConfig struct {
	Upstream string
	Queues   []QueueRef
	// HoldBy is what a refusal holds, and what goes on one connection: the device
	// (the default), or the topic, for messages from a cloud, which all have one
	// giver. Queues that go together (see QueueRef) are not asked.
	HoldBy func(*Stored) string
	// RefusalGrace is how long a message that the receiver's policy denies, or
	// that it refuses without saying why, is tried before it becomes a dead
	// letter; 0 means 24 h.
	RefusalGrace time.Duration
	// Connections is how many of the senders are to be connected now. It is
	// asked once a second; nil means all of them.
	Connections func() int
	// Gate says when messages may be sent; nil for always.
	Gate Gate
	// LiveFor is how long a message counts as live, see QueueRef.LiveFirst; 0 means
	// 30 s.
	LiveFor time.Duration
	// Window is the most that one connection may have unacknowledged, as it is
	// configured: the bill of what a crash left on the way goes by it. 0 means 100,
	// what AWS takes.
	Window int
	// Weight is how much more often a priority goes than the next lower one when
	// messages of both wait on one connection; 0 sends the lower only when there
	// are none of the higher.
	Weight float64
}

// QueueRef is a queue with its priority; a higher number goes first.
type QueueRef struct {
	Name     string
	Priority int

	// LiveFirst lets what is accepted now go before what has waited for long (see
	// ForwarderConfig.LiveFor). Each of the two goes in the order of acceptance, per device.
	LiveFirst bool

	// Last lets only the newest messages of each topic wait; nil for all. Its
	// Run goes beside the forwarder's.
	Last *KeepLast

	// Until is the last place that is sent, 0 for no end: the rest is another
	// forwarder's, see [Inherited].
	Until Place

	// Requests says that the queue's messages are requests of devices, each
	// for itself: one that the receiver's policy denies does not stop those of
	// others, as a route is stopped.
	Requests bool

	// Together keeps all messages of the queue, and of those with the same word
	// here, in order and on one connection, as if one device had given them: each
	// may hold messages of several. Empty: each device goes for itself.
	Together string
}

// Releases are gathered until there are as many as releaseGroup or the oldest is
// releaseDelay old. What is acknowledged by the cloud and not yet released is
// sent again after a crash, so what is gathered, what is being committed and what
// is not settled yet (earlyRoom) are never more than releaseBatch together. At
// AWS's 95 a second a release has five; at full speed the difference to
// releaseGroup is what goes on being acknowledged during a sync, for 5 ms.
const (
	releaseBatch = 1024
	releaseGroup = 512
	releaseDelay = 50 * time.Millisecond
	defaultGrace = 24 * time.Hour
	commitRetry  = time.Second
	landing      = 2 * time.Second // what is in flight may still land when the gateway stops
)

// ErrClosedByPeer is wrapped by Link.Err when the receiver ended the connection,
// or may have: then a message can be the cause. Silence is the network's.
var ErrClosedByPeer = errors.New("the receiver hung up")

// ErrPushedBack is wrapped by Link.Err when the receiver ended the connection, or did
// not answer, as it does for other reasons than a message most of the time: it is sent
// too much, is busy or stops. Only when it takes others meanwhile is it the message.
var ErrPushedBack = errors.New("the receiver pushes back")

// ErrDenied is wrapped by Link.Err, and wraps [ErrClosedByPeer], when the receiver said
// that its policy denies something. The message that it was waits, as when it is answered
// with [ResultDenied], once it is sure which it is.
var ErrDenied = fmt.Errorf("its policy denies it: %w", ErrClosedByPeer)

// ErrRefused is the same for what the receiver will never take: the message becomes a
// dead letter once it is sure which it is.
var ErrRefused = fmt.Errorf("it refuses it: %w", ErrClosedByPeer)

// NewForwarder wires the walk's second half, with a connection for each sender.
func NewForwarder(cfg ForwarderConfig, spool Spool, senders []Sender, meter Meter, drops *DropLog, health *Health, log *slog.Logger) *Forwarder {
	if cfg.HoldBy == nil {
		cfg.HoldBy = func(s *Stored) string { return s.Device }
	}
	cfg.HoldBy = together(cfg.Queues, cfg.HoldBy)
	if cfg.RefusalGrace == 0 {
		cfg.RefusalGrace = defaultGrace
	}
	if cfg.Window == 0 {
		cfg.Window = windowAWS
	}
	if cfg.LiveFor == 0 {
		cfg.LiveFor = liveFor
	}
	f := &Forwarder{
		cfg: cfg, spool: spool, meter: meter, drops: drops, health: health,
		log:      log.With("upstream", cfg.Upstream),
		lanes:    newLanes(cfg.Queues, cfg.Weight),
		takes:    true,
		wake:     make(chan struct{}, 1),
		bell:     make(bell, 1),
		events:   make(chan lineEvent),
		settled:  make(chan settlement, 1), // one commit is under way while the next is gathered
		slots:    make([]slot, slotCount),
		moves:    map[*slot]struct{}{},
		suspects: map[Seq]*suspect{},
		streaks:  map[string]int{},
		refusals: map[string]int{},
	}
	if len(senders) == 1 {
		f.slots = f.slots[:1]
	}
	for i := range f.slots {
		f.slots[i].n = i
	}
	for _, q := range cfg.Queues {
		if q.Last != nil {
			q.Last.wakes(f.wakeUp)
		}
	}
	for i, s := range senders {
		l := newLine(i, len(senders), f, s)
		f.lines, f.gated = append(f.lines, l), f.gated || l.gate != nil
	}
	return f
}

// ForwardStats is what a forwarder has done since the start.
type ForwardStats struct {
	Connected   bool // one of its connections at least
	Sent, Acked int64
	InFlight    int64
	Connects    int64
	LastError   string
}

type forwardStats struct {
	connected   atomic.Bool
	sent, acked atomic.Int64
	connects    atomic.Int64
	lastError   atomic.Pointer[string]
}

// Stats may be called at any time.
func (f *Forwarder) Stats() ForwardStats {
	st := ForwardStats{
		Connected: f.stats.connected.Load(), Sent: f.stats.sent.Load(), Acked: f.stats.acked.Load(),
		Connects: f.stats.connects.Load(),
	}
	for _, l := range f.lines {
		st.InFlight += int64(l.flying())
	}
	if p := f.stats.lastError.Load(); p != nil {
		st.LastError = *p
	}
	return st
}

// Run forwards until ctx ends. It needs no network to end.
func (f *Forwarder) Run(ctx context.Context) error {
	var names []string
	for _, q := range f.cfg.Queues {
		names = append(names, q.Name)
	}
	defer f.spool.Watch(f.wake, names...)()
	f.accountForCrash()
	defer f.drops.Disown(f) // what could not be written
	defer f.drainSettlements()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tick := time.NewTicker(releaseDelay)
	defer tick.Stop()
	f.resize(ctx)
	sized := time.Now()
	f.tellDeadLetters()
	onTick := func() {
		now := time.Now()
		f.flush()
		f.retryFailed()
		f.takeDropped(now)
		if now.Sub(sized) >= resizeEvery {
			f.resize(ctx)
			f.tellDeadLetters()
			f.forgetRejects()
			f.forgetReleased()
			if err := f.expire(); err != nil {
				f.unreadable(err)
			} else if f.up == 0 {
				f.readable()
			}
			if f.othersMay(now) {
				f.assign()
			}
			sized = now
		}
	}
	ending := ctx.Done()
	var failed error
	for f.running > 0 {
		f.ending = ctx.Err() != nil
		f.settleAll()
		select { // sends that wait for the limits must not keep releases back
		case <-tick.C:
			onTick()
		default:
		}
		if ctx.Err() == nil {
			f.refill()
		}
		select {
		case <-f.bell:
		case <-f.wake:
		case <-tick.C:
			onTick()
		case s := <-f.settled:
			f.confirm(s)
		case e := <-f.events:
			if err := f.takeEvent(e); err != nil {
				failed = err
				stop()
			}
		case <-ending:
			ending = nil
			f.resize(ctx)
		}
	}
	f.flush()
	return failed
}

// resizeEvery is how often the number of connections is thought over.
const resizeEvery = time.Second

// refill gives the lines what they have room for. Reading fails when the disk
// does; it is tried again.
func (f *Forwarder) refill() {
	if f.up == 0 || time.Now().Before(f.unread) {
		return
	}
	if err := f.fill(); err != nil {
		f.unreadable(err)
	} else {
		f.readable()
	}
}

// readable notes that it can.
func (f *Forwarder) readable() {
	if !f.unread.IsZero() {
		f.unread = time.Time{}
		f.health.Clear(f.unreadCode())
	}
}

// unreadable notes that the spool cannot be read now.
func (f *Forwarder) unreadable(err error) {
	f.unread = time.Now().Add(commitRetry)
	if f.health.Raise(Warning{Code: f.unreadCode(), Severity: Critical,
		Text: fmt.Sprintf("what waits for %s cannot be read from the spool: %v", f.cfg.Upstream, err)}) {
		f.log.Error("the spool cannot be read", "error", err)
	}
}

func (f *Forwarder) unreadCode() string { return "unreadable-" + f.cfg.Upstream }

// Retry ends the back-off of what is held: whoever was absent may be there now.
// It may be called at any time and does not block.
func (f *Forwarder) Retry() {
	f.retryNow.Store(true)
	f.wakeUp()
}

func (f *Forwarder) wakeUp() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// settleAll settles what has come back, without waiting. The places of the
// windows are given back last, and not while much is acknowledged and not released:
// that has its bound, and so has what is sent beside it.
func (f *Forwarder) settleAll() {
	for _, l := range f.lines {
		for _, r := range l.outcomes() {
			l.settled++
			if r.unsent {
				f.unsent(r.flight)
			} else {
				f.settle(r)
			}
			f.releaseMany()
		}
	}
	f.releaseMany() // the commit that was under way may have ended since
	for _, l := range f.lines {
		if l.ended != nil {
			f.accountFor(l)
		} else if f.releasesAreFew() {
			l.giveBack()
		}
	}
}
