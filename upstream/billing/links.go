package billing

import (
	"context"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Connected is one connection to a cloud, from its CONNACK to its end: what it
// costs besides its messages. It is safe for concurrent use.
type Connected struct {
	meter   *Meter
	series  series
	since   time.Duration // on the monotonic clock
	counted int64         // minutes that are in the ledger; guarded by meter.mu
	closed  bool          // guarded by meter.mu
}

// Opened meters a CONNECT that was answered with success (M04; its answer is
// free, M09), and begins to count the minutes of the connection (M01), which is
// named by its client id.
func (m *Meter) Opened(upstream, clientID string, packet Connection) *Connected {
	return m.opened(series{upstream: upstream, direction: Link, device: clientID}, packet)
}

// OpenedAs is Opened for the own connection of a thing, whose name is its client
// id: the thing is charged with it.
func (m *Meter) OpenedAs(upstream, thing string, packet Connection) *Connected {
	return m.opened(series{upstream: upstream, direction: Link, device: thing, thing: thing}, packet)
}

func (m *Meter) opened(s series, packet Connection) *Connected {
	at, upstream := m.now(), s.upstream
	c := &Connected{meter: m, since: at.Mono, series: s}
	m.mu.Lock()
	m.links[c] = true
	m.mu.Unlock()
	m.packet(c, ConnectPacket, Connect(packet, int64(m.options(upstream).Unit)), packet.size())
	m.countMinutes()
	return c
}

// Subscribed meters a SUBSCRIBE packet (M05). UNSUBSCRIBE is free (M09).
func (c *Connected) Subscribed(filters []string, user []bridge.UserProperty) {
	units := Subscribe(filters, user, int64(c.meter.options(c.series.upstream).Unit))
	size := sizeOf(user)
	for _, f := range filters {
		size += len(f)
	}
	c.meter.packet(c, SubscribePacket, units, size)
}

// Closed ends the count of minutes. A minute that was begun stays counted.
func (c *Connected) Closed() {
	c.meter.countMinutes()
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	c.closed = true
	delete(c.meter.links, c)
}

// packet commits what one packet of a connection costs.
func (m *Meter) packet(c *Connected, name string, units int64, bytes int) {
	s := c.series
	s.prefix = name
	var b bridge.Batch
	addMessage(&b, m.count(s, m.options(s.upstream), units, nil), units, 0, int64(bytes))
	m.spool.Commit(&b, nil) // a spool that takes nothing has said so in the health
}

// countMinutes commits the minutes that have begun since the last time. Each is
// counted when it begins, so that a crash loses none.
func (m *Meter) countMinutes() {
	at := m.now()
	type due struct {
		c *Connected
		n int64
	}
	var all []due
	m.mu.Lock()
	for c := range m.links {
		if n := int64((at.Mono-c.since)/time.Minute) + 1 - c.counted; n > 0 && !c.closed {
			c.counted += n
			all = append(all, due{c, n})
		}
	}
	m.mu.Unlock()
	if len(all) == 0 {
		return
	}
	var b bridge.Batch
	for _, d := range all {
		add(&b, m.count(d.c.series, m.options(d.c.series.upstream), 0, nil).key(kindMinutes), d.n)
	}
	m.spool.Commit(&b, func(_ bridge.Seq, err error) {
		if err == nil {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, d := range all {
			d.c.counted -= d.n // with the next
		}
	})
}

// How often Run looks whether a minute has begun, and writes the sizes: what
// was recorded since is lost in a crash. They are for estimates, no money hangs
// on them.
const (
	lookEvery  = time.Second
	sizesEvery = time.Minute
)

// Run counts the minutes of connections and keeps the recorded sizes, until ctx
// ends; then it writes what is left.
func (m *Meter) Run(ctx context.Context) error {
	look, write := time.NewTicker(lookEvery), time.NewTicker(sizesEvery)
	defer look.Stop()
	defer write.Stop()
	for {
		select {
		case <-look.C:
			m.countMinutes()
		case <-write.C:
			m.writeSizes(nil)
		case <-ctx.Done():
			done := make(chan struct{})
			m.writeSizes(func() { close(done) })
			<-done
			return nil
		}
	}
}

// writeSizes commits the histograms that have changed; then is called when that
// is over, unless it is nil.
func (m *Meter) writeSizes(then func()) {
	var b bridge.Batch
	m.mu.Lock()
	put := m.sizes.flush(&b)
	m.mu.Unlock()
	m.spool.Commit(&b, func(_ bridge.Seq, err error) {
		if err != nil {
			m.mu.Lock()
			for _, d := range put {
				d.dirty = true
			}
			m.mu.Unlock()
		}
		if then != nil {
			then()
		}
	})
}
