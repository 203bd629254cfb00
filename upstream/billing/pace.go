package billing

import "time"

// pace is the units of the last 60 minutes, by the monotonic clock.
type pace struct {
	started time.Duration
	minutes [60]struct {
		at    int64 // minute since the start of the process
		units int64
	}
}

func (p *pace) add(now time.Duration, units int64) {
	minute := int64(now / time.Minute)
	slot := &p.minutes[minute%60]
	if slot.at != minute {
		slot.at, slot.units = minute, 0
	}
	slot.units += units
}

func (p *pace) perHour(now time.Duration) int64 {
	minute, sum := int64(now/time.Minute), int64(0)
	for _, slot := range p.minutes {
		if minute-slot.at < 60 {
			sum += slot.units
		}
	}
	seen := min(now-p.started, 59*time.Minute+now%time.Minute)
	if seen < time.Second {
		seen = time.Second
	}
	return int64(float64(sum) * float64(time.Hour) / float64(seen))
}
