package billing

import (
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Does is what a route of the configuration does already of what could be advised, and what
// of it can be had with the rest of the route.
type Does struct {
	BasicIngest, ClearRetain, NoOrigin bool

	Envelope bool   // origin: envelope
	Batch    Batch  // the zero Batch: it makes none
	Made     string // how it makes batches, in words with the origin last: those of others are made in another way
	Type     string // the content type of batches
	Fixed    bool   // it is as AWS's services want it: nothing of it can be changed

	Sparkplug bool          // its from names Sparkplug, so that the steps are for it as well
	KeepLast  int           // keep_last, which goes with no batches; 0: none
	TTL       time.Duration // above the age of any batch; 0: none
	Most      int           // bytes of a batch at the most, by split and divert; 0: no bound
}

// past says why a measure for a route comes too late, empty when it does not.
func (f *Fleet) past(route string, does func(Does) bool) string {
	switch d, there := f.Routes[route]; {
	case f.Routes == nil:
		return ""
	case !there:
		return "the configuration has no route " + route + " any more"
	case does(d):
		return "the configuration has it already, and what was sent before is in this span"
	}
	return ""
}

// atLeast reports whether a batch is as large as another, and waits for as long. One with a
// count may always be closed by it.
func (b Batch) atLeast(o Batch) bool {
	return b.on() && b.Limit >= o.Limit && b.Age >= o.Age && b.Count == 0
}

// Taken is the plan of what the configuration does by now: what was sent before it did is
// taken as if it had been sent so. What measures save comes on top of it. Batches that were
// made as the configuration makes them stay as they are. Of others, and of those that an earlier
// version has recorded, less is left to save, not more, where their count has closed them.
func (f *Fleet) Taken() Plan { return f.Plan(f.taken()) }

func (f *Fleet) taken() []Measure {
	return []Measure{{apply: func(p *Plan) {
		for i, t := range f.Traffic {
			if d := f.Routes[t.Route]; !d.Fixed && !t.service() {
				f.has(i, d, &p.Treatments[i])
			}
		}
	}}}
}

// has treats a traffic as its route does it.
func (f *Fleet) has(i int, d Does, h *Treatment) {
	t := f.Traffic[i]
	if d.BasicIngest && !h.BasicIngest {
		h.BasicIngest, h.Prefix = true, BasicIngestPrefix(t.Route)
	}
	h.ClearRetain = d.ClearRetain || d.BasicIngest
	h.NoOrigin = d.NoOrigin && t.hasProperties()
	if f.unwrapped(i, d) {
		return
	}
	if d.Envelope && t.hasProperties() {
		f.wrap(i, h)
	}
	if d.Batch.on() && t.Kind != Alone && (t.Kind != Batched || t.Made != d.Made) && (h.ClearRetain || t.Retained() == 0) { // what keeps the flag is in no batch
		change := func(_ int, h *Treatment) { h.Batch = d.Batch }
		if d.Envelope {
			change = f.inEnvelopes(change)
		}
		change(i, h)
	}
}

// unwrapped reports whether a traffic is, or may be, batches without envelopes of a route that
// puts them around now: around each message, and how many are in a batch is not recorded.
func (f *Fleet) unwrapped(i int, d Does) bool {
	if !d.Envelope || !d.Batch.on() {
		return false
	}
	switch t := f.Traffic[i]; t.Kind {
	case Batched:
		return !strings.HasSuffix(t.Made, madeInEnvelopes)
	case Untold:
		n, _ := t.Sizes.Own()
		return n > 0 || t.hasProperties()
	}
	return false
}

// madeInEnvelopes ends the words for how batches are made in which each message has an envelope.
const madeInEnvelopes = "/envelope"

// unclear says why of no measure for a route it can be told what it saves, empty when it can.
func (f *Fleet) unclear(r routeTraffic) string {
	for _, i := range r.all {
		if f.unwrapped(i, f.Routes[r.name]) {
			return "it makes batches with origin: envelope now, and what was sent before in batches without would be longer by an unknown number of envelopes; ask again with --period day when all of a day was sent so"
		}
	}
	return ""
}

// wrap puts an envelope around each message.
func (f *Fleet) wrap(i int, h *Treatment) {
	t, mode := f.Traffic[i], bridge.OriginNone
	if t.hasProperties() {
		mode = bridge.OriginUserProperties
	}
	h.Was, h.Then = OriginOf(mode, t.Names(), f.Options.MQTT3), OriginOf(bridge.OriginEnvelope, t.Names(), f.Options.MQTT3)
	h.NoOrigin = false
}
