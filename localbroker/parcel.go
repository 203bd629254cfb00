package localbroker

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// parcel is one message on its way to the broker's own receivers. Who receives
// it is decided before the commit (extend), so that what is kept for them, and
// the retained message, are in the batch of the message itself; the commit's
// outcome is noted in the order of commits (settle); then it is carried to the
// sessions, in the order of its giver (deliver).
type parcel struct {
	broker   *Broker
	from     string // client id of the giver, empty for others
	giver    string // its name when it has no client id
	msg      *bridge.Message
	expires  time.Duration
	promised bool // somebody has been told that it will be delivered
	answer   bool // of a service: not of AWS's quotas of pace
	away     bool // for the cloud alone: nobody here receives it (B106)

	to       []planned
	refused  []*session // those that are not in it although they were decided on
	changes  uint64     // of the index, before to was found
	planned  bool       // and not settled
	retain   retaining
	body     uint64
	spilled  *spilled // nil: all entries are in the message's batch
	ceiling  uint64
	full     int // sessions and groups that had no room
	queued   int // groups that keep it
	modified time.Time
	number   uint64 // of the retained message that it has become; 0: of none
	refers   bool   // the retained message is the shared body
}

// planned is one delivery and whom it goes to.
type planned struct {
	session  *session // or
	group    *group   // whose members are all away or busy
	ordinary bool     // through no share group
	*delivery
}

// retaining is what a message does to the retained one of its topic.
type retaining byte

const (
	retainNothing retaining = iota
	retainMessage
	retainClear
)

// extend finds the receivers and adds what is kept of the message to its batch.
// It is called again when the message is tried again.
func (p *parcel) extend(batch *bridge.Batch) {
	if p.away {
		p.giveUp(batch)
		return
	}
	b := p.broker
	p.changes, p.planned = b.index.changes.Load(), true
	p.to, p.refused = nil, nil
	p.body, p.ceiling, p.full, p.queued, p.retain, p.refers = 0, 0, 0, 0, retainNothing, false
	kept := 0
	for _, r := range b.receivers(p.from, p.msg.Topic, p.vain) {
		next := planned{session: r.session, ordinary: r.via == nil, delivery: r.delivery(p.msg, p.expires)}
		next.counted = p.answer
		where := p.place(&next, r.queue, batch)
		switch where {
		case placedShelf:
			kept++
		case placedFull:
			p.full++
		}
		if where == placedShelf || where == placedMemory {
			p.to = append(p.to, next)
		} else if next.ordinary {
			p.refused = append(p.refused, r.session)
		}
	}
	refs := kept
	if p.msg.Retain {
		p.retain = b.retained.plan(p.msg)
		if p.retain == retainClear && len(p.msg.Payload) > 0 {
			b.drops.Count(errRetainedFull.reason, p.from, p.msg.Topic) // goes on, is not kept
		}
		if p.refers = kept > 0 && p.retain == retainMessage && p.msg.MeteredSize() > retainedWhole; p.refers {
			refs++
		}
	}
	if refs > 1 {
		n, ceiling := b.store.number(batch)
		p.body, p.ceiling = n, max(p.ceiling, ceiling)
		b.store.share(p.body, refs)
		batch.Put(shelfBody, bodyKey(p.body), bodyOf(p.msg, p.expires))
	}
	if p.msg.Retain {
		p.extendRetained(batch)
	}
	p.addEntries(batch)
}

// vain reports whether a subscriber would only drop the message, and counts
// that: a device that does not read what it has asked for must cost the givers
// next to nothing. Who is in a share group has others behind it, what is kept
// has its place elsewhere, and what is promised is tried again.
func (p *parcel) vain(s *subscription) bool {
	if s.filter.group != "" || s.session.keep != nil || p.promised || !s.session.out.brimful(p.msg.MeteredSize()+deliveryOverhead) {
		return false
	}
	p.broker.drops.Missed("session-queue-full", s.session.id, p.msg.Topic)
	p.refused = append(p.refused, s.session)
	return true
}

// placed is where a delivery waits until it is carried to its receiver.
type placed byte

const (
	placedNowhere placed = iota // it has no receiver
	placedFull                  // its receiver has no room
	placedMemory
	placedShelf
)

// place takes a place for a delivery that is to be kept. What its session cannot
// take, and no member of a share group, goes to the group (B178, B179).
func (p *parcel) place(to *planned, queue bool, batch *bridge.Batch) placed {
	d := to.delivery
	switch {
	case queue:
		return p.enqueue(to, batch)
	case d.qos == 0:
		return placedMemory
	case to.session.keep == nil:
		if d.via != nil && !p.promised && to.session.busy(d) {
			return p.enqueue(to, batch)
		}
		return placedMemory
	}
	switch to.session.reserve(d, p.promised) {
	case takenQueued:
		return placedShelf
	case takenFull:
		if d.via != nil {
			return p.enqueue(to, batch)
		}
		return placedFull
	case takenGone:
		if d.via != nil {
			return p.enqueue(to, batch)
		}
	}
	return placedNowhere
}

// enqueue puts a delivery into the queue of its share group.
func (p *parcel) enqueue(to *planned, batch *bridge.Batch) placed {
	b, d := p.broker, to.delivery
	if d.qos = min(p.msg.QoS, 1); d.qos == 0 || b.memory.SharedQueue == sharedQueueOff { // B175, B177
		b.drops.Missed("share-group-absent", d.share, p.msg.Topic)
		return placedNowhere
	}
	if life := b.age() + d.via.session.profileNow().sessionExpiry; d.expires == 0 || life < d.expires { // B178
		d.expires, d.shortened = life, true
	}
	d.identifiers = nil // those of whoever gets it
	for try := 0; try == 0 || try < redirects && len(b.index.members(d.via.filter)) > 0; try++ {
		g, ceiling := b.groups.of(d.via.filter, batch)
		p.ceiling = max(p.ceiling, ceiling)
		to.group, to.session = g, nil
		switch g.reserve(d) {
		case takenQueued:
			p.queued++
			return placedShelf
		case takenFull:
			return placedFull
		} // its last member has left: somebody may have begun it anew
	}
	b.drops.Missed("share-group-absent", d.share, p.msg.Topic)
	return placedNowhere
}

func (p *parcel) extendRetained(batch *bridge.Batch) {
	var value []byte
	if p.retain == retainMessage {
		p.modified = p.broker.now()
		if p.refers {
			value = encodeReference(p.body, p.modified)
		} else {
			value = encodeMessage(p.msg, p.expires, p.modified)
		}
	}
	batch.Put(shelfRetained, p.msg.Topic, value)
}

// settle takes the outcome of the commit. It does not block.
func (p *parcel) settle(err error) {
	if !p.planned {
		return
	}
	p.planned = false
	if p.retain != retainNothing {
		k := retainedMessage{msg: p.msg, expires: p.expires, modified: p.modified}
		if p.refers {
			k.body = p.body
		}
		p.number = p.broker.retained.settle(p.retain, k, err)
	}
	if err == nil {
		p.broker.store.confirm(p.ceiling)
		if p.spilled != nil && p.spilled.failed.Load() {
			p.loosen()
		}
		return
	}
	if p.refers {
		p.broker.store.unref(p.body)
	}
	for i := range p.to {
		if to := &p.to[i]; to.kept.ordinal > 0 {
			p.undo(to)
			switch {
			case p.spilled != nil && i < p.spilled.count: // committed before the message
				p.broker.store.drop(to.kept)
			case p.body != 0:
				p.broker.store.unref(p.body)
			}
		}
	}
	p.to = nil
}

// deliver carries the message to its receivers, and to who has subscribed
// since the decision, unless the message was given to them as a retained one. Who
// was refused then is not asked again: older messages would come after newer ones.
func (p *parcel) deliver(each func(*session, *delivery)) {
	for i := range p.to {
		switch to := &p.to[i]; {
		case to.group == nil:
			each(to.session, to.delivery)
		case to.kept.ordinal > 0:
			to.group.offer(to.delivery)
		}
	}
	if p.changes == p.broker.index.changes.Load() {
		return
	}
	known := make(map[*session]bool, len(p.to)+len(p.refused))
	for i := range p.to {
		if p.to[i].ordinary {
			known[p.to[i].session] = true
		}
	}
	for _, s := range p.refused {
		known[s] = true
	}
	for _, r := range p.broker.receivers(p.from, p.msg.Topic, nil) {
		if r.via == nil && !known[r.session] && !r.session.wasGiven(p.msg.Topic, p.number) {
			each(r.session, r.delivery(p.msg, p.expires))
		}
	}
}
