package billing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// An upstream may move to another region or account, and go from the configuration.
// What it was metered before stays where it was: the spool has a table of the places of
// each upstream, and series of all places but the first carry the number of theirs, so
// that no two of them ever come together, in an hour or in what hours are folded into.
// The first is where the first start with such a table finds the upstream: ledgers of
// earlier versions are read as they were.

// place is where an upstream is billed, and what is known of how, for the time when the
// configuration says it no more.
type place struct {
	Region   string `json:"region,omitempty"`
	Account  string `json:"account,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Unit     int64  `json:"unit,omitempty"`
	FreeTier bool   `json:"free_tier,omitempty"`
	Last     bool   `json:"last,omitempty"` // the last start found the upstream here
}

const (
	// keyPlaces begins the keys of the tables, which are JSON: no hour is called so.
	keyPlaces = "places" + sep

	// placeMark stands before the number of a place in a series' upstream. No upstream
	// has it in its name.
	placeMark = "\x01"

	// maxPlaces bounds a table. All places beyond are taken for one.
	maxPlaces = 64
)

// readPlaces reads the tables: the places of each upstream by their numbers. What is
// damaged is as good as none.
func readPlaces(c Counters) (map[string][]place, error) {
	out := map[string][]place{}
	err := c.Scan(Namespace, keyPlaces, func(key string, value []byte) bool {
		var all []place
		if json.Unmarshal(value, &all) == nil {
			out[strings.TrimPrefix(key, keyPlaces)] = all[:min(len(all), maxPlaces)]
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("billing: reading where the upstreams were: %w", err)
	}
	return out, nil
}

// numberOf is the number of the place that the options of an upstream say: that of the
// last start, or one it has been at, or the next.
func numberOf(all []place, o Options) int {
	for _, fits := range []func(place) bool{
		func(p place) bool { return p.Last && p.fits(o) },
		place{Region: o.Region, Account: o.Account}.is,
		func(p place) bool { return p.fits(o) },
	} {
		for i, p := range slices.Backward(all) {
			if fits(p) {
				return i
			}
		}
	}
	return len(all) // at most maxPlaces
}

// is reports whether two places are one.
func (p place) is(o place) bool { return p.Region == o.Region && p.Account == o.Account }

// fits reports whether the options of an upstream may be of a place. An account that was
// not said, and is now, or the other way round, is no other account; nor is a region, as
// long as the endpoint is the same.
func (p place) fits(o Options) bool {
	region := p.Region == o.Region || (p.Region == "" || o.Region == "") && p.Endpoint != "" && p.Endpoint == o.Endpoint
	return region && (p.Account == o.Account || p.Account == "" || o.Account == "")
}

// found is the table of an upstream that is at a place of it, or at the next. Of which
// account places were for which none was said, the first that is said tells.
func found(all []place, n int, o Options) []place {
	all = slices.Clone(all)
	if n == len(all) && n < maxPlaces {
		all = append(all, place{})
	}
	for i := range all {
		p := &all[i]
		if i == n {
			*p = p.told(o)
		}
		p.Account, p.Last = cmp.Or(p.Account, o.Account), i == n
	}
	return all
}

// told is a place of which the options tell more, or newer things.
func (p place) told(o Options) place {
	return place{cmp.Or(o.Region, p.Region), cmp.Or(o.Account, p.Account), o.Endpoint, int64(o.Unit), o.FreeTier, true}
}

// placed is an upstream's name in keys.
func placed(upstream string, number int) string {
	if number == 0 {
		return upstream
	}
	return upstream + placeMark + strconv.Itoa(number)
}

// settle finds the place of each upstream, and writes down those that are new. What the
// disk does not take now is tried again by Run: until then the numbers are the same,
// for they are in the order of the moves.
func (m *Meter) settle() error {
	all, err := readPlaces(m.spool)
	if err != nil {
		return err
	}
	m.places = maps.Clone(all)
	for _, name := range slices.Sorted(maps.Keys(m.upstreams)) {
		o, was := m.upstreams[name], all[name]
		n := numberOf(was, o.Options)
		o.series, o.place = placed(name, n), n
		if n >= maxPlaces {
			m.crowded = append(m.crowded, name)
		}
		if now := found(was, n, o.Options); !slices.Equal(now, was) {
			m.place(name, now)
		}
	}
	m.writePlaces()
	return nil
}

// place notes the table of an upstream, to be committed.
func (m *Meter) place(upstream string, table []place) {
	text, _ := json.Marshal(table) // texts, numbers and truths
	m.places[upstream] = table
	m.unplaced = append(m.unplaced, bridge.Put{Namespace: Namespace, Key: keyPlaces + upstream, Value: text})
}

// Reached notes where upstreams are reached from now on, in the regions and accounts of
// the meter's start: a region that is said later holds for the endpoint of then.
func (m *Meter) Reached(upstreams map[string]Options) {
	m.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		o, table := upstreams[name], slices.Clone(m.places[name])
		if n := m.options(name).place; n < len(table) && table[n].Region == o.Region && table[n].Endpoint != o.Endpoint {
			table[n].Endpoint = o.Endpoint
			m.place(name, table)
		}
	}
	m.mu.Unlock()
	m.writePlaces()
}

// writePlaces commits what the spool does not have yet of the tables.
func (m *Meter) writePlaces() {
	m.placing.Lock()
	defer m.placing.Unlock()
	m.mu.Lock()
	left := m.unplaced
	m.unplaced = nil
	m.mu.Unlock()
	if len(left) == 0 {
		return
	}
	done := make(chan struct{})
	m.spool.Commit(&bridge.Batch{Puts: slices.Clone(left)}, func(_ bridge.Seq, err error) {
		if err != nil {
			m.mu.Lock()
			m.unplaced = append(left, m.unplaced...) // the last of a table holds
			m.mu.Unlock()
		}
		close(done)
	})
	<-done
}

// Crowded are the upstreams that have been in more places than are told apart: what
// they are metered from then on goes by what the configuration says last.
func (m *Meter) Crowded() []string { return m.crowded }

// Place implements [bridge.PlaceMeter].
func (m *Meter) Place(upstream string) bridge.Billed {
	op := m.options(upstream)
	return bridge.Billed{Place: op.place, How: op.how()}
}
