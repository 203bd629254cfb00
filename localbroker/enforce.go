package localbroker

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Change is what a change of policy did to the sessions.
type Change struct {
	Sessions      int           // looked at, those of absent devices included
	Ended         int           // connections that were ended
	Subscriptions int           // taken away, of present and absent devices
	Took          time.Duration // until the last of them was told
}

// PolicyChanged tells the broker that the grants answer otherwise from now on.
// What waits for devices is asked about again before it leaves, and a CONNECT
// or SUBSCRIBE that is being decided is decided again. Nobody's connection ends
// and no subscription goes: that is [Broker.Enforce].
func (b *Broker) PolicyChanged() { b.generation.Add(1) }

// Enforce is PolicyChanged, and ends what is no longer allowed: a connection
// whose CONNECT, asked again as it came, would now be refused, and one that has
// a subscription which would. A v5 device is told DISCONNECT 0x87 with the
// reason, an older one is closed, since neither version can take back a single
// subscription of a live session; the subscription is gone when it comes back.
// Wills are published, when they still may be (§4: AUTH_ERROR fires the will).
//
// Sessions are looked at in parallel, and each is locked only while its
// subscriptions are listed, so that packets pass meanwhile. It returns when all
// have been told.
func (b *Broker) Enforce() Change {
	b.enforcing.Lock()
	defer b.enforcing.Unlock()
	began := time.Now()
	b.PolicyChanged()
	sessions := b.sessions.all()
	var next, ended, removed atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), runtime.NumCPU()) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(sessions)); i = next.Add(1) - 1 {
				b.guard(func() { // one that panics must not spare the others
					end, n := sessions[i].enforce()
					removed.Add(int64(n))
					if end {
						ended.Add(1)
					}
				})
			}
		})
	}
	workers.Wait()
	b.policyEnded.Add(ended.Load())
	return Change{Sessions: len(sessions), Ended: int(ended.Load()), Subscriptions: int(removed.Load()), Took: time.Since(began)}
}

// enforce asks the policy again about one session. Broker.enforcing is held by
// who called, for all of them.
func (s *session) enforce() (ended bool, removed int) {
	s.mu.Lock()
	c, may := s.client, s.may
	filters := s.filtersLocked()
	s.mu.Unlock()
	may.renew()
	text := ""
	if c != nil {
		if why := c.readmit(); why != "" {
			text = "policy changed: " + why
		}
	}
	for _, filter := range filters {
		d := may.Decide(bridge.Request{Action: bridge.ActionSubscribe, Name: filter})
		if d.Allowed || !s.unsubscribe(filter) {
			continue
		}
		removed++
		if text == "" {
			text = "policy changed: no longer allowed: subscription to " + filter + "; " + d.Reason
		}
	}
	if removed > 0 {
		s.saveSoon()
	}
	if c == nil || text == "" {
		return false, removed
	}
	return c.close(cause{reason: "policy-changed", code: 0x87, text: shorten(text)}), removed
}

// readmit asks the policy about the connection's CONNECT again, its will
// included, and says why it would be refused now; empty when it would not.
func (c *client) readmit() string {
	if d := c.may.Decide(c.asked); !d.Allowed {
		return d.Reason
	}
	if c.will == nil || c.broker.willCheck == willAtFire {
		return ""
	}
	if err := c.will.allowed(c.may); err != nil {
		c.willRevoked.Store(true)
		return "the will: " + err.Error()
	}
	return ""
}

// reasonSize bounds a reason string, in bytes.
const reasonSize = 240

// shorten makes a text fit for a reason string: a device may have a small
// buffer, and its own topics stand in it.
func shorten(text string) string {
	if len(text) > reasonSize {
		text = strings.ToValidUTF8(text[:reasonSize], "") + "…"
	}
	return text
}

// Standing calls each with what the sessions were let in for and subscribed to:
// every present CONNECT, and every subscription. It stops when each says no.
// For asking another policy about those who are there.
func (b *Broker) Standing(each func(*bridge.Principal, bridge.Request) bool) {
	for _, s := range b.sessions.all() {
		s.mu.Lock()
		c, who := s.client, s.who
		filters := s.filtersLocked()
		s.mu.Unlock()
		if c != nil && !each(who, c.asked) {
			return
		}
		for _, filter := range filters {
			if !each(who, bridge.Request{Action: bridge.ActionSubscribe, Name: filter}) {
				return
			}
		}
	}
}
