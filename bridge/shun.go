package bridge

import (
	"fmt"
	"slices"
	"time"
)

// A receiver may hang up on one connection whatever is sent on it, and take messages
// on the others: one of its nodes is broken, or another client has the client id. Then
// the devices of that connection go by the others, suspects too: on one that takes
// messages it shows whether they are what the receiver hangs up on. From time to time
// the connection is tried again.
const (
	shunAt  = poisonAt // by then others were tried first
	shunFor = time.Minute
)

// shun has the devices of a line go by others, when it takes nothing and they do.
func (f *Forwarder) shun(l *line) {
	if l.barren < shunAt || !f.othersTake(l) {
		return
	}
	l.shunned = time.Now().Add(shunFor)
	if f.health.Raise(Warning{Code: l.shunCode(), Severity: Degraded,
		Text: fmt.Sprintf("%s hangs up connection %d whatever is sent on it, and takes messages on others: its devices go by those, and it is tried again every %v; look whether another client has its client id, and what %s logs", f.cfg.Upstream, l.n+1, shunFor, f.cfg.Upstream)}) {
		f.log.Warn("a connection takes nothing, its devices go by others", "connection", l.n+1)
	}
}

// othersTake reports whether the last that another line has heard of the receiver is
// that it takes messages.
func (f *Forwarder) othersTake(l *line) bool {
	return slices.ContainsFunc(f.lines, func(o *line) bool { return o != l && o.good && o.takes() })
}

// bears notes that something was acknowledged on a line.
func (f *Forwarder) bears(l *line) {
	if l.barren >= shunAt {
		f.health.Clear(l.shunCode())
	}
	l.good, l.barren = true, 0
}

// endShuns gives up avoiding lines when there is no other.
func (f *Forwarder) endShuns() {
	if slices.ContainsFunc(f.lines, (*line).takes) {
		return
	}
	for _, l := range f.lines {
		if l.usable() {
			l.shunned = time.Time{}
		}
	}
}

// keeps reports whether a message on which the receiver has hung up waits for its line:
// not when others take messages and that takes none, see shun, or is closed for some, or
// has been away for long, or for so long that all others wait. Then it goes by one of them, where it shows what it is.
func (l *line) keeps() bool { return l.near && !l.avoided && l.shunned.IsZero() }

// nearFor is how long a line may be away and such messages wait for it: most are back
// before, and most of these messages were only on their way when something else cut it.
const nearFor = 30 * time.Second

// farAway notes which lines have been away for longer, and reports whether there is one
// more.
func (f *Forwarder) farAway(now time.Time) (some bool) {
	for _, l := range f.lines {
		if l.near && !l.up && (now.Sub(l.downSince) >= nearFor || f.standsFor(l)) {
			l.near, some = false, true
		}
	}
	return some
}

// standsFor reports whether a reader has come as far as it may past what waits for a line,
// so that all others would wait for it, too.
func (f *Forwarder) standsFor(l *line) bool {
	for _, ln := range f.lanes {
		if behind := l.passed[ln.n]; behind != nil && slices.ContainsFunc(behind.tips, func(t *tip) bool { return t.front.at()-t.at() >= maxAhead }) {
			return true
		}
	}
	return false
}

// othersMay reports whether some devices may have to go by other lines than before,
// though no line has come or gone.
func (f *Forwarder) othersMay(now time.Time) bool {
	turned, reprieved, far := f.turnGates(), f.reprieved(now), f.farAway(now)
	return turned || reprieved || far
}

// reprieved ends the shunning of lines whose time has come, and reports whether there
// was one.
func (f *Forwarder) reprieved(now time.Time) (some bool) {
	for _, l := range f.lines {
		if !l.shunned.IsZero() && !now.Before(l.shunned) {
			l.shunned, some = time.Time{}, true
		}
	}
	return some
}

func (l *line) shunCode() string { return fmt.Sprintf("shunned-%s-%d", l.f.cfg.Upstream, l.n+1) }
