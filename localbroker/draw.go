package localbroker

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"
)

// draw hands what waits in the group's queue to members that are connected, at
// their pace (Q26). It may be called by anybody without locks; one call at a
// time does the work, and another makes it look again.
func (g *group) draw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = true
	if g.drawing {
		return
	}
	g.drawing = true
	for g.asked && !g.ended {
		g.asked = false
		g.drawLocked()
	}
	g.drawing = false
	g.readAheadLocked()
}

// drawLocked hands over until nobody takes more. The group is unlocked while a
// member is asked.
func (g *group) drawLocked() {
	for d := g.waiting.front(); d != nil && !g.ended; d = g.waiting.front() {
		g.waiting.pop()
		g.mu.Unlock()
		answer, wait := g.hand(d)
		g.mu.Lock()
		if answer == drawnLater && !g.ended {
			g.waiting.unpop(d)
			if wait > 0 {
				g.wakeLocked(wait)
			}
			return
		}
		g.charge(d, -1)
		if answer == drawnDropped && !g.ended {
			g.keep.remove(d)
		}
	}
	g.readAheadLocked()
}

func (g *group) wakeLocked(wait time.Duration) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(wait, func() { g.broker.guard(g.draw) })
}

// drawn is what became of a message of the queue.
type drawn byte

const (
	drawnLater   drawn = iota // nobody takes it now
	drawnTaken                // a member has it
	drawnDenied               // this member may not have it
	drawnDropped              // nobody there may have it, or its time is over
)

// hand offers a message to the members in random order (B173).
func (g *group) hand(d *delivery) (answer drawn, wait time.Duration) {
	if d.expires != 0 && d.expires <= g.broker.age() { // B118
		g.broker.drops.Missed("expired", g.filter.text, d.msg.Topic)
		return drawnDropped, 0
	}
	members := g.broker.index.members(g.filter)
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	asked, denied := 0, 0
	for _, m := range members {
		if !m.session.online.Load() {
			continue
		}
		asked++
		d := *d
		d.qos, d.from = min(d.msg.QoS, m.qos, 1), g // as it was put there, see enqueue
		if m.identifier > 0 {
			d.identifiers = []int{m.identifier}
		}
		got, later := m.session.drawn(&d)
		switch got {
		case drawnTaken:
			return drawnTaken, 0
		case drawnDenied:
			denied++
		}
		if later > 0 && (wait == 0 || later < wait) {
			wait = later
		}
	}
	if asked > 0 && denied == asked {
		return drawnDropped, 0
	}
	return drawnLater, wait
}

// drawn takes a message of a group's queue, if the session has room and pace for
// it.
func (s *session) drawn(d *delivery) (drawn, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.client
	switch {
	case s.ended || c == nil || !c.open.Load():
		return drawnLater, 0
	case !s.mayReceive(d):
		return drawnDenied, 0
	case len(s.out.flight)+s.out.waits() >= c.window:
		return drawnLater, 0 // its PUBACKs ask again
	}
	if wait := s.replayWaitLocked(true); wait > 0 {
		return drawnLater, wait
	}
	if d.qos == 0 { // nothing will tell that it has arrived
		d.from.settled(d)
		d.from, d.kept = nil, entry{}
	}
	s.out.push(&s.out.waiting, d)
	s.pumpLocked()
	return drawnTaken, 0
}

// readAheadLocked reads more of the queue when it has run low and members are
// there.
func (g *group) readAheadLocked() {
	k := g.keep
	if g.ended || k.reading || !k.behind() || g.waiting.len() > aheadMessages/2 || g.bytes >= aheadBytes || !g.attended() {
		return
	}
	job := reading{epoch: k.epoch}
	if len(k.again) > 0 {
		job.again, k.again = k.again, nil
	} else {
		job.from, job.to = k.live.from, k.readable(k.live)
		if job.from >= job.to {
			return
		}
	}
	k.reading = true
	go g.broker.guard(func() { g.read(job) })
}

// attended reports whether a member is connected.
func (g *group) attended() bool {
	for _, m := range g.broker.index.members(g.filter) {
		if m.session.online.Load() {
			return true
		}
	}
	return false
}

func (g *group) read(job reading) {
	b := g.broker
	b.reading <- struct{}{}
	found, upTo, err := g.keep.fetch(job)
	<-b.reading
	g.mu.Lock()
	k := g.keep
	k.reading = false
	switch {
	case g.ended:
	case err != nil:
		b.quiet.warn("shelf", "a share group's queue cannot be read, it is tried again", slog.String("group", g.filter.text), slog.String("error", err.Error()))
		k.again = append(k.again, job.again...)
	default:
		for _, d := range found {
			g.charge(d, 1)
		}
		if job.again != nil { // before what waits
			g.waiting = fifo{list: append(found, g.waiting.take()...)}
			k.heal(len(job.again) - len(found))
			break
		}
		for _, d := range found {
			g.waiting.push(d)
		}
		k.live.from = upTo
		k.live.left -= len(found)
		k.passed(&k.live)
	}
	g.mu.Unlock()
	if err == nil {
		g.draw()
	}
}

// drawFor lets the groups of a session look at it: it has connected, or has
// joined.
func (b *Broker) drawFor(filters []filter) {
	for _, f := range filters {
		if g := b.groups.find(f); g != nil {
			go b.guard(g.draw)
		}
	}
}

// sharedLocked lists the session's share groups.
func (s *session) sharedLocked() (out []filter) {
	for _, sub := range s.subs {
		if sub.filter.group != "" {
			out = append(out, sub.filter)
		}
	}
	return out
}

// splitShare takes the text of a shared subscription apart that has been checked
// before.
func splitShare(text string) filter {
	f := filter{text: text}
	f.group, f.topic, _ = strings.Cut(strings.TrimPrefix(text, shareRoot), "/")
	return f
}
