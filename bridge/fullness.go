package bridge

import "time"

// look notes how much waits on the line. [the forwarder's]
func (l *line) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped { // by a gate that may be open again, and nobody else would tell
		l.stopped = false
		l.tell()
	}
	for i := range l.queues {
		q := &l.queues[i]
		l.held[i], l.bytes[i] = len(q.flights)-q.first, q.bytes
		if q.dry && l.filled[i] {
			l.most[i] = min(2*l.most[i], lookAhead)
			q.low = l.most[i] / 4
		}
		q.dry, l.filled[i] = false, false
		if l.held[i] <= l.most[i]/2 && l.bytes[i] <= l.mostBytes/2 {
			l.fullSince[i] = time.Time{}
		}
	}
}

// isFull and isHungry judge by the last look. [the forwarder's]
func (l *line) isFull(lane int) bool {
	full := l.held[lane] >= l.most[lane]
	l.filled[lane] = l.filled[lane] || full
	return full || l.bytes[lane] >= l.mostBytes
}

// isSlow reports whether a full line has been full for so long that others need
// not wait for it: one that is as fast as the reading has room again at once, and
// to read past it would be for nothing.
func (l *line) isSlow(lane int, now time.Time) bool {
	if l.fullSince[lane].IsZero() {
		l.fullSince[lane] = now
	}
	return !l.takes() || now.Sub(l.fullSince[lane]) >= slowAfter
}

const slowAfter = 200 * time.Millisecond

func (l *line) isHungry(lane int) bool {
	return l.held[lane] <= l.most[lane]/4 && l.bytes[lane] <= l.mostBytes/4
}
