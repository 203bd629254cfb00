package policy

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// recentSlots is how many questions of one client are remembered.
const recentSlots = 8

// recent remembers the answers to what a client asks again and again: a device
// publishes on few topics, and to compare a name costs a tenth of what ten
// statements do. It belongs to one [bound], so that a change of documents,
// registry or certificate leaves it behind.
//
// An answer is remembered when its question is asked for the second time in a
// row in its slot. A device that never repeats a topic costs a hash each, and
// no memory.
type recent [recentSlots]struct {
	kept   atomic.Pointer[answered]
	missed atomic.Uint64 // hash of the latest question that was not remembered
}

// answered is a question with its answer.
type answered struct {
	action   bridge.Action
	name     string
	decision bridge.Decision
}

var recentSeed = maphash.MakeSeed()

// find returns the answer to a question, or nil; and the question's hash, 0 for
// one that is never remembered.
func (m *recent) find(r *bridge.Request) (*bridge.Decision, uint64) {
	if r.Share != "" {
		return nil, 0
	}
	hash := maphash.String(recentSeed, r.Name)
	switch r.Action {
	case bridge.ActionPublish:
		hash |= 1
	case bridge.ActionReceive:
		hash = hash&^1 | 2
	default: // once a connection, or with what else a CONNECT brings
		return nil, 0
	}
	k := m[hash>>32%recentSlots].kept.Load()
	if k != nil && k.name == r.Name && k.action == r.Action {
		return &k.decision, hash
	}
	return nil, hash
}

// keep remembers an answer that has been asked for twice, if it holds until the
// documents or the client change.
func (m *recent) keep(p *program, r *bridge.Request, hash uint64, d bridge.Decision) {
	if hash == 0 {
		return
	}
	slot := &m[hash>>32%recentSlots]
	if slot.missed.Load() != hash {
		slot.missed.Store(hash)
		return
	}
	if p.steady(r.Action) {
		slot.kept.Store(&answered{r.Action, strings.Clone(r.Name), d})
	}
}

// steady reports whether the answers about an action depend on nothing but the
// name: what else a PUBLISH brings is the time.
func (p *program) steady(action bridge.Action) bool {
	for i, a := range asked {
		if a == action {
			t := p.tables[i].Load() // made when the first of them was answered
			return t != nil && timeless(t.deny) && timeless(t.allow)
		}
	}
	return false
}

func timeless(rules []rule) bool {
	for i := range rules {
		for _, c := range rules[i].checks {
			if c.key == keyCurrentTime || c.key == keyEpochTime {
				return false
			}
		}
	}
	return true
}
