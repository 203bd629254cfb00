package billing

import (
	"fmt"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Meter is the [bridge.Meter]: it adds counters to the batches of the walk. It
// is safe for concurrent use.
type Meter struct {
	now       func() bridge.Instant
	upstreams map[string]Options

	mu   sync.Mutex
	book *hourBook
	mark hourMark         // when book was last found to be of the present hour
	pace map[string]*pace // by upstream
}

// NewMeter makes a meter for the named upstreams, on the ledger in spool; an
// upstream that is not named bills as by default. now is [bridge.Clock.Now].
func NewMeter(spool bridge.Spool, upstreams map[string]Options, now func() bridge.Instant) (*Meter, error) {
	at := now()
	m := &Meter{now: now, upstreams: upstreams, book: newHourBook(hourOf(at.Wall, at.Synced)), pace: map[string]*pace{}}
	for name := range upstreams {
		m.pace[name] = &pace{started: at.Mono}
	}
	if err := m.book.load(spool); err != nil {
		return nil, fmt.Errorf("billing: reading this hour's ledger: %w", err)
	}
	return m, nil
}

// hourMark tells hours apart without naming them.
type hourMark struct {
	hour   int64 // since 1970
	synced bool
}

var _ bridge.Meter = (*Meter)(nil)

// Delivered meters an acknowledged delivery (M06, M10, M11, M16). The cloud's
// PUBACK is free (M09).
func (m *Meter) Delivered(b *bridge.Batch, upstream string, s *bridge.Stored, o bridge.Outcome) {
	out := bridge.Outgoing(s)
	units := Publish(out, m.unit(upstream))
	c := m.count(series{upstream, Up, s.Device, out.Topic}, units)
	addMessage(b, c, units, int64(o.Wire))
}

// Uncertain meters a delivery that was sent and whose fate is unknown (M26: a
// throttled one costs nothing, a re-send is billed; which it was, nobody says).
func (m *Meter) Uncertain(b *bridge.Batch, upstream string, s *bridge.Stored) {
	out := bridge.Outgoing(s)
	c := m.count(series{upstream, Up, s.Device, out.Topic}, 0)
	b.Add(Namespace, c.uncertain, Publish(out, m.unit(upstream)))
}

// Received meters a message that came down (M07) and, at QoS 1, the PUBACK
// that answers it (M08).
func (m *Meter) Received(b *bridge.Batch, upstream string, msg *bridge.Message, wire int) {
	unit := m.unit(upstream)
	units := Deliver(msg, unit)
	if msg.QoS > 0 {
		units += Puback(nil, unit)
	}
	c := m.count(series{upstream, Down, "", msg.Topic}, units)
	addMessage(b, c, units, int64(wire))
}

// addMessage adds one message to the batch's changes of its counters, when the
// batch has some: a batch of hundreds of releases is about few series, and each
// change costs its key in the log. The three counters of a series stand together.
func addMessage(b *bridge.Batch, c *counters, units, wire int64) {
	for i := len(b.Adds) - 3; i >= max(0, len(b.Adds)-coalesce); i-- {
		a := b.Adds[i : i+3]
		if a[0].Key == c.units && a[1].Key == c.messages && a[2].Key == c.wire && a[0].Namespace == Namespace {
			a[0].Delta += units
			a[1].Delta++
			a[2].Delta += wire
			return
		}
	}
	b.Add(Namespace, c.units, units)
	b.Add(Namespace, c.messages, 1)
	b.Add(Namespace, c.wire, wire)
}

// coalesce bounds the search: some 80 devices at 3 counters each.
const coalesce = 256

// Pace is how many units upstream was billed in the last hour, extrapolated
// from what this process has seen when it is younger; for projections only.
func (m *Meter) Pace(upstream string) (unitsPerHour int64) {
	at := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.pace[upstream]; p != nil {
		return p.perHour(at.Mono)
	}
	return 0
}

// count finds the counters of s, whose prefix is still the whole topic.
func (m *Meter) count(s series, units int64) *counters {
	at := m.now()
	o := m.options(s.upstream)
	s.device, s.prefix = bound(s.device, maxDeviceName), prefixOf(s.prefix, o.PrefixLevels)
	m.mu.Lock()
	defer m.mu.Unlock()
	if mark := (hourMark{at.Wall.Unix() / 3600, at.Synced}); mark != m.mark {
		m.mark = mark
		if hour := hourOf(at.Wall, at.Synced); hour != m.book.hour {
			m.book = newHourBook(hour)
		}
	}
	p := m.pace[s.upstream]
	if p == nil {
		p = &pace{started: at.Mono}
		m.pace[s.upstream] = p
	}
	p.add(at.Mono, units)
	return m.book.find(s, &o)
}

func (m *Meter) options(upstream string) Options {
	if o, ok := m.upstreams[upstream]; ok {
		return o
	}
	return DefaultOptions()
}

func (m *Meter) unit(upstream string) int64 { return int64(m.options(upstream).Unit) }

// pace is the units of the last 60 minutes, by the monotonic clock.
type pace struct {
	started time.Duration
	minutes [60]struct {
		at    int64 // minute since the start of the process
		units int64
	}
}

func (p *pace) add(now time.Duration, units int64) {
	minute := int64(now / time.Minute)
	slot := &p.minutes[minute%60]
	if slot.at != minute {
		slot.at, slot.units = minute, 0
	}
	slot.units += units
}

func (p *pace) perHour(now time.Duration) int64 {
	minute, sum := int64(now/time.Minute), int64(0)
	for _, slot := range p.minutes {
		if minute-slot.at < 60 {
			sum += slot.units
		}
	}
	seen := min(now-p.started, 59*time.Minute+now%time.Minute)
	if seen < time.Second {
		seen = time.Second
	}
	return int64(float64(sum) * float64(time.Hour) / float64(seen))
}
