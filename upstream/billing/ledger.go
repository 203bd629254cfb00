package billing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Ledger reads what [Meter] wrote. It is safe for concurrent use.
type Ledger struct {
	spool     Counters
	upstreams map[string]Options
	parts     *parts
	builtIn   *PriceList       // of what is no upstream
	stores    map[string]Store // by upstream
	nowhere   string           // why there is none of an upstream that had requests to one

	closed closedHours
}

// Counters is the part of [bridge.Spool] that a bill is read from.
type Counters interface {
	Scan(namespace, prefix string, fn func(key string, value []byte) bool) error
}

var _ Counters = bridge.Spool(nil)

// NewLedger reads the ledger in spool and prices it by each upstream's options,
// whose Region must be filled in ([RegionOf]). It reads the price lists that
// the options name.
func NewLedger(spool Counters, upstreams map[string]Options) (*Ledger, error) {
	var errs []error
	l, err := OpenLedger(spool, upstreams, func(_ string, err error) { errs = append(errs, err) })
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return l, nil
}

// OpenLedger is NewLedger for who goes on without the prices of an upstream: of each
// whose list cannot be read broken is told, and it has none, as a region that a list
// does not have.
func OpenLedger(spool Counters, upstreams map[string]Options, broken func(upstream string, err error)) (*Ledger, error) {
	shared, lists := BuiltIn(), map[string]*PriceList{}
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		o := upstreams[name]
		if lists[name] = shared; o.PriceList == "" {
			continue
		}
		list, err := o.Prices()
		if err != nil {
			broken(name, err)
			list = new(PriceList)
		}
		lists[name] = list
	}
	places, err := readPlaces(spool)
	if err != nil {
		return nil, err
	}
	return &Ledger{spool: spool, upstreams: upstreams, parts: newParts(places, upstreams, lists, shared), builtIn: shared, stores: map[string]Store{}}, nil
}

// Prices is the price list of an upstream: the built-in one, or that of its file.
func (o Options) Prices() (*PriceList, error) {
	if o.PriceList == "" {
		return BuiltIn(), nil
	}
	file, err := os.Open(o.PriceList)
	if err != nil {
		return nil, fmt.Errorf("billing: price list: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxPriceList+1))
	if err != nil {
		return nil, fmt.Errorf("billing: price list: %w", err)
	}
	p, err := ParsePrices(data)
	if err != nil {
		return nil, fmt.Errorf("billing: %s: %w", o.PriceList, err)
	}
	return p, nil
}

// Connections is what connections cost that are open for all of a month of 30 days
// (M01), and what as many CONNECT packets do (M04), before tiers and free units. o's
// Region must be filled in; ok is false when it has no prices.
func Connections(o Options, n int64) (month, connects Amount, ok bool, err error) {
	p, err := o.Prices()
	if err != nil {
		return Amount{}, Amount{}, false, err
	}
	month, ok = p.Cost(o.Region, Usage{Minutes: n * 30 * 24 * 60}, false)
	connects, _ = p.Cost(o.Region, Usage{Messages: n}, false)
	return month, connects, ok, nil
}

// Today is the span of the UTC day of now.
func Today(now time.Time) (from, to time.Time) {
	y, m, d := now.UTC().Date()
	from = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 0, 1)
}

// Month is the span of the UTC month of now: AWS's billing period.
func Month(now time.Time) (from, to time.Time) {
	y, m, _ := now.UTC().Date()
	from = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 1, 0)
}

// Hour is the span of the UTC hour of now.
func Hour(now time.Time) (from, to time.Time) {
	from = now.UTC().Truncate(time.Hour)
	return from, from.Add(time.Hour)
}

// options are those of a part, by default for one of which nothing is known.
func (l *Ledger) options(upstream string) Options { return l.part(upstream).options }

// Where is the region and the account of what a line or total of a bill is of.
func (l *Ledger) Where(upstream string) (region, account string) {
	o := l.options(upstream)
	return o.Region, o.Account
}

// scan reads the hours that begin with prefix, synchronised or not. A series comes
// once per hour and place, its upstream called as the part is.
func (l *Ledger) scan(prefix string, fn func(start time.Time, synced bool, s series, c Counts)) error {
	if err := l.scanHour(prefix, fn); err != nil {
		return err
	}
	return l.scanHour(unsynced+prefix, fn)
}

func (l *Ledger) scanHour(prefix string, fn func(start time.Time, synced bool, s series, c Counts)) error {
	// The counters of a series in an hour stand together, told apart by the last
	// character of their keys: they are read as one.
	var at struct {
		key    string
		start  time.Time
		synced bool
		series series
		counts Counts
	}
	give := func() {
		if at.key != "" {
			at.counts.reread(int64(l.options(at.series.upstream).Unit))
			fn(at.start, at.synced, at.series, at.counts)
		}
	}
	err := l.spool.Scan(Namespace, prefix, func(key string, value []byte) bool {
		if len(key) == 0 || len(value) != 8 {
			return true
		}
		if base := key[:len(key)-1]; base != at.key {
			hour, s, _, ok := parseKey(key)
			if !ok {
				return true
			}
			start, synced, ok := parseHour(hour)
			if !ok {
				return true
			}
			give()
			s.upstream = l.parts.resolve(s.upstream)
			at.key, at.start, at.synced, at.series, at.counts = base, start, synced, s, Counts{}
		}
		at.counts.set(key[len(key)-1], int64(binary.BigEndian.Uint64(value)))
		return true
	})
	if err != nil {
		return fmt.Errorf("billing: reading the ledger: %w", err)
	}
	give()
	return nil
}
