package billing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// part is what an upstream was metered in one place.
type part struct {
	name    string     // as it is shown, and told from all others
	of      string     // the upstream
	options Options    // of the upstream in the configuration, by default of one that has gone, in that place
	prices  *PriceList // nil: none
	now     bool       // the upstream is there now
	gone    bool       // the configuration has no such upstream
}

// account is what shares tiers with it. What has no region is not priced, and shares
// nothing.
func (p *part) account() account {
	if p.options.Region == "" {
		return account{alone: p.name}
	}
	return account{id: p.options.Account, region: p.options.Region}
}

// away is the name of a part's upstream, when the part is called otherwise.
func (p *part) away() string {
	if p.name == p.of {
		return ""
	}
	return p.of
}

// parts are those of all upstreams.
type parts struct {
	series map[string]*part // by what stands for the upstream in keys
	shown  map[string]*part // by their names
	names  []string         // of shown, in the order in which they are priced
}

// newParts lays the tables of the spool beside the configuration.
func newParts(places map[string][]place, upstreams map[string]Options, lists map[string]*PriceList, builtIn *PriceList) *parts {
	all := &parts{series: map[string]*part{}, shown: map[string]*part{}}
	for name, o := range upstreams {
		p := &part{name: name, of: name, options: o, prices: lists[name], now: true}
		all.series[placed(name, numberOf(places[name], o))], all.shown[name] = p, p
	}
	for _, name := range slices.Sorted(maps.Keys(places)) {
		o, stays := upstreams[name]
		table, here := places[name], place{Region: o.Region, Account: o.Account}
		if stays {
			n := numberOf(table, o)
			if table = found(table, n, o); n < len(table) {
				here = table[n]
			}
		}
		for n, where := range table {
			at := placed(name, n)
			twin := slices.IndexFunc(table[:n], where.is)
			switch {
			case all.series[at] != nil: // it is there now
			case stays && (o.Past == PastAsNow || where.is(here)):
				all.series[at] = all.shown[name]
			case twin >= 0: // what was taken for two places was told to be one
				all.series[at] = all.series[placed(name, twin)]
			default:
				p := &part{of: name, options: where.options(o, stays), gone: !stays}
				p.name = all.call(p, table)
				all.series[at], all.shown[p.name] = p, p
			}
		}
		all.beyond(name, len(table))
	}
	all.names = slices.Sorted(maps.Keys(all.shown))
	for _, p := range all.shown {
		if !p.now {
			p.prices = all.listFor(p, lists[p.of], builtIn)
		}
	}
	return all
}

// beyond lays what an upstream was metered beyond its table, of n places: it is of where
// the upstream is now, or where it was last known to be.
func (all *parts) beyond(name string, n int) {
	at := placed(name, maxPlaces)
	if n < maxPlaces || all.series[at] != nil {
		return
	}
	if now := all.shown[name]; now != nil && now.now {
		all.series[at] = now
		return
	}
	all.series[at] = all.series[placed(name, maxPlaces-1)]
}

// options are those of an upstream's part in a place where it is no more.
func (p place) options(o Options, stays bool) Options {
	if !stays {
		o = DefaultOptions()
		o.Unit = bridge.Size(cmp.Or(p.Unit, DefaultUnit))
	}
	o.Region, o.Account, o.FreeTier = p.Region, p.Account, p.FreeTier
	return o
}

// call names a part for people: by the place, unless it is the only one.
func (all *parts) call(p *part, places []place) string {
	where := []string{cmp.Or(p.options.Region, "no region")}
	distinct, same := 0, 0
	for n, o := range places {
		if slices.ContainsFunc(places[:n], o.is) {
			continue
		}
		if distinct++; o.Region == p.options.Region {
			same++
		}
	}
	if p.gone && distinct == 1 {
		return p.of
	}
	if now := all.shown[p.of]; same > 1 || now != nil && now.options.Region == p.options.Region {
		account := "no account"
		if p.options.Account != "" {
			account = "account " + p.options.Account
		}
		where = append(where, account)
	}
	name := fmt.Sprintf("%s (%s)", p.of, strings.Join(where, ", "))
	for n := 2; all.shown[name] != nil; n++ {
		name = fmt.Sprintf("%s (%s, %d)", p.of, strings.Join(where, ", "), n)
	}
	return name
}

// listFor is the price list for a part of a place where its upstream is no more: the
// first that has the region among the upstream's own, that of the others in its account
// and region, those in its region, and the built-in one.
func (all *parts) listFor(p *part, own, builtIn *PriceList) *PriceList {
	var kin, near *PriceList
	for _, name := range all.names {
		switch o := all.shown[name]; {
		case !o.now || o.options.Region != p.options.Region:
		case o.account() == p.account():
			kin = cmp.Or(kin, o.prices)
		default:
			near = cmp.Or(near, o.prices)
		}
	}
	for _, list := range []*PriceList{own, kin, near} {
		if list != nil && list.has(p.options.Region) {
			return list
		}
	}
	return builtIn
}

// resolve is how the upstream of a series is shown: as the part that it is of.
func (all *parts) resolve(series string) string {
	if p := all.series[series]; p != nil {
		return p.name
	}
	name, number, moved := strings.Cut(series, placeMark)
	if moved { // its table is damaged
		return fmt.Sprintf("%s (place %s)", name, number)
	}
	return name
}

// part is the one that is shown by a name. Of an upstream that has gone before there were
// tables nothing is known.
func (l *Ledger) part(name string) *part {
	if p := l.parts.shown[name]; p != nil {
		return p
	}
	of, _, _ := strings.Cut(name, " ")
	return &part{name: name, of: of, options: DefaultOptions(), gone: true}
}
