package shape

import (
	"math"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// item is a message on its way through a line. Its record and receiver are
// shared with what was read: a step that changes them makes copies.
type item struct {
	rec     *bridge.Record
	to      *bridge.Receiver
	members []bridge.Member
	order   order
	into    bridge.MessageID // of what goes back: the message that it will be in

	step, reason string // why it goes no further, see bridge.Product
}

// order is what an item does to the steps that combine messages.
type order byte

const (
	joins   order = iota // may be combined
	alone                // goes by itself, after what is open for its topic: a request
	barrier              // goes by itself, after everything that is open: a birth
	back                 // goes back into the raw queue, past all steps
)

// step is one step of a line.
type step interface {
	// take gives the step an item. What it makes goes to next.
	take(it *item, next func(*item))
	// ripe gives out what is due at the spool's age now, and tells when the next
	// will be; never when nothing waits.
	ripe(now time.Duration, next func(*item)) time.Duration
}

const never = time.Duration(math.MaxInt64)

// stored is the item as its receiver's sender would read it.
func (it *item) stored() *bridge.Stored { return &bridge.Stored{Record: it.rec, Receiver: it.to} }

// enveloped returns the payload as it travels, and whether an envelope is around
// it already. Inside another message the envelope holds the user properties, too.
func (it *item) enveloped(inside bool) (payload []byte, envelope bool) {
	// An empty payload that is retained deletes: wrapped, it would not.
	if it.to.Origin == bridge.OriginEnvelope && (len(it.rec.Payload) > 0 || !it.to.Retain) {
		return bridge.Envelope(it.stored(), inside), true
	}
	return it.rec.Payload, false
}

// orderOf tells how an item behaves: a message that awaits an answer, or that
// Sparkplug orders others by, is not combined.
func orderOf(r *bridge.Record) order {
	if isPartial(r) {
		return alone
	}
	return messageOrder(&r.Message)
}

func messageOrder(m *bridge.Message) order {
	switch {
	case lifecycle(m.Topic):
		return barrier
	case m.ResponseTopic != "" || len(m.CorrelationData) > 0:
		return alone
	default:
		return joins
	}
}

// Combines reports whether a message may be combined with others, or left out for
// them: a message that awaits an answer, or that Sparkplug orders others by, may not.
func Combines(m *bridge.Message) bool { return messageOrder(m) == joins }
