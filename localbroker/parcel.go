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
	msg      *bridge.Message
	expires  time.Duration
	promised bool // somebody has been told that it will be delivered
	away     bool // for the cloud alone: nobody here receives it (B106)

	to       []planned
	changes  uint64 // of the index, before to was found
	planned  bool   // and not settled
	retain   retaining
	body     uint64
	ceiling  uint64
	full     int // sessions that had no room
	modified time.Time
}

// planned is one delivery and whom it goes to.
type planned struct {
	session *session
	delivery
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
		return
	}
	b := p.broker
	p.changes, p.planned = b.index.changes.Load(), true
	p.to, p.body, p.ceiling, p.full, p.retain = nil, 0, 0, 0, retainNothing
	kept := 0
	for _, r := range b.receivers(p.from, p.msg.Topic) {
		next := planned{r.session, *r.delivery(p.msg, p.expires)}
		if next.qos > 0 && r.session.keep != nil {
			switch r.session.reserve(&next.delivery, p.promised) {
			case takenQueued:
				kept++
			case takenFull:
				p.full++
				continue
			default:
				continue
			}
		}
		p.to = append(p.to, next)
	}
	if kept > 1 {
		p.body, p.ceiling = b.store.number(batch)
		b.store.share(p.body, kept)
		batch.Put(shelfBody, bodyKey(p.body), bodyOf(p.msg, p.expires))
	}
	for i := range p.to {
		if d := &p.to[i].delivery; d.kept.ordinal > 0 {
			d.kept.body = p.body
			batch.Put(shelfQueue, d.kept.key(), encodeKept(d))
		}
	}
	if p.msg.Retain {
		p.extendRetained(batch)
	}
}

func (p *parcel) extendRetained(batch *bridge.Batch) {
	var value []byte
	if p.retain = p.broker.retained.plan(p.msg); p.retain == retainMessage {
		p.modified = p.broker.now()
		value = encodeMessage(p.msg, p.expires, p.modified)
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
		p.broker.retained.settle(p.retain, retainedMessage{p.msg, p.expires, p.modified}, err)
	}
	if err == nil {
		p.broker.store.confirm(p.ceiling)
		return
	}
	for i := range p.to {
		if to := &p.to[i]; to.kept.ordinal > 0 {
			to.session.undo(&to.delivery)
			if p.body != 0 {
				p.broker.store.unref(p.body)
			}
		}
	}
	p.to = nil
}

// deliver carries the message to its receivers, and to who has subscribed
// between decision and commit: the retained message may have been too late for
// them.
func (p *parcel) deliver(each func(*session, *delivery)) {
	for i := range p.to {
		each(p.to[i].session, &p.to[i].delivery)
	}
	if p.changes == p.broker.index.changes.Load() {
		return
	}
	for _, r := range p.broker.receivers(p.from, p.msg.Topic) {
		if !r.shared && !p.goesTo(r.session) {
			each(r.session, r.delivery(p.msg, p.expires))
		}
	}
}

func (p *parcel) goesTo(s *session) bool {
	for i := range p.to {
		if p.to[i].session == s {
			return true
		}
	}
	return false
}
