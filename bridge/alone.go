package bridge

import "time"

// hushFor is how long nothing is sent before a message goes alone when what went before
// is never answered (QoS 0): a receiver that hangs up on that has done so by then. So it
// is before one that is to be seen ending a link that lives without it.
const hushFor = time.Second

// hush reports whether the link is to be seen living without a message before it is sent.
func (fl *flight) hush() bool { return fl.blamed >= hushAt }

// quietFor reports whether nothing is on its way that the receiver might hang up on
// before a message. If that takes only time the line is told when it is so. [with mu]
func (l *line) quietFor(fl *flight) bool {
	if l.out > 0 {
		return false
	}
	since := l.unsure
	if fl.hush() && l.still.After(since) {
		since = l.still
	}
	left := hushFor - time.Since(since)
	if since.IsZero() || left <= 0 {
		return true
	}
	if !l.hushed {
		l.hushed = true
		time.AfterFunc(left, func() {
			l.mu.Lock()
			l.hushed = false
			l.mu.Unlock()
			l.tell()
		})
	}
	return false
}
