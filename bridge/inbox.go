package bridge

import "sync"

// inbox holds the outcomes that have come back and are not settled yet. They
// come in bursts, and a burst wakes the forwarder once.
type inbox struct {
	some chan struct{} // a token when reports came since take was last called

	mu      sync.Mutex
	reports []report
	spare   []report
}

// report is the outcome of one flight.
type report struct {
	*flight
	Outcome
	unsent bool // it was not transmitted, and there is no outcome
}

func newInbox() *inbox { return &inbox{some: make(chan struct{}, 1)} }

// put never blocks: there are no more reports than the windows of the links.
func (in *inbox) put(r report) {
	in.mu.Lock()
	in.reports = append(in.reports, r)
	first := len(in.reports) == 1
	in.mu.Unlock()
	if first {
		select {
		case in.some <- struct{}{}:
		default:
		}
	}
}

// take returns what has come, in that order. The result is good until the next
// call.
func (in *inbox) take() []report {
	in.mu.Lock()
	defer in.mu.Unlock()
	out := in.reports
	clear(in.spare)
	in.reports, in.spare = in.spare[:0], out
	return out
}
