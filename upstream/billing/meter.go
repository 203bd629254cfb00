package billing

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// Meter is the [bridge.Meter]: it adds counters to the batches of the walk. It
// is safe for concurrent use.
type Meter struct {
	now       func() bridge.Instant
	spool     bridge.Spool
	upstreams map[string]*billed

	mu    sync.Mutex
	book  *hourBook
	sizes *sizeBook
	mark  hourMark         // when book was last found to be of the present hour
	pace  map[string]*pace // by upstream
	links map[*Connected]bool
	hello map[linkName]change // CONNECTs that are not answered yet
	late  map[string]int64    // changes that are still to be committed, by key

	unproved map[bridge.Proof]map[string]int64 // what becomes certain with each, by key

	doubts []doubt // hours of this process that nobody vouches for, oldest first

	placing  sync.Mutex         // whoever commits tables of places holds it, before mu
	places   map[string][]place // the tables
	unplaced []bridge.Put       // of them, what is still to be committed
	crowded  []string           // see Crowded

	routes  atomic.Pointer[map[string]Does] // see Routes
	carried sync.Map                        // upstream → *atomic.Int64: bytes of its sockets that no batch has
}

// NewMeter makes a meter for the named upstreams, on the ledger in spool; an
// upstream that is not named bills as by default. now is [bridge.Clock.Now].
func NewMeter(spool bridge.Spool, upstreams map[string]Options, now func() bridge.Instant) (*Meter, error) {
	at := now()
	m := &Meter{
		now: now, spool: spool, upstreams: map[string]*billed{}, book: newHourBook(hourOf(at.Wall, at.Synced)), sizes: newSizeBook(spool),
		pace: map[string]*pace{}, links: map[*Connected]bool{}, hello: map[linkName]change{}, late: map[string]int64{},
		unproved: map[bridge.Proof]map[string]int64{},
	}
	for name, o := range upstreams {
		m.upstreams[name] = &billed{Options: o}
		m.pace[name] = &pace{started: at.Mono}
	}
	if err := m.settle(); err != nil {
		return nil, err
	}
	if err := m.book.load(spool); err != nil {
		return nil, fmt.Errorf("billing: reading this hour's ledger: %w", err)
	}
	return m, nil
}

// billed is how and where an upstream bills.
type billed struct {
	Options
	series string // what stands for the upstream in keys
	place  int    // its number
}

// hourMark tells hours apart without naming them.
type hourMark struct {
	hour   int64 // since 1970
	synced bool
}

var _ interface {
	bridge.Meter
	bridge.RefusalMeter
	bridge.PlaceMeter
} = (*Meter)(nil)

// Delivered meters an acknowledged delivery (M06, M10, M11, M16, M18). The
// cloud's PUBACK is free (M09). One of QoS 0 that was only written is uncertain until
// its proof comes.
func (m *Meter) Delivered(b *bridge.Batch, upstream string, s *bridge.Stored, o bridge.Outcome) {
	out, op := bridge.Outgoing(s), m.options(upstream)
	unit, reread := int64(op.Unit), otherReading(int64(op.Unit))
	size := op.size(out, o)
	units, answer := op.publish(out, size, o, unit), answered(o, unit)
	at := upSeries(upstream, s, out)
	basic := IsBasicIngest(out.Topic)
	var sent *message
	if units > 0 || basic { // else nothing of it is metered, however it is sent
		noted := messageOf(out, size, o.HTTP)
		noted.kind, noted.made = m.kind(at.route, s, out)
		sent = &noted
	}
	c := m.count(at, op, units+answer, sent)
	m.addCarried(b, upstream)
	var rest []change // what few messages have
	if answer > 0 {
		rest = append(rest, change{c.key(kindAnswers), answer})
	}
	if d := op.publish(out, size, o, reread) - units + answered(o, reread) - answer; d != 0 {
		kind, n := otherwise(unit, d)
		rest = append(rest, change{c.key(kind), n})
	}
	if basic {
		n := Units(size, unit)
		if rest = append(rest, change{c.key(kindBasic), n}); n > 1 {
			rest = append(rest, change{c.key(kindBasicMore), n - 1})
		}
	}
	if units > 0 && out.Retain {
		rest = append(rest, change{c.key(kindRetained), Units(size, unit)})
	}
	if n := ShadowOperations(out); units > 0 && n > 0 {
		rest = append(rest, change{c.key(kindShadow), n})
	}
	if o.Proof != nil {
		m.written(b, c, units+answer, int64(o.Wire), append(rest, change{c.bytes, int64(size)}), o.Proof)
		return
	}
	addMessage(b, c, units+answer, int64(o.Wire), int64(size))
	for _, n := range rest {
		add(b, n.key, n.n)
	}
}

// size is what is metered of a message on its way up: over MQTT 3.1.1, which an
// upstream speaks as configured or as found out, topic and payload are all there
// is of it (M06); over HTTP the topic stands in the URL and is not counted (M18).
func (o *Options) size(out *bridge.Message, how bridge.Outcome) int {
	switch {
	case how.HTTP:
		return out.MeteredSize() - len(out.Topic)
	case o.MQTT3 || how.MQTT3:
		return len(out.Topic) + len(out.Payload)
	}
	return out.MeteredSize()
}

// publish is what a PUBLISH of a known size costs, or a POST without its answer,
// with the switches of the upstream.
func (o *Options) publish(out *bridge.Message, size int, how bridge.Outcome, unit int64) int64 {
	switch {
	case IsBasicIngest(out.Topic), !how.HTTP && o.Defender == DefenderFree && IsDefender(out.Topic): // M16, M23
		return 0
	case out.Retain: // M10, M11
		return 2 * Units(size, unit)
	}
	return Units(size, unit)
}

// answered is what the answer to a request over HTTP costs (M18).
func answered(how bridge.Outcome, unit int64) int64 {
	if !how.HTTP {
		return 0
	}
	return HTTPResponse(how.Body, unit)
}

// Uncertain meters a delivery that was sent and whose fate is unknown (M26: a
// throttled one costs nothing, a re-send is billed; which it was, nobody says). What
// an earlier run has sent went to where the upstream was then, and how it was reached.
func (m *Meter) Uncertain(b *bridge.Batch, upstream string, s *bridge.Stored, o bridge.Outcome) {
	out, op := bridge.Outgoing(s), m.options(upstream)
	if o.HTTP && o.Wire == 0 {
		return // it was never sent
	}
	units := op.uncertain(out, o)
	if o.Before != nil {
		units = op.before(out, o)
		op = op.at(upstream, o.Before.Place)
	}
	if units > 0 {
		add(b, m.count(upSeries(upstream, s, out), op, 0, nil).key(kindUncertain), units)
	}
}

// Refused meters a delivery that the cloud answered and did not take. What it
// throttled or refused over MQTT costs nothing (M26) and is counted. An HTTP
// error with a body is metered by that body (M18); whether the request is
// metered as well nobody says. What was not sent, because it could not be, or because
// one before it was put off, the cloud has not refused.
func (m *Meter) Refused(b *bridge.Batch, upstream string, s *bridge.Stored, o bridge.Outcome) {
	if o.Wire == 0 {
		return
	}
	out, op := bridge.Outgoing(s), m.options(upstream)
	units, more, unit := int64(0), int64(0), int64(op.Unit)
	if o.HTTP {
		units = HTTPResponse(o.Body, unit)
		more = HTTPResponse(o.Body, otherReading(unit)) - units
	}
	c := m.count(upSeries(upstream, s, out), op, units, nil)
	add(b, c.key(kindThrottled), 1)
	if units > 0 {
		add(b, c.units, units)
		add(b, c.key(kindAnswers), units)
		add(b, c.wire, int64(o.Wire))
		add(b, c.key(kindUncertain), HTTPRequest(out, unit))
	}
	if more != 0 {
		kind, n := otherwise(unit, more)
		add(b, c.key(kind), n)
	}
}

// Received meters a message that came down (M07) and, at QoS 1, the PUBACK
// that answers it (M08). One that came before, and whose answer never reached the
// cloud, was billed then too; whether it is in the ledger, and with the answer,
// nobody knows after a crash.
func (m *Meter) Received(b *bridge.Batch, upstream string, msg *bridge.Message, wire int) {
	op := m.options(upstream)
	unit := int64(op.Unit)
	units, acks := Deliver(msg, unit), int64(0)
	if msg.QoS > 0 {
		acks = Puback(nil, unit)
	}
	again := int64(0)
	if msg.Dup {
		acks, again = 0, units+acks
	}
	c := m.count(series{upstream: upstream, direction: Down, prefix: msg.Topic}, op, units+acks, nil)
	if again > 0 {
		add(b, c.key(kindUncertain), again)
	}
	addMessage(b, c, units+acks, int64(wire), int64(msg.MeteredSize()))
	if acks > 0 {
		add(b, c.key(kindAcks), acks)
	}
	if d := Deliver(msg, otherReading(unit)) - units; d != 0 {
		kind, n := otherwise(unit, d)
		add(b, c.key(kind), n)
	}
}

// otherReading is the size that "5 KB" may mean instead (M03).
func otherReading(unit int64) int64 {
	switch unit {
	case DefaultUnit:
		return decimalUnit
	case decimalUnit:
		return DefaultUnit
	}
	return unit
}

// otherwise is the counter that knows of d units more by the other reading than by
// unit, and what is added to it. Which of the readings is larger is the same for all.
func otherwise(unit, d int64) (kind byte, n int64) {
	if unit == decimalUnit {
		return kindFewer, -d
	}
	return kindOther, d
}

// upSeries is the series of a delivery, whose prefix is still the whole topic.
func upSeries(upstream string, s *bridge.Stored, out *bridge.Message) series {
	queue, _, _ := bridge.OwnedBy(s.Receiver.Queue)
	return series{upstream: upstream, direction: Up, device: s.Device, prefix: out.Topic, route: queue[strings.LastIndexByte(queue, '/')+1:], thing: s.Thing}
}

// addMessage adds one message to the batch's changes of its counters, when the
// batch has some: a batch of hundreds of releases is about few series, and each
// change costs its key in the log. The four counters of a series that every
// message changes stand together.
func addMessage(b *bridge.Batch, c *counters, units, wire, bytes int64) {
	for i := len(b.Adds) - 4; i >= max(0, len(b.Adds)-coalesce); i-- {
		a := b.Adds[i : i+4]
		if a[0].Key == c.units && a[1].Key == c.messages && a[2].Key == c.wire && a[3].Key == c.bytes && a[0].Namespace == Namespace {
			a[0].Delta += units
			a[1].Delta++
			a[2].Delta += wire
			a[3].Delta += bytes
			return
		}
	}
	b.Add(Namespace, c.units, units)
	b.Add(Namespace, c.messages, 1)
	b.Add(Namespace, c.wire, wire)
	b.Add(Namespace, c.bytes, bytes)
}

// add changes a counter that few messages need, together with the last change
// of it.
func add(b *bridge.Batch, key string, delta int64) {
	for i := len(b.Adds) - 1; i >= max(0, len(b.Adds)-coalesce); i-- {
		if a := &b.Adds[i]; a.Key == key && a.Namespace == Namespace {
			a.Delta += delta
			return
		}
	}
	b.Add(Namespace, key, delta)
}

// coalesce bounds the search: some 60 devices at 4 counters each.
const coalesce = 256

// Pace is what upstream was metered in the last hour, as far as this process has
// seen it; for projections only.
func (m *Meter) Pace(upstream string) Pace {
	at := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.pace[upstream]; p != nil {
		return p.over(at.Mono)
	}
	return Pace{}
}

// paceOf is where the pace of an upstream is counted. Whoever calls holds the lock.
func (m *Meter) paceOf(upstream string, at bridge.Instant) *pace {
	p := m.pace[upstream]
	if p == nil {
		p = &pace{started: at.Mono}
		m.pace[upstream] = p
	}
	return p
}

// count finds the counters of s, whose prefix is still the whole topic, and notes
// the size of what was sent.
func (m *Meter) count(s series, o *billed, units int64, sent *message) *counters {
	at := m.now()
	if s.direction != Link {
		s.prefix = prefixOf(s.prefix, o.PrefixLevels)
	}
	s.device, s.thing = bound(s.device, maxDeviceName), bound(s.thing, maxThingName)
	m.mu.Lock()
	defer m.mu.Unlock()
	if mark := (hourMark{at.Wall.Unix() / 3600, at.Synced}); mark != m.mark {
		m.mark = mark
		if hour := hourOf(at.Wall, at.Synced); hour != m.book.hour {
			m.book = newHourBook(hour)
		}
		m.doubtLocked(m.book.hour, at)
	}
	m.paceOf(s.upstream, at).add(at.Mono, units, 0)
	if sent != nil {
		m.sizes.note(m.book.hour, s, *sent)
	}
	s.upstream = o.series
	return m.book.find(s, &o.Options)
}

func (m *Meter) options(upstream string) *billed {
	if o := m.upstreams[upstream]; o != nil {
		return o
	}
	return &billed{Options: DefaultOptions(), series: upstream}
}
