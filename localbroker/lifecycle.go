package localbroker

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// The topics of lifecycle events, which clients can only subscribe to (B197).
const (
	eventsRoot        = "$aws/events/"
	eventConnected    = "presence/connected"
	eventDisconnected = "presence/disconnected"
	eventFailed       = "presence/connect_failed"
	eventSubscribed   = "subscriptions/subscribed"
	eventUnsubscribed = "subscriptions/unsubscribed"
)

// versionKept is for how long the version number of an absent client without a
// session goes on growing (B196).
const versionKept = time.Hour

// lifecycle tells who comes, goes and subscribes (B192-B197), and numbers the
// connections of each client id. The numbers live in memory: after a restart
// they begin at 0 again, as B196 lets them after an hour away.
type lifecycle struct {
	broker *Broker
	most   int // absent clients whose number is kept

	mu     sync.Mutex
	known  map[string]*presence
	absent int       // of known
	sweeps time.Time // when known is looked through next
}

// presence is what the events of one connection have in common. It is
// immutable.
type presence struct {
	number  int64
	session string    // sessionIdentifier, the same for as long as the session lives
	until   time.Time // forgotten then; zero while connected
}

func newLifecycle(b *Broker, most int) *lifecycle {
	return &lifecycle{broker: b, most: most, known: map[string]*presence{}}
}

// eventful reports whether a client has events: in AWS's profiles, and without
// a wildcard in its id (B24).
func (c *client) eventful() bool { return c.profile.aws && !strings.ContainsAny(c.id, "+#") }

// connected numbers a connection whose CONNACK is out, and tells.
func (l *lifecycle) connected(c *client) {
	if !c.eventful() {
		return
	}
	c.presence = l.number(c)
	l.tell(c, eventConnected, func(e *event) { e.Version, e.IP = &c.presence.number, c.address() })
}

// number gives a connection the next number of its client id.
func (l *lifecycle) number(c *client) *presence {
	now := l.broker.now()
	here := &presence{session: newSessionIdentifier()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.known[c.id]; was != nil {
		gone := !was.until.IsZero()
		if gone {
			l.absent--
		}
		if !gone || was.until.After(now) {
			here.number = was.number + 1
			if c.present {
				here.session = was.session
			}
		}
	}
	l.known[c.id] = here
	return here
}

// disconnected tells that a connection has ended, and why. The client's number
// goes on growing for as long as its session is kept, an hour without one.
func (l *lifecycle) disconnected(c *client, why *cause) {
	if c.presence == nil {
		return
	}
	kept := c.expiry
	if kept == 0 {
		kept = versionKept
	}
	l.mu.Lock()
	if l.known[c.id] == c.presence {
		if l.absent >= l.most {
			l.forgetOneLocked()
		}
		l.known[c.id] = &presence{number: c.presence.number, session: c.presence.session, until: l.broker.now().Add(kept)}
		l.absent++
	}
	l.mu.Unlock()
	reason := disconnectReason(why)
	own := reason == reasonClientInitiated
	l.tell(c, eventDisconnected, func(e *event) { e.Own, e.Reason, e.Version = &own, reason, &c.presence.number })
}

// forgetOneLocked makes room when somebody goes through client ids. Who is
// forgotten begins at 0 again.
func (l *lifecycle) forgetOneLocked() {
	for id, p := range l.known {
		if !p.until.IsZero() {
			delete(l.known, id)
			l.absent--
			return
		}
	}
}

// sweep forgets, once a minute, the numbers whose time has come.
func (l *lifecycle) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.absent == 0 || now.Before(l.sweeps) {
		return
	}
	l.sweeps = now.Add(time.Minute)
	for id, p := range l.known {
		if !p.until.IsZero() && !p.until.After(now) {
			delete(l.known, id)
			l.absent--
		}
	}
}

// refused tells of a CONNECT that the policy has refused (B25, B27, B194).
func (l *lifecycle) refused(c *client, why *connectError) {
	if c.principal == nil || why.reason != "not-authorized" && why.reason != "will-not-authorized" || !c.eventful() {
		return
	}
	l.tell(c, eventFailed, func(e *event) {
		e.Session, e.Failure, e.IP = newSessionIdentifier(), "AUTHORIZATION_FAILED", c.address()
	})
}

// subscribed tells which filters were granted or, as eventUnsubscribed, taken
// back (B195).
func (l *lifecycle) subscribed(c *client, kind string, filters []string) {
	if c.presence == nil || len(filters) == 0 {
		return
	}
	l.tell(c, kind, func(e *event) { e.Topics = filters })
}

// tell hands an event to the announcer, when somebody would get it: a storm of
// connects that nobody watches costs one look into the index each.
func (l *lifecycle) tell(c *client, kind string, fill func(*event)) {
	topic := eventsRoot + kind + "/" + c.id
	routed, _ := l.broker.cloud(topic)
	if !routed && !l.broker.index.any(topic) {
		return
	}
	e := newEvent(c, kind, l.broker.now())
	fill(e)
	l.broker.announcer.tell(announcement{client: c.id, topic: topic, publish: func() {
		l.broker.announce(c.principal, e.message(topic), routed)
	}})
}

// newSessionIdentifier makes a name that no other session has.
func newSessionIdentifier() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// address is the client's, without the port.
func (c *client) address() string { return c.remote.Addr().Unmap().String() }
