package sandbox

import (
	"strconv"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/tally"
	"github.com/ebbgate/ebbgate/localbroker"
)

// Arrivals records what reaches the cloud. It takes the place that the walk
// has in a gateway: every message is acknowledged, counted and dropped. Its
// methods are safe for concurrent use.
type Arrivals struct {
	identify func(payload []byte) (series string, number uint64, ok bool)
	units    func(*bridge.Message) int64
	shelf    *localbroker.Memory // what the broker keeps for its clients
	seen     tally.Set
	records  tally.Set // by the gateway's message ids

	mu     sync.Mutex
	counts Counts
	latest []Arrival // messages that identify does not know, the newest last
}

// Counts are what has arrived.
type Counts struct {
	Messages   int64 `json:"messages"`     // all PUBLISHes, resends too
	Distinct   int64 `json:"distinct"`     // identified messages, each once
	Duplicates int64 `json:"duplicates"`   // identified messages that were here already
	OutOfOrder int64 `json:"out_of_order"` // first arrivals after a later one of the same series
	Others     int64 `json:"others"`       // messages without a known id
	Units      int64 `json:"units"`        // metered messages of everything that arrived
	FirstUnits int64 `json:"first_units"`  // of first arrivals and others: what was sent, without any resend
	// RecordUnits are of what a gateway took into its spool, each record once:
	// a device's resend is a record of its own, a gateway's is not.
	RecordUnits int64 `json:"record_units"`
	Bytes       int64 `json:"bytes"` // of topics and payloads
}

// Arrival is a message that a person may want to see.
type Arrival struct {
	At      time.Time `json:"at"`
	Topic   string    `json:"topic"`
	Payload string    `json:"payload"` // its beginning
	Device  string    `json:"device"`  // by the origin properties, if it has them
}

// Bounds of what is kept to show.
const (
	keepLatest  = 16
	keepPayload = 256
)

// NewArrivals records messages whose identity identify finds, and bills by
// units; nil counts no units.
func NewArrivals(identify func([]byte) (string, uint64, bool), units func(*bridge.Message) int64) *Arrivals {
	if units == nil {
		units = func(*bridge.Message) int64 { return 0 }
	}
	return &Arrivals{identify: identify, units: units, shelf: localbroker.NewMemory(nil)}
}

// Up takes a publish that the grants allow.
func (a *Arrivals) Up(p *bridge.Principal, g bridge.Grants, m *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	if d := g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: m.Topic}); !d.Allowed {
		done(bridge.Errorf(bridge.OpPublish, bridge.NotAuthorized, "%s", d.Reason))
		return
	}
	if m.Retain {
		if d := g.Decide(bridge.Request{Action: bridge.ActionRetainPublish, Name: m.Topic}); !d.Allowed {
			done(bridge.Errorf(bridge.OpRetain, bridge.NotAuthorized, "%s", d.Reason))
			return
		}
	}
	a.Authorized(p, m, extend, done)
}

// Authorized takes a message that has been decided on.
func (a *Arrivals) Authorized(_ *bridge.Principal, m *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	a.record(m)
	var b bridge.Batch
	if extend != nil {
		extend(&b)
	}
	a.shelf.Commit(&b, func(_ bridge.Seq, err error) { done(err) })
}

func (a *Arrivals) record(m *bridge.Message) {
	series, number, known := a.identify(m.Payload)
	units := a.units(m)
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &a.counts
	c.Messages++
	c.Units += units
	c.Bytes += int64(len(m.Topic) + len(m.Payload))
	if boot, count, ok := recordID(m); !ok || a.records.Add(boot, count) != tally.Duplicate {
		c.RecordUnits += units
	}
	if known {
		switch a.seen.Add(series, number) {
		case tally.First:
			c.Distinct++
		case tally.Late:
			c.Distinct++
			c.OutOfOrder++
		case tally.Duplicate:
			c.Duplicates++
			return
		case tally.Refused:
			known = false
		}
	}
	c.FirstUnits += units
	if !known {
		c.Others++
		a.note(m)
	}
}

// recordID reads the gateway's message id: the boot's number is a series, and
// counts from 1.
func recordID(m *bridge.Message) (boot string, count uint64, ok bool) {
	id, ok := m.UserValue(bridge.PropID)
	if !ok || len(id) != 2*len(bridge.MessageID{}) {
		return "", 0, false
	}
	count, err := strconv.ParseUint(id[len(id)/2:], 16, 64)
	return id[:len(id)/2], count, err == nil
}

func (a *Arrivals) note(m *bridge.Message) {
	if len(a.latest) == keepLatest {
		a.latest = append(a.latest[:0], a.latest[1:]...)
	}
	device, _ := m.UserValue(bridge.PropDevice)
	a.latest = append(a.latest, Arrival{
		At: time.Now(), Topic: m.Topic, Payload: string(m.Payload[:min(len(m.Payload), keepPayload)]), Device: device,
	})
}

// Seen is the set of identified messages that have arrived. It grows.
func (a *Arrivals) Seen() *tally.Set { return &a.seen }

// Counts reads the figures.
func (a *Arrivals) Counts() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts
}

// Latest lists the newest messages without a known id, the newest last.
func (a *Arrivals) Latest() []Arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Arrival(nil), a.latest...)
}
