package localbroker

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// group is the queue of a share group: what comes while no member is connected,
// and a member's session is kept, waits for whichever is there first (B178). It
// is a backlog like a session's; its entries stay until a member acknowledges
// them.
type group struct {
	broker *Broker
	filter filter
	serial uint64

	mu      sync.Mutex
	keep    *backlog
	waiting fifo
	bytes   int // of waiting
	saved   bool
	ended   bool
	drawing bool // somebody hands messages to members
	asked   bool // and is to look again
	timer   *time.Timer
}

// groups is the share groups that have, or have had, a queue.
type groups struct {
	broker *Broker

	mu     sync.Mutex
	byName map[string]*group // by groupName
}

// The values of MemoryOptions.SharedQueue.
const (
	sharedQueueOn  = "on"
	sharedQueueOff = "off"
)

// of finds the queue of a group, or makes one. Until that is durable every batch
// that puts something into it carries its record too.
func (g *groups) of(f filter, batch *bridge.Batch) (out *group, ceiling uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := groupName(f)
	if out = g.byName[name]; out == nil {
		out = &group{broker: g.broker, filter: f}
		out.serial, ceiling = g.broker.store.number(batch)
		out.keep = newBacklog(g.broker.store, out.serial)
		g.byName[name] = out
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	if !out.saved {
		batch.Put(shelfGroup, f.text, out.record())
	}
	return out, ceiling
}

func (g *group) record() []byte {
	return binary.AppendUvarint([]byte{codecVersion}, g.serial)
}

// find returns the queue of a group, nil if there is none.
func (g *groups) find(f filter) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byName[groupName(f)]
}

// left is told that a subscription is gone. A group without members has no
// queue (B181, B182).
func (g *groups) left(f filter) {
	if f.group == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.byName[groupName(f)]
	if out == nil || len(g.broker.index.members(f)) > 0 {
		return
	}
	delete(g.byName, groupName(f))
	g.broker.store.Forget(shelfGroup, f.text) // under the lock: before the next record
	out.end()
}

func (g *group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for _, d := range g.waiting.take() {
		g.charge(d, -1)
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	g.broker.drops.MissedAll("share-group-ended", g.keep.count, g.filter.text, "")
	g.broker.erase(g.keep)
}

func (g *group) charge(d *delivery, sign int) {
	g.bytes += sign * d.size
	g.broker.queued.bytes.Add(int64(sign * d.size))
}

// reserve takes a place for a message, before its commit (Q24).
func (g *group) reserve(d *delivery) taken {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.broker.memory
	bounds := LimitOptions{QueueMessages: m.Quotas.GroupQueueMessages, QueueSize: m.QueueSize}
	switch {
	case g.ended:
		return takenGone
	case !g.keep.fits(d.size, bounds, int64(m.QueueSize)):
		g.broker.drops.Missed("group-queue-full", g.filter.text, d.msg.Topic)
		return takenFull
	}
	g.keep.reserve(d)
	return takenQueued
}

func (g *group) undo(d *delivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep.undo(d)
	g.readAheadLocked()
}

// offer takes a message that is on the shelf now.
func (g *group) offer(d *delivery) {
	g.mu.Lock()
	g.saved = true
	if g.ended {
		g.keep.store.drop(d.kept)
		g.mu.Unlock()
		return
	}
	room := g.waiting.len() < aheadMessages && g.bytes < aheadBytes && g.attended()
	if g.keep.arrive(d, true, room) {
		g.waiting.push(d)
		g.charge(d, 1)
	}
	g.mu.Unlock()
	g.draw()
}

// settled takes what a member is done with.
func (g *group) settled(d *delivery) {
	g.mu.Lock()
	if !g.ended {
		g.keep.remove(d)
	}
	g.mu.Unlock()
	go g.broker.guard(g.draw)
}

// returned takes back what a member had when it left: it is read again, before
// all else (B176).
func (g *group) returned(ds []*delivery) {
	g.mu.Lock()
	for _, d := range ds {
		g.keep.again = append(g.keep.again, sent{ordinal: d.kept.ordinal})
	}
	g.mu.Unlock()
	go g.broker.guard(g.draw)
}

// restoreGroups takes the queues of groups whose members are there.
func (b *Broker) restoreGroups(owners map[uint64]*backlog) error {
	return b.store.Scan(shelfGroup, "", func(text string, value []byte) bool {
		r := &reader{b: value}
		r.bad = r.byte() != codecVersion
		g := &group{broker: b, filter: splitShare(text), saved: true}
		g.serial = r.number()
		if err := r.err(); err != nil {
			b.store.damaged("the share group "+text, err)
			b.store.Forget(shelfGroup, text)
			return true
		}
		b.store.raise(g.serial)
		if len(b.index.members(g.filter)) == 0 {
			b.store.Forget(shelfGroup, text)
			return true
		}
		g.keep = newBacklog(b.store, g.serial)
		owners[g.serial] = g.keep
		b.groups.byName[groupName(g.filter)] = g
		return true
	})
}

// redirects bounds how many members are tried after one that is gone.
const redirects = 3

// redirect finds another member for a message that one whose session is not kept
// has left behind (B176): the group's queue, or else somebody who is connected.
func (b *Broker) redirect(d *delivery) {
	f := d.via.filter
	members := b.index.members(f)
	next := planned{delivery: newDelivery(d.msg, d.msg.QoS)}
	next.share, next.shared, next.via, next.expires, next.tries = d.share, true, d.via, d.expires, d.tries+1
	if b.memory.SharedQueue == sharedQueueOn && slices.ContainsFunc(members, func(m *subscription) bool { return m.session.keep != nil }) {
		p := &parcel{broker: b, msg: d.msg, expires: d.expires}
		var batch bridge.Batch
		if p.place(&next, true, &batch) == placedShelf {
			p.commitOne(next, &batch)
		}
		return
	}
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for _, m := range members {
		if next.tries > redirects {
			break
		}
		again := *next.delivery
		again.qos, again.via = min(d.msg.QoS, m.qos), m
		if m.session.online.Load() && m.session.offer(&again) == takenQueued {
			return
		}
	}
	b.drops.Missed("share-group-absent", d.share, d.msg.Topic)
}

// commitOne commits a parcel of a single delivery.
func (p *parcel) commitOne(to planned, batch *bridge.Batch) {
	p.planned, p.to = true, []planned{to}
	d := p.to[0].delivery
	batch.Put(shelfQueue, d.kept.key(), encodeKept(d))
	p.broker.store.Commit(batch, func(_ bridge.Seq, err error) {
		p.settle(err)
		if err != nil {
			p.broker.drops.Missed(bridge.KindOf(err).String(), d.share, d.msg.Topic)
			return
		}
		p.broker.courier.do(func() { to.group.offer(d) })
	})
}
