package bridge

import "slices"

// Gate says when a link may carry messages of a priority: a metered one has
// windows and a budget of bytes. It is safe for concurrent use.
type Gate interface {
	// Open reports whether messages of a priority may be sent now. It is asked
	// again and again, some twenty times a second at the least.
	Open(priority int) bool

	// Account adds to a batch, which is about to be committed, what the link has
	// carried since it was last asked. It may add to an empty one.
	Account(b *Batch)
}

// closed reports whether nothing of a lane may be sent now.
func (f *Forwarder) closed(l *lane) bool { return f.cfg.Gate != nil && !f.cfg.Gate.Open(l.priority) }

// GatedSender is a [Sender] whose links are not all of one metered link: by the present
// one messages of some priorities may be kept from going. While another line is open for
// all, the devices of one that is not go by that.
type GatedSender interface {
	Sender

	// Open reports whether messages of a priority may go by the present link. It is safe
	// for concurrent use.
	Open(priority int) bool
}

// opens reports whether messages of a lane may go by a line.
func (l *line) opens(ln *lane) bool { return l.gate == nil || l.gate(ln.priority) }

// turnGates sees which lines are closed for something while others are open, and reports
// whether that has changed. What those have not sent is taken back.
func (f *Forwarder) turnGates() (changed bool) {
	if !f.gated {
		return false
	}
	some := false
	for _, l := range f.lines {
		l.shut = slices.ContainsFunc(f.lanes, func(ln *lane) bool { return !l.opens(ln) })
		some = some || l.usable() && !l.shut
	}
	for _, l := range f.lines {
		avoided := some && l.shut && l.usable()
		if avoided == l.avoided {
			continue
		}
		changed = true
		if l.avoided = avoided; avoided {
			f.takeBack(l)
		}
	}
	return changed
}
