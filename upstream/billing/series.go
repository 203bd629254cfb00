package billing

import "github.com/ebbgate/ebbgate/bridge"

// other takes the devices and prefixes above the bound.
const other = "(other)"

// counters are the ready-made keys of one series in one hour.
type counters struct{ units, uncertain, messages, wire string }

// hourBook is the series of the present hour: it bounds them, and keeps their
// keys so that metering a message builds no string.
type hourBook struct {
	hour     string
	names    map[side]map[string]map[string]bool // device → its prefixes
	counters map[series]*counters
}

// side is an upstream in one direction: bounds hold for each.
type side struct{ upstream, direction string }

func newHourBook(hour string) *hourBook {
	return &hourBook{hour: hour, names: map[side]map[string]map[string]bool{}, counters: map[series]*counters{}}
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
		h.names[id] = map[string]map[string]bool{}
	}
	if h.names[id][s.device] == nil {
		h.names[id][s.device] = map[string]bool{}
	}
	h.names[id][s.device][s.prefix] = true
}

// find returns the counters of s, folded into "(other)" above the bounds.
func (h *hourBook) find(s series, o *Options) *counters {
	if c := h.counters[s]; c != nil {
		return c
	}
	devices := h.names[side{s.upstream, s.direction}]
	if devices[s.device] == nil && len(devices) >= o.MaxDevices {
		s.device = other
	}
	if p := devices[s.device]; !p[s.prefix] && len(p) >= o.MaxPrefixes {
		s.prefix = other
	}
	if c := h.counters[s]; c != nil {
		return c
	}
	h.note(s)
	k := s.key(h.hour)
	c := &counters{units: k + string(kindUnits), uncertain: k + string(kindUncertain), messages: k + string(kindMessages), wire: k + string(kindWire)}
	h.counters[s] = c
	return c
}
