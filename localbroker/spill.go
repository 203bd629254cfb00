package localbroker

import (
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// spillSize is how many bytes of entries go into one batch, and shelfBatch what
// the message's own has room for: the spool takes 2 MiB of them at once, of which
// the message's body may be half. A message for tens of thousands of kept sessions
// has the others' entries in batches of their own, committed before it. All of
// them are durable when it is acknowledged.
//
// It is atomic all the same. An entry in another batch has no message of its own,
// but refers to the body, which is in the message's batch, by a number that is
// never given twice. After a crash in between there are entries without a body:
// nobody is given anything, the start forgets them, and the device, which has no
// PUBACK, sends the message again as a new one.
const (
	spillSize  = 1 << 20
	shelfBatch = 2<<20 - 64<<10 // the rest is for what others add: a will's end, a packet id
	spillLeast = 64 << 10
)

// spilled is what became of the batches before the message's own.
type spilled struct {
	count  int         // deliveries of parcel.to whose entries are in them
	failed atomic.Bool // one of them; known when the message's own is complete
}

// addEntries adds the entries of all deliveries that are kept.
func (p *parcel) addEntries(batch *bridge.Batch) {
	p.spilled = nil
	room := shelfBatch
	for _, put := range batch.Puts {
		room -= putSize(put)
	}
	room = min(p.broker.spill, max(room, spillLeast))
	var puts []bridge.Put
	size := 0
	for i := range p.to {
		d := p.to[i].delivery
		if d.kept.ordinal == 0 {
			continue
		}
		d.kept.body = p.body
		put := bridge.Put{Namespace: shelfQueue, Key: d.kept.key(), Value: encodeKept(d)}
		n := putSize(put)
		if size += n; size > room && len(puts) > 0 {
			p.spill(puts, i)
			puts, size = nil, n
		}
		puts = append(puts, put)
	}
	batch.Puts = append(batch.Puts, puts...)
}

// putSize is what a put takes of a batch, and a little more.
func putSize(p bridge.Put) int { return len(p.Namespace) + len(p.Key) + len(p.Value) + 16 }

// spill commits the entries of deliveries before the i-th.
func (p *parcel) spill(puts []bridge.Put, i int) {
	if p.spilled == nil {
		p.spilled = &spilled{}
	}
	s := p.spilled
	s.count = i
	p.broker.store.Commit(&bridge.Batch{Puts: puts}, func(_ bridge.Seq, err error) {
		if err != nil {
			s.failed.Store(true)
		}
	})
}

// loosen keeps the deliveries in memory only whose entries could not be
// committed, though the message could. A share group has no memory: it loses it.
func (p *parcel) loosen() {
	for i := range p.spilled.count {
		to := &p.to[i]
		if to.kept.ordinal == 0 {
			continue
		}
		p.undo(to)
		p.broker.store.drop(to.kept)
		to.kept = entry{}
		p.broker.drops.Missed("shelf-failed", p.from, p.msg.Topic)
	}
}

// undo takes back the place of a delivery.
func (p *parcel) undo(to *planned) {
	if to.group != nil {
		to.group.undo(to.delivery)
	} else {
		to.session.undo(to.delivery)
	}
}
