package mqtt

import (
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// What is sent at QoS 0 nobody answers. But a broker reads in order: when it answers what
// was written later, a message of QoS 1 or a PINGREQ, it has read what was before. So a
// message of QoS 0 is known to have arrived with the next answer, and when the connection
// ends before nobody knows. A PINGREQ comes anyway after half a keep alive in which nothing
// was heard; much that is not known gets one sooner.

// askAfter is how many messages of QoS 0 are worth a PINGREQ, at most one every askEvery:
// less than one packet in a hundred more. With maxAsked of them unanswered the broker
// answers none, and only a PUBACK proves anything.
const (
	askAfter = 100
	askEvery = time.Second
	maxAsked = 16
)

// proof is the [bridge.Proof] of all that was written between two packets that are
// answered.
type proof struct {
	mu      sync.Mutex
	known   bool
	arrived bool // when it is known
	then    []func(arrived bool)
}

var _ bridge.Proof = (*proof)(nil)

// Then implements [bridge.Proof].
func (p *proof) Then(f func(arrived bool)) {
	p.mu.Lock()
	if !p.known {
		p.then = append(p.then, f)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	f(p.arrived)
}

func (p *proof) settle(arrived bool) {
	p.mu.Lock()
	then := p.then
	p.known, p.arrived, p.then = true, arrived, nil
	p.mu.Unlock()
	for _, f := range then {
		f(arrived)
	}
}

// proofs are those of a connection that are not known yet. Whoever holds conn.mu may use
// it.
type proofs struct {
	open    *proof   // of what is written now; nil: nothing was since the last packet that is answered
	waiting []*proof // the oldest first
	before  uint64   // how many were before these
	asked   []uint64 // what each PINGREQ that is not answered yet proves
	mute    bool     // the broker answers no PINGREQ
	some    int      // messages since the last PINGREQ
	last    time.Time
}

// written is the proof of a message that is written now.
func (p *proofs) written() *proof {
	if p.open == nil {
		p.open = &proof{}
		p.waiting = append(p.waiting, p.open)
	}
	p.some++
	return p.open
}

// seal tells what the answer to a packet that is written now proves: so many.
func (p *proofs) seal() (upTo uint64) {
	p.open = nil
	return p.before + uint64(len(p.waiting))
}

// take takes those that an answer proves.
func (p *proofs) take(upTo uint64) []*proof {
	if upTo <= p.before {
		return nil
	}
	n := min(upTo-p.before, uint64(len(p.waiting)))
	out := p.waiting[:n]
	p.waiting, p.before = p.waiting[n:], p.before+n
	return out
}

// ask writes a PINGREQ.
func (c *conn) ask() {
	c.mu.Lock()
	if c.err == nil {
		c.askLocked(time.Now())
	}
	c.mu.Unlock()
	c.flush()
}

func (c *conn) askLocked(now time.Time) {
	p := &c.proofs
	c.out = append(c.out, packets.PINGREQ<<4, 0)
	if p.mute = p.mute || len(p.asked) >= maxAsked; p.mute {
		p.asked = nil
		return
	}
	p.asked = append(p.asked, p.seal())
	p.some, p.last = 0, now
}

// writesLocked notes a message of QoS 0 that is put behind the others.
func (c *conn) writesLocked() *proof {
	p := c.proofs.written()
	if c.proofs.some >= askAfter && !c.proofs.mute {
		if now := time.Now(); now.Sub(c.proofs.last) >= askEvery {
			c.askLocked(now)
		}
	}
	return p
}

// proved notes an answer, and what it proves.
func (c *conn) proved(upTo uint64) {
	if upTo == 0 {
		return // no QoS 0 was before
	}
	c.mu.Lock()
	all := c.proofs.take(upTo)
	c.mu.Unlock()
	for _, p := range all {
		p.settle(true)
	}
}

// answered notes a PINGRESP.
func (c *conn) answered() {
	c.mu.Lock()
	upTo := uint64(0)
	if a := c.proofs.asked; len(a) > 0 {
		upTo, c.proofs.asked = a[0], a[1:]
	}
	c.mu.Unlock()
	c.proved(upTo)
}

// unproved reports whether something was written of which it is not known whether it
// has arrived.
func (c *conn) unproved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.proofs.waiting) > 0
}

// buryProofs ends what will not be known any more.
func (c *conn) buryProofs() {
	c.mu.Lock()
	all := c.proofs.waiting
	c.proofs = proofs{}
	c.mu.Unlock()
	for _, p := range all {
		p.settle(false)
	}
}
