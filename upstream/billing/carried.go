package billing

import (
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// A link that is paid by volume carries more than packets: TLS with its
// handshakes, WebSocket frames, pings, and attempts that failed. What the sockets
// have read and written is one counter for each upstream and hour.

// littleCarried is how many bytes are not worth a change of their own in the
// batch of a release, and muchCarried how many are worth a commit: a crash may
// lose the former of a busy link, and the latter of one that does not get
// connected, or those of a minute.
const (
	littleCarried = 4 << 10
	muchCarried   = 64 << 10
)

// Carrier is told of the bytes that the connections to an upstream read and
// write. It is safe for concurrent use and waits for nobody.
func (m *Meter) Carrier(upstream string) func(bytes int) {
	n := m.carriedBy(upstream)
	return func(bytes int) { n.Add(int64(bytes)) }
}

func (m *Meter) carriedBy(upstream string) *atomic.Int64 {
	n, ok := m.carried.Load(upstream)
	if !ok {
		n, _ = m.carried.LoadOrStore(upstream, new(atomic.Int64))
	}
	return n.(*atomic.Int64)
}

// addCarried puts into the batch of a release what the upstream's sockets have
// carried, when it is worth it: without a commit of its own.
func (m *Meter) addCarried(b *bridge.Batch, upstream string) {
	if n := m.carriedBy(upstream); n.Load() >= littleCarried {
		add(b, m.socketKey(upstream), n.Swap(0))
	}
}

// takeCarried takes what the sockets of each upstream have carried, from least
// bytes on.
func (m *Meter) takeCarried(least int64) (out []change) {
	m.carried.Range(func(upstream, n any) bool {
		if n := n.(*atomic.Int64); n.Load() >= least {
			out = append(out, change{m.socketKey(upstream.(string)), n.Swap(0)})
		}
		return true
	})
	return out
}

func (m *Meter) socketKey(upstream string) string {
	return m.count(series{upstream: upstream, direction: Link}, m.options(upstream), 0, nil).key(kindSocket)
}

// LinkBytes are the bytes that a plan by volume is charged for: those at the
// sockets. The packets' are shown where nothing was counted there, as in the
// ledgers of earlier versions.
func (c Counts) LinkBytes() int64 { return max(c.Socket, c.Wire) }
