package billing

import (
	"cmp"
	"math"
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// Thinning is what a route leaves out of the messages of each topic before it
// sends them, in the order of the fields. The zero Thinning is none.
type Thinning struct {
	OneIn int           // every so manyth message; 0: all
	WasIn int           // what was sent was every so manyth already; 0: it was all
	Every time.Duration // one message in this time; 0: all

	Window     time.Duration // one message of WindowSize bytes for all of this time; 0: none
	WindowSize int
}

func (n Thinning) on() bool { return n != Thinning{} }

// ledgerHour is the step of the ledger while sizes are recorded: [Fold] keeps both
// for as long.
const ledgerHour = time.Hour

// stretch is what one device sent in an hour of the ledger, under the topics that
// it takes for one.
type stretch struct {
	device   string
	start    time.Time
	messages int64
}

// kept is how many of the messages of the ledger, spread evenly over the hours that
// had some, go on, and how many there were.
func (t Traffic) kept(n Thinning) (kept, of float64) {
	type stream struct {
		device string
		window int64
	}
	long := map[stream]float64{} // of windows longer than an hour
	one := func(s stretch, m float64, every time.Duration) float64 {
		switch {
		case every <= 0:
			return m
		case every <= ledgerHour:
			return min(m, float64(ledgerHour)/float64(every))
		}
		at := stream{s.device, s.start.UnixNano() / int64(every)}
		was := long[at]
		long[at] = min(was+m, 1)
		return long[at] - was
	}
	for _, s := range t.stretches {
		m := float64(s.messages) * cmp.Or(t.share, 1)
		of += m
		if n.OneIn > 1 || n.WasIn > 1 {
			m = m * float64(max(n.WasIn, 1)) / float64(max(n.OneIn, 1))
		}
		// A window of what a sample has left is longer than the sample's time, or
		// takes in one message at most: the longer of both decides.
		kept += one(s, m, max(n.Every, n.Window))
	}
	return kept, of
}

// thinned are the cells of what is left. Each size is left out as often as the
// others, and a window's message has one size.
func (t Traffic) thinned(n Thinning, mqtt3 bool) []sizes.Cell {
	cells := t.Sizes.Cells()
	if !n.on() {
		return cells
	}
	kept, of := t.kept(n)
	if of == 0 { // the ledger tells these topics only as (other)
		return cells
	}
	part := kept / of
	out := cells[:0]
	before, after := int64(0), int64(0) // sums over the cells: what is rounded evens out
	retained, copies := int64(0), int64(0)
	for _, c := range cells {
		before, retained = before+c.Messages, retained+c.Retained
		left := max(int64(math.Ceil(part*float64(before)-roundingError))-after, 0)
		after += left
		if left == 0 {
			continue
		}
		scale := func(v int64) int64 { return portion(v, left, c.Messages) }
		next := sizes.Cell{Messages: left, Payload: scale(c.Payload), Topic: scale(c.Topic), Rest: scale(c.Rest)}
		next.Retained = min(max(int64(math.Ceil(part*float64(retained)-roundingError))-copies, 0), left)
		copies += next.Retained
		if n.Window > 0 {
			next.Payload, next.Retained = int64(n.WindowSize)*left, 0
			if !mqtt3 {
				next.Rest += int64(len(windowType)) * left
			}
		}
		out = append(out, next)
	}
	return out
}

// windowType is the content type of a window's message.
const windowType = "application/json"

// roundingError is how far a sum of parts may be above a whole number that it is.
const roundingError = 1e-6
