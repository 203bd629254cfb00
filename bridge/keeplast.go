package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// KeepLast lets only the newest messages of each topic wait in one queue: of a
// state, who comes back after a day wants the last word and not the history. What
// is older is given up for [Conflated].
//
// It reads the queue by itself, also while the link is down, and gives up only
// what the forwarder has not come to: so what it drops was never sent. Each
// message costs one look, and memory is bounded: with more topics than it can
// remember, those that come last keep all.
//
// Where live messages go first a newer one may be sent while an older one of its topic
// is read already, or comes back from a link that broke: sent after it, the older would
// be the last word. So there nothing is sent before it was looked at, and the forwarder
// gives up what is outlived when it comes to it.
type KeepLast struct {
	cfg    KeepLastConfig
	spool  Spool
	drops  *DropLog
	health *Health
	log    *slog.Logger

	held   int // in all rings
	tidied int // messages taken since the last tidying
	giving []replaced
	since  time.Time // when giving was begun

	mu      sync.Mutex
	reached map[Place]Place // by the forwarder: where it began to read → how far it is
	doomed  map[Place]bool  // beyond that: in giving, or, when true, being committed
	topics  map[string]*ring
	past    Place  // what lies before was looked at
	awaited bool   // the forwarder waits for more to be
	wake    func() // the forwarder, nil for nobody
	missed  bool   // something that it had come to is outlived
}

// replaced is a message that is about to be given up.
type replaced struct {
	waiting
	topic string
}

// KeepLastConfig says what waits in which queue.
type KeepLastConfig struct {
	Queue  string
	Last   int    // of each topic of the site, 1 or more
	Exempt string // topics that begin so are left alone; empty for none
	Most   int    // messages that are remembered; 0 means 100,000, some 15 MB
}

// Conflated is the reason of what a newer message of its topic has replaced.
const Conflated = "conflated"

// What is given up is committed when there is much of it or it is this old: a
// commit of each would wear the flash.
const (
	mostRemembered = 100_000
	conflateAtOnce = 256
	conflateDelay  = time.Second
)

// ring is the newest messages of a topic that wait, the oldest at next once it
// is full.
type ring struct {
	list []waiting
	next int
}

// waiting is what giving up a message needs to know of it.
type waiting struct {
	place    Place
	size     int
	id       MessageID
	device   string
	accepted time.Time
}

// NewKeepLast makes it for one queue. Its Run and the forwarder's belong
// together.
func NewKeepLast(cfg KeepLastConfig, spool Spool, drops *DropLog, health *Health, log *slog.Logger) *KeepLast {
	if cfg.Most == 0 {
		cfg.Most = mostRemembered
	}
	return &KeepLast{cfg: cfg, spool: spool, drops: drops, health: health, log: log.With("queue", cfg.Queue), reached: map[Place]Place{}, doomed: map[Place]bool{}}
}

// Reached tells that the forwarder has come to a place, reading on from another:
// the beginning of the queue, or of its live part. It reports whether the message
// there is gone, and not to be sent. What was to be given up, and is not yet, is let
// live: passed over it might be sent after a newer one, by a later run. What is being
// committed just now is open: the forwarder has not passed it, and comes back.
func (k *KeepLast) Reached(from, p Place) (gone, open bool) {
	k.mu.Lock()
	if k.doomed[p] {
		k.mu.Unlock()
		return false, true
	}
	delete(k.doomed, p)
	if _, known := k.reached[from]; !known {
		for begun, to := range k.reached { // what the reading of the backlog has passed since
			if begun > 0 && to <= k.reached[0] {
				delete(k.reached, begun)
			}
		}
	}
	k.reached[from] = max(k.reached[from], p)
	k.mu.Unlock()
	return k.spool.Released(k.cfg.Queue, p), false // it may have gone after it was read
}

// Run works until ctx ends. What it has not committed then still waits.
func (k *KeepLast) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	defer k.spool.Watch(wake, k.cfg.Queue)()
	k.mu.Lock()
	k.topics, k.held, k.past = map[string]*ring{}, 0, 0
	k.mu.Unlock()
	c := k.spool.Cursor(k.cfg.Queue)
	defer c.Close()
	tick := time.NewTicker(conflateDelay / 4)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := k.read(ctx, c); err != nil {
			k.complain(err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
			if len(k.giving) > 0 && time.Since(k.since) >= conflateDelay {
				k.commit(ctx)
			}
		case <-wake:
		}
	}
	k.forgive()
	return nil
}

// read looks at what is new in the queue.
func (k *KeepLast) read(ctx context.Context, c Cursor) error {
	for ctx.Err() == nil {
		r, err := c.Next()
		if err != nil || r == nil {
			return err
		}
		if wake := k.take(r); wake != nil {
			wake()
		}
		if len(k.giving) >= conflateAtOnce {
			k.commit(ctx)
		}
	}
	return nil
}

// take remembers a message, and gives up the one that it replaces. It returns what wakes
// the forwarder if that waits.
func (k *KeepLast) take(r *Stored) (wake func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.past = r.Place + 1
	if k.awaited {
		wake, k.awaited = k.wake, false
	}
	if k.cfg.Exempt != "" && strings.HasPrefix(r.Topic, k.cfg.Exempt) {
		return wake
	}
	k.tidied++
	t := k.topics[r.Topic]
	if t == nil {
		t = &ring{}
	}
	w := waiting{r.Place, r.Size(), r.ID, r.Device, r.Wall}
	if len(t.list) < k.cfg.Last {
		if k.held >= k.cfg.Most && !k.tidy() {
			k.health.Raise(Warning{Code: k.code("full"), Severity: Notice,
				Text: fmt.Sprintf("%d messages of topics wait in %s: of the topics beyond these all messages are kept, and not the last %d", k.held, k.cfg.Queue, k.cfg.Last)})
			return wake
		}
		k.topics[r.Topic] = t
		t.list = append(t.list, w)
		k.held++
		return wake
	}
	old := t.list[t.next]
	t.list[t.next] = w
	t.next = (t.next + 1) % len(t.list)
	if k.wasReached(old.place) {
		k.missed = true
		return wake
	}
	k.doomed[old.place] = false
	if len(k.giving) == 0 {
		k.since = time.Now()
	}
	k.giving = append(k.giving, replaced{old, r.Topic})
	return wake
}

// wakes sets what wakes the forwarder.
func (k *KeepLast) wakes(wake func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wake = wake
}

// looked reports whether the message at a place was looked at. If not the forwarder is
// woken when more were.
func (k *KeepLast) looked(p Place) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.awaited = p >= k.past
	return !k.awaited
}

// outlived reports whether as many newer messages of its topic have come as may wait.
func (k *KeepLast) outlived(topic string, p Place) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.topics[topic]
	return t != nil && len(t.list) >= k.cfg.Last && p < t.list[t.next].place
}

// outlivedSome reports whether that has become so of something that the forwarder had
// come to, since it was last asked.
func (k *KeepLast) outlivedSome() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	some := k.missed
	k.missed = false
	return some
}

// closes takes a doomed place for a commit; false: the forwarder has come to it.
func (k *KeepLast) closes(p Place) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, still := k.doomed[p]; !still {
		return false
	}
	k.doomed[p] = true
	return true
}

// reopen lets the forwarder have what could not be committed.
func (k *KeepLast) reopen() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.doomed {
		k.doomed[p] = false
	}
}

// wasReached reports whether the forwarder has come to a place. k.mu is held.
func (k *KeepLast) wasReached(p Place) bool {
	for from, to := range k.reached {
		if from <= p && p <= to {
			return true
		}
	}
	return false
}

// tidy forgets the topics of which nothing waits any more, and reports whether
// that has made room. It looks at all topics, so it is done once in as many
// messages as are remembered. k.mu is held.
func (k *KeepLast) tidy() bool {
	if k.tidied < k.cfg.Most {
		return false
	}
	k.tidied = 0
	for topic, t := range k.topics {
		newest := t.list[(t.next+len(t.list)-1)%len(t.list)]
		if k.wasReached(newest.place) {
			k.held -= len(t.list)
			delete(k.topics, topic)
		}
	}
	return k.held < k.cfg.Most
}

// commit makes it durable, and tries again until the spool takes it or ctx ends. What
// the forwarder has come to, or an operator has taken, is not given up.
func (k *KeepLast) commit(ctx context.Context) {
	for {
		left := k.giving
		var b Batch
		for len(left) > 0 && !b.heavy() {
			w := left[0]
			left = left[1:]
			if !k.closes(w.place) || !k.drops.Claim(k, k.cfg.Queue, w.place) {
				continue
			}
			k.drops.enter(&b, &DropEntry{
				ID: w.id, Reason: Conflated, Queue: k.cfg.Queue, Size: w.size, Device: w.device, Topic: w.topic, Accepted: w.accepted,
			})
			b.Releases = append(b.Releases, Release{k.cfg.Queue, w.place, w.size, Dropped})
		}
		done, given := make(chan error, 1), b.Releases
		k.spool.Commit(&b, func(_ Seq, err error) { done <- err })
		err := <-done
		if err == nil {
			k.health.Clear(k.code("failing"))
			k.mu.Lock()
			for _, w := range k.giving[:len(k.giving)-len(left)] {
				delete(k.doomed, w.place)
			}
			k.mu.Unlock()
			for _, r := range given {
				k.drops.Committed(k, r.Queue, r.Place)
			}
			if k.giving = left; len(left) == 0 {
				k.giving = nil
				return
			}
			continue
		}
		k.drops.Disown(k)
		k.reopen()
		k.complain(err)
		t := time.NewTimer(commitRetry)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// forgive lets live what was not committed: the next Run finds it again.
func (k *KeepLast) forgive() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.doomed)
	k.giving = nil
}

func (k *KeepLast) complain(err error) {
	if k.health.Raise(Warning{Code: k.code("failing"), Severity: Degraded,
		Text: fmt.Sprintf("older messages of the topics in %s cannot be given up, and are sent, or wait where live_first is set: %v", k.cfg.Queue, err)}) {
		k.log.Error("keep_last does not work", "error", err)
	}
}

func (k *KeepLast) code(what string) string { return "keep-last-" + what + "-" + k.cfg.Queue }
