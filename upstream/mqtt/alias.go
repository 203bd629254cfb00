package mqtt

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// aliases are the topic aliases of one connection: topics that go as a number
// once the broker knows it. It belongs to the goroutine that sends.
//
// A number is used only when the broker has acknowledged the message that gave it:
// one that it refused, or threw away as AWS does above its rates (Q06), may have
// taught it nothing, and a number that a broker does not know ends the connection
// (B95). Until then messages of the topic go with it and without the number.
//
// A broker takes few, AWS eight (B15, Q37). The first topics get them; every
// ageEvery messages, of which the last countFor are counted, one that hardly comes
// gives way to one that comes much more often. With many topics that all come as often none gives way: each change costs
// bytes.
type aliases struct {
	most  int
	bound map[string]*alias
	seen  map[string]int // uses of topics without a number
	age   int            // messages since the uses were looked at
}

// Bounds, and the shortest topic that is worth a number: the property that carries
// it has three bytes.
const (
	mostAliases = 1024
	ageEvery    = 1024
	countFor    = 256
	aliasSize   = 3
	leastTopic  = 2*aliasSize + 1
	clearlyMore = 8 // uses by which another topic must lead, besides twice as many
)

// alias is the number of one topic.
type alias struct {
	number uint16
	uses   int
	state  atomic.Int32
}

// The states of an alias. Only the sender leaves aliasNew and gets back to it.
const (
	aliasNew   int32 = iota // the broker has not been told
	aliasTold               // it has not answered yet
	aliasKnown              // it knows
)

// newAliases is nil for a broker that takes none.
func newAliases(most int) *aliases {
	if most <= 0 {
		return nil
	}
	return &aliases{most: min(most, mostAliases), bound: map[string]*alias{}, seen: map[string]int{}}
}

// shorten lets p go with a number instead of its topic when the broker knows it.
// It returns the alias when p is the message that tells the broker; told must then
// be called.
func (a *aliases) shorten(p *publish) (tells *alias) {
	if a == nil || len(p.Topic) < leastTopic {
		return nil
	}
	if a.age++; a.age >= ageEvery {
		a.reconsider()
	}
	counts := a.age >= ageEvery-countFor // to count all of them would cost as much as to encode them
	x := a.bound[p.Topic]
	if x == nil {
		if len(a.bound) >= a.most {
			if counts {
				a.seen[p.Topic]++
			}
			return nil
		}
		x = &alias{number: uint16(len(a.bound) + 1)}
		a.bound[p.Topic] = x
	}
	if counts {
		x.uses++
	}
	switch x.state.Load() {
	case aliasKnown:
		p.numbered(x.number, true)
	case aliasNew:
		if p.QoS > 0 { // nobody answers QoS 0
			p.numbered(x.number, false)
			return x
		}
	}
	return nil
}

// told notes that the broker is being told, and returns report with the answer
// taken note of.
func (x *alias) told(report func(bridge.Outcome)) func(bridge.Outcome) {
	x.state.Store(aliasTold)
	return func(o bridge.Outcome) {
		if o.Result == bridge.ResultAcked {
			x.state.Store(aliasKnown)
		} else {
			x.state.Store(aliasNew)
		}
		report(o)
	}
}

// reconsider gives the numbers of topics that hardly come to those that come much
// more often.
func (a *aliases) reconsider() {
	a.age = 0
	rare := slices.SortedFunc(maps.Keys(a.bound), func(x, y string) int {
		return cmp.Or(cmp.Compare(a.bound[x].uses, a.bound[y].uses), cmp.Compare(x, y))
	})
	often := slices.SortedFunc(maps.Keys(a.seen), func(x, y string) int {
		return cmp.Or(cmp.Compare(a.seen[y], a.seen[x]), cmp.Compare(x, y))
	})
	for i := range min(len(rare), len(often)) {
		old, uses := a.bound[rare[i]], a.seen[often[i]]
		if uses <= 2*old.uses+clearlyMore {
			break
		}
		if old.state.Load() == aliasTold { // its answer is still to come
			continue
		}
		delete(a.bound, rare[i])
		a.bound[often[i]] = &alias{number: old.number, uses: uses}
	}
	for _, x := range a.bound {
		x.uses /= 2
	}
	clear(a.seen)
}
