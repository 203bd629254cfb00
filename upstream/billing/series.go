package billing

import "github.com/ebbgate/ebbgate/bridge"

// other takes the devices and prefixes above the bound.
const other = "(other)"

// counters are the ready-made keys of one series in one hour: those that every
// message needs, and what the others begin with.
type counters struct {
	units, messages, wire, bytes string
	base                         string
}

func (c *counters) key(kind byte) string { return c.base + string(kind) }

// hourBook is the series of the present hour: it bounds them, and keeps their
// keys so that metering a message builds no string.
type hourBook struct {
	hour     string
	names    map[side]map[string]map[shelf]bool // device → its prefixes
	counters map[series]*counters
}

// side is an upstream in one direction: bounds hold for each.
type side struct{ upstream, direction string }

// shelf is what a device's series are told apart by.
type shelf struct{ prefix, route string }

func newHourBook(hour string) *hourBook {
	return &hourBook{hour: hour, names: map[side]map[string]map[shelf]bool{}, counters: map[series]*counters{}}
}

// load reads what the hour has in the ledger already, so that a restart does
// not grant another set of names.
func (h *hourBook) load(spool bridge.Spool) error {
	return spool.Scan(Namespace, h.hour+sep, func(key string, _ []byte) bool {
		if _, s, _, ok := parseKey(key); ok {
			h.note(s)
		}
		return true
	})
}

func (h *hourBook) note(s series) {
	id := side{s.upstream, s.direction}
	if h.names[id] == nil {
		h.names[id] = map[string]map[shelf]bool{}
	}
	if h.names[id][s.device] == nil {
		h.names[id][s.device] = map[shelf]bool{}
	}
	h.names[id][s.device][shelf{s.prefix, s.route}] = true
}

// find returns the counters of s, folded into "(other)" above the bounds.
func (h *hourBook) find(s series, o *Options) *counters {
	if c := h.counters[s]; c != nil {
		return c
	}
	devices := h.names[side{s.upstream, s.direction}]
	if devices[s.device] == nil && len(devices) >= o.MaxDevices {
		s.device, s.thing = other, ""
	}
	if p := devices[s.device]; !p[shelf{s.prefix, s.route}] && len(p) >= o.MaxPrefixes {
		s.prefix, s.route = other, ""
	}
	if c := h.counters[s]; c != nil {
		return c
	}
	h.note(s)
	k := s.key(h.hour)
	c := &counters{base: k, units: k + string(kindUnits), messages: k + string(kindMessages), wire: k + string(kindWire), bytes: k + string(kindBytes)}
	h.counters[s] = c
	return c
}
