package billing

import "github.com/ebbgate/ebbgate/bridge"

// Does is what a route of the configuration does already of what could be advised.
type Does struct {
	BasicIngest, ClearRetain, NoOrigin bool

	Envelope bool  // origin: envelope
	Batch    Batch // the zero Batch: it makes none
	Fixed    bool  // it is as AWS's services want it: nothing of it can be changed
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
// taken as if it had been sent so. What measures save comes on top of it. What was sent as
// the configuration has it already changes little by it; where it does, in batches that
// their count has closed, less is left to save, not more.
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
	if d.Envelope && t.hasProperties() {
		f.wrap(i, h)
	}
	if d.Batch.on() && (h.ClearRetain || t.Retained() == 0) { // what keeps the flag is in no batch
		change := func(_ int, h *Treatment) { h.Batch = d.Batch }
		if d.Envelope {
			change = f.inEnvelopes(change)
		}
		change(i, h)
	}
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
