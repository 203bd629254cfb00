package bridge

import "time"

// hushFor is how long nothing is sent before a message goes alone when what went before
// is never answered (QoS 0): a receiver that hangs up on that has done so by then.
const hushFor = time.Second

// quiet reports whether nothing is on its way that the receiver might hang up on. If
// that takes only time the line is told when it is so. [with mu]
func (l *line) quiet() bool {
	if l.out > 0 {
		return false
	}
	left := hushFor - time.Since(l.unsure)
	if l.unsure.IsZero() || left <= 0 {
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
