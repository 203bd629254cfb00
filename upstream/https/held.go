package https

import "github.com/ebbgate/ebbgate/bridge"

// held is a device of which one message was not taken for now. What comes of it may
// have been on its way before the sender learnt that, and would overtake those that
// came back without having been sent: it comes back, too. The sender begins again when
// all of the device have, so the first that comes a second time is the end of it.
type held struct {
	why  string
	back map[place]bool // what has come back
}

// place is where a message stands.
type place struct {
	queue string
	at    bridge.Place
}

// mostHeld bounds the devices of which nothing comes again, since it has expired or
// was given up.
const mostHeld = 4096

// hold notes that a message of a device was not taken for now.
func (l *link) hold(device string, j *job, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for other := range l.held {
		if len(l.held) < mostHeld {
			break
		}
		delete(l.held, other)
	}
	l.held[device] = &held{why: why, back: map[place]bool{j.at: true}}
}

// comesAgain notes a message that is about to be sent; l.mu is held.
func (l *link) comesAgain(device string, j *job) {
	if h := l.held[device]; h != nil && h.back[j.at] {
		delete(l.held, device)
	}
}

// heldBack says why a message is not to be sent now, empty when it is; l.mu is held.
func (l *link) heldBack(device string, j *job) string {
	h := l.held[device]
	if h == nil {
		return ""
	}
	h.back[j.at] = true
	return h.why
}
