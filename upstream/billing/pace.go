package billing

import (
	"fmt"
	"time"
)

// Pace is what an upstream was metered lately, by whole minutes of the monotonic
// clock.
type Pace struct {
	Window  time.Duration // that it is about: the last hour, or less where this process is younger
	Units   int64         // metered messages in it
	Minutes int64         // of connectivity in it
	Low     int64         // metered messages in as long a time at the pace of its quietest sixth
	High    int64         // and of its busiest
}

// Bounds of a pace. What is less than paceEnough is no pace: reconnects, replay
// and full batches would be taken for what goes on all month.
const (
	paceMinutes = 60
	paceEnough  = 10 * time.Minute
	paceParts   = 6
)

// Enough reports whether a month may be told from the pace, and if not, why.
func (p Pace) Enough() (why string, ok bool) {
	if p.Window >= paceEnough {
		return "", true
	}
	return fmt.Sprintf("too early: a month is told from %d minutes or more, and there are %d", paceEnough/time.Minute, p.Window/time.Minute), false
}

// in is n of the window in another time at the same pace.
func (p Pace) in(n int64, other time.Duration) int64 {
	if p.Window <= 0 {
		return 0
	}
	return Usage{Messages: n}.scaled(other, p.Window).Messages
}

// pace counts by minutes of the monotonic clock: the last hour of whole ones, and
// the present one.
type pace struct {
	started time.Duration
	minutes [paceMinutes + 1]paceMinute
}

type paceMinute struct {
	at      int64 // minute of the monotonic clock
	units   int64
	minutes int64 // of connectivity
}

func (p *pace) add(now time.Duration, units, minutes int64) {
	at := int64(now / time.Minute)
	slot := &p.minutes[at%int64(len(p.minutes))]
	if slot.at != at {
		*slot = paceMinute{at: at}
	}
	slot.units += units
	slot.minutes += minutes
}

// over is the pace of the whole minutes before now.
func (p *pace) over(now time.Duration) Pace {
	end := int64(now / time.Minute)
	begin := max(int64((p.started+time.Minute-1)/time.Minute), end-paceMinutes)
	if begin >= end {
		return Pace{}
	}
	n := end - begin
	out := Pace{Window: time.Duration(n) * time.Minute}
	var parts [paceParts]int64
	part := max(1, n/paceParts)
	for _, slot := range p.minutes {
		if slot.at < begin || slot.at >= end {
			continue
		}
		out.Units += slot.units
		out.Minutes += slot.minutes
		if i := (end - 1 - slot.at) / part; i < paceParts {
			parts[i] += slot.units
		}
	}
	out.Low, out.High = out.Units, out.Units
	for _, units := range parts[:min(paceParts, n/part)] {
		out.Low = min(out.Low, units*n/part)
		out.High = max(out.High, (units*n+part-1)/part)
	}
	return out
}
