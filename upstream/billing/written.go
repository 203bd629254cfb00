package billing

import "github.com/ebbgate/ebbgate/bridge"

// What goes at QoS 0 nobody acknowledges, and it leaves the spool when it is written. It
// is uncertain then: the cloud may never have read it. When the connection shows that it
// has, the counters are put right; a crash before leaves it uncertain.

// written meters a message that was only written: units of it, and what else there is of
// it once it has arrived.
func (m *Meter) written(b *bridge.Batch, c *counters, units, wire int64, rest []change, proof bridge.Proof) {
	add(b, c.messages, 1)
	add(b, c.wire, wire)
	if units > 0 {
		doubtful := c.key(kindUncertain)
		add(b, doubtful, units)
		rest = append(rest, change{c.units, units}, change{doubtful, -units})
	}
	m.mu.Lock()
	sums, known := m.unproved[proof]
	if !known {
		sums = map[string]int64{}
		m.unproved[proof] = sums
	}
	for _, n := range rest {
		sums[n.key] += n.n
	}
	m.mu.Unlock()
	if !known {
		proof.Then(func(arrived bool) { m.proved(proof, arrived) })
	}
}

// proved takes what has become certain; it is committed with the next change, within a
// second.
func (m *Meter) proved(proof bridge.Proof, arrived bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if arrived {
		for key, n := range m.unproved[proof] {
			m.late[key] += n
		}
	}
	delete(m.unproved, proof)
}
