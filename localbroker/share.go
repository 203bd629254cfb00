package localbroker

import (
	"slices"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// queueMemory counts the bytes of all outboxes, and shares them out: devices that read
// nothing must not use up what the others need for a moment. Nobody gets more than
// is still free, so that one such device has half of it, two a third each, and
// something is left for the next. What has been given stays given, until there is
// little left: then those who hold most give the newest of it up (see level).
type queueMemory struct {
	total int64
	bytes atomic.Int64
	loose atomic.Int64 // of what is not on the shelf
	level atomic.Int64 // while memory is scarce: what one outbox may hold; else 0
}

// takes reports whether an outbox may hold so much more that is in memory only.
func (m *queueMemory) takes(held int64, size int) bool {
	wants := held + int64(size)
	if m.total-m.bytes.Load() < wants {
		return false
	}
	level := m.level.Load()
	return level == 0 || held == 0 || wants <= level
}

// reads reports whether an outbox may hold so much more of what is on the shelf
// too: all of them together half of the memory, because what is not read ahead is
// not lost.
func (m *queueMemory) reads(held int64, size int) bool {
	return held == 0 || m.bytes.Load()-m.loose.Load()+int64(size) <= m.total/2
}

// scarce reports whether those who hold most are to give something up: an eighth
// is left. Once half is free again nobody has a bound any more.
func (m *queueMemory) scarce() bool {
	free := m.total - m.bytes.Load()
	if free >= m.total/2 {
		m.level.Store(0)
	}
	return free < m.total/8
}

// waterline is the most that each of those who hold so much may keep for all of
// them to come to no more than budget: who holds less than that keeps it all.
func waterline(held []int64, budget int64) int64 {
	slices.Sort(held)
	for i, n := range held {
		rest := int64(len(held) - i)
		if n*rest > budget {
			return budget / rest
		}
		budget -= n
	}
	return slices.Max(held)
}

// trimmed is how many deliveries a session gives up before others have a look at
// it again.
const trimmed = 500

// shareMemory takes from those who hold most, when there is little left, so that
// a quarter is free.
func (b *Broker) shareMemory() {
	m := &b.queued
	if !m.scarce() {
		return
	}
	all := b.sessions.all()
	var held []int64
	for _, s := range all {
		if n := s.out.bytes.Load(); n > 0 {
			held = append(held, n)
		}
	}
	if len(held) == 0 {
		return
	}
	level := waterline(held, m.total/4*3)
	m.level.Store(level)
	for _, s := range all {
		for s.out.bytes.Load() > level && s.trim(level) {
		}
	}
}

// trim gives up some of the newest deliveries of a session that holds more than
// level, and reports whether there may be more.
func (s *session) trim(level int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range trimmed {
		if s.out.bytes.Load() <= level {
			return false
		}
		d := s.out.newest()
		if d == nil {
			return false
		}
		if d.await == nil {
			s.broker.drops.Missed("session-queue-full", s.id, d.msg.Topic)
		}
		d.done(bridge.ResultRetry)
	}
	return true
}
