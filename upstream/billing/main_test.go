package billing

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a spool of counters only.
type memory struct {
	bridge.Spool
	counters map[string]int64
	sizes    map[string][]byte
	tables   map[string][]byte
	fails    error // of the next commits
	largest  int   // changes of a commit
}

func newMemory() *memory {
	return &memory{counters: map[string]int64{}, sizes: map[string][]byte{}, tables: map[string][]byte{}}
}

func (m *memory) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if m.fails != nil {
		if done != nil {
			done(0, m.fails)
		}
		return
	}
	m.largest = max(m.largest, len(b.Adds)+len(b.Puts))
	for _, a := range b.Adds {
		m.counters[a.Key] += a.Delta
	}
	for _, p := range b.Puts {
		switch {
		case p.Namespace == SizesNamespace && p.Value != nil:
			m.sizes[p.Key] = p.Value
		case p.Namespace == SizesNamespace:
			delete(m.sizes, p.Key)
		case p.Value != nil:
			m.tables[p.Key] = p.Value
		default:
			delete(m.counters, p.Key)
		}
	}
	if done != nil {
		done(0, nil)
	}
}

func (m *memory) Scan(namespace, prefix string, fn func(string, []byte) bool) error {
	for namespace, values := range map[bool]map[string][]byte{namespace == SizesNamespace: m.sizes, strings.HasPrefix(prefix, keyPlaces): m.tables} {
		for _, k := range slices.Sorted(maps.Keys(values)) {
			if namespace && strings.HasPrefix(k, prefix) && !fn(k, values[k]) {
				break
			}
		}
	}
	if namespace == SizesNamespace {
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(m.counters)) {
		if strings.HasPrefix(k, prefix) && !fn(k, binary.BigEndian.AppendUint64(nil, uint64(m.counters[k]))) {
			break
		}
	}
	return nil
}

// wallClock is a clock that a test sets.
type wallClock struct{ bridge.Instant }

func (c *wallClock) now() bridge.Instant { return c.Instant }

func (c *wallClock) set(text string) {
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	c.Wall, c.Synced = at, true
}

func stored(device, topic string, payload int) *bridge.Stored {
	r := &bridge.Record{
		Message:   bridge.Message{Topic: topic, Payload: make([]byte, payload)},
		Origin:    bridge.Origin{Device: device},
		Receivers: []bridge.Receiver{{Topic: topic, QoS: 1}},
	}
	return &bridge.Stored{Record: r, Receiver: &r.Receivers[0]}
}

func newLedger(t *testing.T, spool Counters, upstreams map[string]Options) *Ledger {
	t.Helper()
	l, err := NewLedger(spool, upstreams)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// bill is the bill of the day of a clock.
func (m *memory) bill(t *testing.T, o Options, at time.Time) *Bill {
	t.Helper()
	b, err := newLedger(t, m, map[string]Options{"aws": o}).Bill(Today(at))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
