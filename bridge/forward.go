package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Forwarder is the second half of the walk, for one connection of one upstream:
//
//	send → cloud's ack → release and meter, in one transaction
//
// It is one goroutine. It reads the upstream's queues, the highest priority
// first and within a priority in the order of acceptance, keeps up to the
// link's window in flight, and gathers what is acknowledged into releases.
//
// Order is that of first transmissions, per device. When one message of a
// device is refused for now, the device is held: nothing more of it is sent,
// what is in flight comes back, and then it is sent again from the oldest
// unacknowledged, while the other devices go on.
type Forwarder struct {
	cfg    ForwarderConfig
	spool  Spool
	sender Sender
	meter  Meter
	drops  *DropLog
	health *Health
	log    *slog.Logger

	lanes   []*lane // by falling priority
	wake    chan struct{}
	inbox   *inbox
	settled chan settlement
	batch   Batch       // releases gathered, not committed yet
	waiting []flightKey // what batch releases
	flying  int         // commits of batches under way
	closing int         // releases in these
	failed  []settlement
	retryAt time.Time
	closes  suspect
	takes   bool             // something was acknowledged since the last poison
	holds   map[string]*hold // by what ForwarderConfig.HoldBy says
	stats   forwardStats

	retryNow atomic.Bool // see Retry
}

// ForwarderConfig says what a forwarder sends.
type ForwarderConfig struct {
	Upstream string
	Queues   []QueueRef
	// HoldBy is what a refusal holds: the device (the default), or the topic,
	// for messages from a cloud, which all have one giver.
	HoldBy func(*Stored) string
	// RefusalGrace is how long a message that the receiver's policy denies is
	// tried before it becomes a dead letter; 0 means 24 h.
	RefusalGrace time.Duration
}

// QueueRef is a queue with its priority; a higher number goes first.
type QueueRef struct {
	Name     string
	Priority int

	// Last lets only the newest messages of each topic wait; nil for all. Its
	// Run goes beside the forwarder's.
	Last *KeepLast

	// Requests says that the queue's messages are requests of devices, each
	// for itself: one that the receiver's policy denies does not stop those of
	// others, as a route is stopped.
	Requests bool
}

// Releases are gathered until there are as many as releaseGroup or the oldest is
// releaseDelay old. What is acknowledged by the cloud and not yet released is
// sent again after a crash, so what is gathered and what is being committed are
// never more than releaseBatch together. At AWS's 95 a second a release has five;
// at full speed the difference of the two is what goes on being acknowledged
// during a sync, for 2 ms.
const (
	releaseBatch = 1024
	releaseGroup = 768
	releaseDelay = 50 * time.Millisecond
	defaultGrace = 24 * time.Hour
	commitRetry  = time.Second
	landing      = 2 * time.Second // what is in flight may still land when the gateway stops
)

// ErrClosedByPeer is wrapped by Link.Err when the receiver ended the connection,
// or may have: then a message can be the cause. Silence is the network's.
var ErrClosedByPeer = errors.New("the receiver hung up")

// NewForwarder wires the walk's second half for one connection.
func NewForwarder(cfg ForwarderConfig, spool Spool, sender Sender, meter Meter, drops *DropLog, health *Health, log *slog.Logger) *Forwarder {
	if cfg.HoldBy == nil {
		cfg.HoldBy = func(s *Stored) string { return s.Device }
	}
	if cfg.RefusalGrace == 0 {
		cfg.RefusalGrace = defaultGrace
	}
	return &Forwarder{
		cfg: cfg, spool: spool, sender: sender, meter: meter, drops: drops, health: health,
		log:     log.With("upstream", cfg.Upstream),
		lanes:   newLanes(cfg.Queues),
		takes:   true,
		wake:    make(chan struct{}, 1),
		settled: make(chan settlement, 1), // one commit is under way while the next is gathered
	}
}

// ForwardStats is what a forwarder has done since the start.
type ForwardStats struct {
	Connected   bool
	Sent, Acked int64
	InFlight    int64
	Connects    int64
	LastError   string
}

type forwardStats struct {
	connected             atomic.Bool
	sent, acked, inFlight atomic.Int64
	connects              atomic.Int64
	lastError             atomic.Pointer[string]
}

// Stats may be called at any time.
func (f *Forwarder) Stats() ForwardStats {
	st := ForwardStats{
		Connected: f.stats.connected.Load(), Sent: f.stats.sent.Load(), Acked: f.stats.acked.Load(),
		InFlight: f.stats.inFlight.Load(), Connects: f.stats.connects.Load(),
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
	defer f.drainSettlements()
	for {
		link, err := f.sender.Connect(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		f.health.Clear(f.deniedCode()) // the cloud's policy may be another now
		f.stats.connects.Add(1)
		f.stats.connected.Store(true)
		err = f.session(ctx, link)
		f.stats.connected.Store(false)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("the link ended without a reason")
		}
		text := err.Error()
		f.stats.lastError.Store(&text)
		f.log.Info("the link is down", "reason", text)
	}
}

// Retry ends the back-off of what is held: whoever was absent may be there now.
// It may be called at any time and does not block.
func (f *Forwarder) Retry() {
	f.retryNow.Store(true)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// session sends over one link until it is down or ctx ends.
func (f *Forwarder) session(ctx context.Context, link Link) error {
	window := f.closes.narrow(link.Window())
	f.inbox = newInbox()
	f.openCursors()
	defer f.endSession(link)
	tick := time.NewTicker(releaseDelay)
	defer tick.Stop()
	inFlight := 0
	for {
		inFlight -= f.settleAll()
		if ctx.Err() != nil {
			f.land(link)
			return ctx.Err()
		}
		f.keepReleasesFew(link)
		select { // a send that waits for the limits must not keep releases back
		case <-tick.C:
			f.flush()
			f.retryFailed()
		default:
		}
		if inFlight < window {
			fl, err := f.pick()
			if err != nil {
				return err
			}
			if fl != nil {
				if err := f.send(ctx, link, fl); err != nil {
					if ctx.Err() != nil && link.Err() == nil { // what was sent before may still land
						f.land(link)
						return ctx.Err()
					}
					return errors.Join(err, link.Err())
				}
				inFlight++
				continue
			}
		}
		f.stats.inFlight.Store(int64(inFlight))
		link.Flush()
		select {
		case <-f.inbox.some:
		case <-f.wake:
		case <-tick.C:
			f.flush()
			f.retryFailed()
		case s := <-f.settled:
			f.confirm(s)
		case <-link.Done():
			return link.Err()
		case <-ctx.Done():
			f.land(link)
			return ctx.Err()
		}
	}
}

// settleAll settles what has come back, without waiting, and counts it.
func (f *Forwarder) settleAll() int {
	reports := f.inbox.take()
	for _, r := range reports {
		f.settle(r)
	}
	return len(reports)
}

// land waits a little for what is in flight, so that an orderly stop leaves
// nothing to be sent twice.
func (f *Forwarder) land(link Link) {
	t := time.NewTimer(landing)
	defer t.Stop()
	link.Flush()
	for f.inFlight() > 0 {
		select {
		case <-f.inbox.some:
			f.settleAll()
		case <-link.Done():
			return
		case <-t.C:
			return
		}
	}
}

// send transmits one flight.
func (f *Forwarder) send(ctx context.Context, link Link, fl *flight) error {
	d := &fl.delivery
	*d = Delivery{Stored: fl.Stored, Attempt: fl.attempt}
	if fl.HasExpiry {
		left := time.Duration(fl.Expiry)*time.Second - (f.spool.Age() - fl.Age)
		d.Remaining = uint32(min(max(left/time.Second, 0), time.Duration(fl.Expiry)))
	}
	in := f.inbox
	if err := link.Send(ctx, d, func(o Outcome) { in.put(report{fl, o}) }); err != nil {
		fl.lane.forget(fl)
		return err
	}
	f.stats.sent.Add(1)
	return nil
}

// endSession closes the link, takes the outcomes that are still to come, and
// accounts for what was lost on the way.
func (f *Forwarder) endSession(link Link) {
	_ = link.Close()
	var oldest *flight
	for f.inFlight() > 0 {
		<-f.inbox.some
		for _, r := range f.inbox.take() {
			if r.Result == ResultLost && (oldest == nil || r.Seq < oldest.Seq) {
				oldest = r.flight
			}
			f.settle(r)
		}
	}
	f.suspectOldest(oldest, link.Err())
	f.forgetMarks()
	f.flush()
	f.closeCursors()
	f.stats.inFlight.Store(0)
}

func (f *Forwarder) inFlight() (n int) {
	for _, l := range f.lanes {
		n += l.inFlight()
	}
	return n
}
