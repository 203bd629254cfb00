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

// Connecting meters a CONNECT that is about to be sent: until it is answered
// with success nobody knows whether the cloud has counted it, and a crash or a
// cut leaves it so. A client id has one connection at a time: what an earlier
// attempt left stays uncertain.
func (m *Meter) Connecting(upstream, clientID string, packet Connection) {
	s := series{upstream: upstream, direction: Link, device: clientID, prefix: ConnectPacket}
	units := Connect(packet, int64(m.options(upstream).Unit))
	key := m.count(s, m.options(upstream), 0, nil).key(kindUncertain)
	m.mu.Lock()
	m.hello[linkName{upstream, clientID}] = change{key, units}
	m.mu.Unlock()
	m.write([]change{{key, units}})
}

// linkName names a connection.
type linkName struct{ upstream, clientID string }

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
	all := m.packet(c, ConnectPacket, packet.size())
	m.mu.Lock()
	m.links[c] = true
	name := linkName{upstream, s.device}
	if was, ok := m.hello[name]; ok { // it is not uncertain any more
		delete(m.hello, name)
		all = append(all, change{was.key, -was.n})
	}
	m.mu.Unlock()
	m.write(append(all, m.begun()...))
	return c
}

// Subscribing meters a SUBSCRIBE packet that is about to be sent (M05), which is uncertain
// until it was answered. UNSUBSCRIBE is free (M09).
func (c *Connected) Subscribing(filters []string, user []bridge.UserProperty) (answered func()) {
	m, s := c.meter, c.series
	s.prefix = SubscribePacket
	op, size := m.options(s.upstream), subscribeSize(filters, user)
	doubt := change{m.count(s, op, 0, nil).key(kindUncertain), Units(size, int64(op.Unit))}
	m.write([]change{doubt})
	return func() { m.write(append(m.packet(c, SubscribePacket, size), change{doubt.key, -doubt.n})) }
}

// Closed ends the count of minutes. A minute that was begun stays counted.
func (c *Connected) Closed() {
	c.meter.write(c.meter.begun())
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	c.closed = true
	delete(c.meter.links, c)
}

// change is a counter of the ledger and what is added to it.
type change struct {
	key string
	n   int64
}

// packet is what one packet of a connection adds, of which so many bytes are metered.
func (m *Meter) packet(c *Connected, name string, bytes int) []change {
	s := c.series
	s.prefix = name
	op := m.options(s.upstream)
	unit := int64(op.Unit)
	units := Units(bytes, unit)
	k := m.count(s, op, units, nil)
	all := []change{{k.units, units}, {k.messages, 1}, {k.bytes, int64(bytes)}}
	if d := Units(bytes, otherReading(unit)) - units; d != 0 {
		kind, n := otherwise(unit, d)
		all = append(all, change{k.key(kind), n})
	}
	return all
}

// begun is the minutes that have begun since the last time. Each is counted when
// it begins, so that a crash loses none.
func (m *Meter) begun() (out []change) {
	at := m.now()
	type due struct {
		s series
		n int64
	}
	var all []due
	m.mu.Lock()
	for c := range m.links {
		if n := int64((at.Mono-c.since)/time.Minute) + 1 - c.counted; n > 0 && !c.closed {
			c.counted += n
			all = append(all, due{c.series, n})
			m.paceOf(c.series.upstream, at).add(at.Mono, 0, n)
		}
	}
	m.mu.Unlock()
	for _, d := range all {
		out = append(out, change{m.count(d.s, m.options(d.s.upstream), 0, nil).key(kindMinutes), d.n})
	}
	return out
}

// countMinutes commits the minutes that have begun, and what the sockets have
// carried: along with them, or when it is much.
func (m *Meter) countMinutes() {
	all, least := m.begun(), int64(1)
	if len(all) == 0 {
		least = muchCarried
	}
	m.write(append(all, m.takeCarried(least)...))
}

// write commits changes, and those that could not be committed before. What
// cannot be committed now goes with the next: a disk that is full must not make
// the bill too small.
func (m *Meter) write(all []change) {
	m.mu.Lock()
	for key, n := range m.late {
		all = append(all, change{key, n})
	}
	clear(m.late)
	m.mu.Unlock()
	if len(all) == 0 {
		return
	}
	var b bridge.Batch
	for _, c := range all {
		add(&b, c.key, c.n)
	}
	m.spool.Commit(&b, func(_ bridge.Seq, err error) {
		if err == nil {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, c := range all {
			m.late[c.key] += c.n
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

// Run counts the minutes of connections, keeps the recorded sizes and puts hours
// right that a wrong clock told, until ctx ends; then it writes what is left.
func (m *Meter) Run(ctx context.Context) error {
	look, write, correct := time.NewTicker(lookEvery), time.NewTicker(sizesEvery), time.NewTicker(correctEvery)
	defer look.Stop()
	defer write.Stop()
	defer correct.Stop()
	for {
		select {
		case <-look.C:
			m.countMinutes()
		case <-write.C:
			m.writeSizes(nil)
		case <-correct.C:
			m.writePlaces()
			m.correct(ctx)
		case <-ctx.Done():
			m.write(m.takeCarried(1))
			m.Flush()
			return nil
		}
	}
}

// Flush writes what is recorded of sizes, which else is done once a minute, and returns
// when that is over: who asks for the ledger has what was sent until then.
func (m *Meter) Flush() {
	done := make(chan struct{})
	m.writeSizes(func() { close(done) })
	<-done
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
