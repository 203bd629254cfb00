package spool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// Missing is a range of places that damage has taken from a queue: [From, To).
type Missing struct {
	Queue    string
	From, To bridge.Place
}

// String says it in words.
func (m Missing) String() string {
	return fmt.Sprintf("queue %s: %d records missing (places %d to %d)", m.Queue, m.To-m.From, m.From, m.To-1)
}

// survey learns from a crashed generation's commits what the state would have
// known of it, puts on the shelf what they carry for it, and collects what they
// carry for the state.
func (s *Spool) survey(keys []bridge.Seq, raw map[bridge.Seq]rawCommit) (*generationMeta, []*change) {
	first, last := raw[keys[0]].header, raw[keys[len(keys)-1]].header
	m := &generationMeta{first: first.first, end: last.next()}
	start, finish := map[string]queueSpan{}, map[string]queueSpan{}
	var carried []*change
	next := first.first
	for _, key := range keys {
		c := raw[key]
		s.missSequences(next, key)
		next = c.header.next()
		m.bytes += int64(len(c.value))
		size := s.sizesIn(c)
		for _, span := range c.header.table {
			if _, ok := start[span.name]; !ok { // not q.next: that may be the end of what is released out of order
				start[span.name] = queueSpan{name: span.name, first: span.first, bytes: span.bytes}
			}
			finish[span.name] = queueSpan{name: span.name, first: span.first + bridge.Place(span.count), bytes: span.bytes + size[span.name]}
		}
		if key != keys[len(keys)-1] || s.found.tailMark != nil && s.found.reached(key) { // otherwise it may have been under way, and nobody was told of it
			s.lookForLostChanges(key, c)
		}
		b, shelved := s.takeOver(key, c)
		if b != nil {
			m.ops = key
			carried = append(carried, &change{Batch: b, logged: key})
		}
		if shelved {
			m.shelf = key
		}
	}
	for name, q := range s.queues {
		if _, ok := start[name]; !ok {
			start[name] = queueSpan{name: name, first: q.next, bytes: q.appended}
		}
	}
	m.start = slices.Collect(maps.Values(start))
	m.finish = slices.Collect(maps.Values(finish))
	return m, carried
}

// sizesIn sums the bytes that a commit adds to each queue.
func (s *Spool) sizesIn(c rawCommit) map[string]uint64 {
	out := map[string]uint64{}
	eachFrame(c.header.framesOf(c.value), func(kind byte, body []byte) bool {
		if kind == frameRecord && body != nil {
			if r, err := decodeRecord(body, c.header, ""); err == nil {
				for i := range r.Receivers {
					out[r.Receivers[i].Queue] += uint64(r.Size())
				}
			}
		}
		return true
	})
	return out
}

// opsIn decodes the changes that a commit carries, nil when there are none.
func opsIn(c rawCommit) (out *bridge.Batch) {
	eachFrame(c.header.framesOf(c.value), func(kind byte, body []byte) bool {
		if kind != frameOps || body == nil {
			return true
		}
		b, err := decodeOps(body)
		if err != nil {
			return true
		}
		if out == nil {
			out = new(bridge.Batch)
		}
		out.Releases = append(out.Releases, b.Releases...)
		out.Puts = append(out.Puts, b.Puts...)
		out.Adds = append(out.Adds, b.Adds...)
		return true
	})
	return out
}

// markRecovered samples a recovered commit for its queues.
func (s *Spool) markRecovered(c rawCommit) {
	var age int64
	eachFrame(c.header.framesOf(c.value), func(kind byte, body []byte) bool {
		if kind == frameRecord && body != nil {
			if r, err := decodeRecord(body, c.header, ""); err == nil {
				age = int64(r.Age)
				return false
			}
		}
		return true
	})
	for _, span := range c.header.table {
		if span.count > 0 {
			s.queueLocked(span.name).marks.add(mark{span.first, c.header.first, age})
		}
	}
}

// forgetGone forgets generations that are gone and have no older one before
// them, but not how far the numbers have gone, nor what has been told of them.
func (s *Spool) forgetGone() error {
	var drop []uint64
	for len(s.gens) > 0 && s.gens[0].gone {
		drop = append(drop, s.gens[0].n)
		s.gens = s.gens[1:]
	}
	return s.updateState(func(txn *stateTxn) error {
		v, err := getValue(txn.Txn, []byte(keyNewest))
		if err != nil {
			return err
		}
		if len(v) == 16 {
			s.newest = max(s.newest, binary.BigEndian.Uint64(v))
			s.writer.seq = max(s.writer.seq, bridge.Seq(binary.BigEndian.Uint64(v[8:])))
		}
		for _, n := range drop {
			if err := txn.Delete(generationKey(n)); err != nil {
				return err
			}
		}
		if err := txn.Set([]byte(keyTold), binary.BigEndian.AppendUint64(nil, uint64(s.found.told))); err != nil {
			return err
		}
		v = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.newest), uint64(s.writer.seq))
		return txn.Set([]byte(keyNewest), v)
	})
}

// applyNow writes a change during recovery.
func (s *Spool) applyNow(c *change) error {
	touched, err := s.writeChanges([]*change{c})
	if err != nil {
		return err
	}
	for name, r := range touched {
		s.queueLocked(name).done = r
	}
	s.applied.Store(uint64(c.logged))
	return nil
}

// lose reports and gives up a range of places for which there are no records,
// during recovery.
func (s *Spool) lose(queue string, from, to bridge.Place) {
	for _, m := range s.queueLocked(queue).done.missing(from, to) {
		m.Queue = queue
		s.noteLost(m)
		s.damage(m.String())
	}
	s.giveUp(queue, placeRange{from, to})
}

// reportGap gives up a range of places that a cursor found missing.
func (s *Spool) reportGap(queue string, from, to bridge.Place) {
	s.mu.Lock()
	missing := s.queueLocked(queue).done.missing(from, to)
	for i := range missing {
		missing[i].Queue = queue
	}
	missing = slices.DeleteFunc(missing, func(m Missing) bool { return slices.Contains(s.lost, m) }) // another cursor has said so
	for _, m := range missing {
		s.noteLost(m)
	}
	s.mu.Unlock()
	if len(missing) == 0 {
		return
	}
	for _, m := range missing {
		s.damage(m.String())
	}
	s.hand(&change{Batch: new(bridge.Batch), lost: missing})
}

// maxLost bounds the list of missing ranges; further ones are in the log.
const maxLost = 1000

func (s *Spool) noteLost(m Missing) {
	if len(s.lost) < maxLost {
		s.lost = append(s.lost, m)
	}
}

// Missing lists the ranges that were found missing since the start, by queue and
// place, as [Verify] does.
func (s *Spool) Missing() []Missing {
	s.mu.Lock()
	lost := slices.Clone(s.lost)
	s.mu.Unlock()
	slices.SortFunc(lost, func(a, b Missing) int {
		return cmp.Or(strings.Compare(a.Queue, b.Queue), cmp.Compare(a.From, b.From))
	})
	var out []Missing
	for _, m := range lost {
		if n := len(out) - 1; n >= 0 && out[n].Queue == m.Queue && out[n].To == m.From { // found in two steps
			out[n].To = m.To
			continue
		}
		out = append(out, m)
	}
	return out
}
