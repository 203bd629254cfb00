package localbroker

import (
	"cmp"
	"slices"
	"time"
)

// SessionInfo is one session, for people and metrics.
type SessionInfo struct {
	ClientID  string
	User      string // user, or the listener's name for anonymous clients
	Thing     string
	Listener  string
	Remote    string // address and port; empty while absent
	Protocol  byte   // 4 or 5
	Connected bool
	Since     time.Time // connected since; absent: the session expires then
	Filters   []string  // subscriptions, sorted
	Waiting   int       // messages that wait or are unacknowledged
	Bytes     int       // their bytes
}

// Status is the broker at a glance.
type Status struct {
	Sockets     int   // open sockets, those before CONNECT included
	Connections int   // devices that are connected
	Sessions    int   // of connected and of absent devices
	Holding     int64 // connections whose message cannot be stored now
	QueuedBytes int64 // waiting for devices, on the shelf and in memory
	Retained    int   // retained messages
	PolicyEnded int64 // connections that a change of policy has ended

	// AuthErrors counts what the policy refused since the start, by the names
	// of AWS's metrics: "Connect.AuthError", "PublishIn.AuthError",
	// "PublishOut.AuthError", "PublishRetained.AuthError", "Subscribe.AuthError".
	AuthErrors map[string]int64

	Quotas       []QuotaCount  // what was above AWS's quotas of pace, by quota
	SilentCloses []SilentClose // MQTT 3.1.1 connections closed for what MQTT 5 is told, by reason

	Requests []RequestCount // over HTTP, by operation and status
}

// Sessions lists all sessions by client id.
func (b *Broker) Sessions() []SessionInfo {
	all := b.sessions.all()
	out := make([]SessionInfo, 0, len(all))
	for _, s := range all {
		out = append(out, s.info())
	}
	slices.SortFunc(out, func(a, b SessionInfo) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return out
}

// Status counts.
func (b *Broker) Status() Status {
	st := Status{Connections: int(b.connected.Load()), Holding: b.holding.Load(), QueuedBytes: b.store.bytes.Load() + b.queued.loose.Load(),
		PolicyEnded: b.policyEnded.Load(), AuthErrors: b.authErrors.byName(), Quotas: b.quotas.list(), SilentCloses: b.silences.list(),
		Requests: b.requests.list()}
	for _, l := range b.listeners {
		st.Sockets += int(l.active.Load())
	}
	b.sessions.mu.Lock()
	st.Sessions = len(b.sessions.byID)
	b.sessions.mu.Unlock()
	b.retained.mu.RLock()
	st.Retained = len(b.retained.byTopic)
	b.retained.mu.RUnlock()
	return st
}

// Kick ends the connection of a client id (v5: DISCONNECT 0x98, B188) and
// reports whether there was one. Its session is kept as it asked.
func (b *Broker) Kick(clientID string) bool {
	s := b.sessions.find(clientID)
	if s == nil {
		return false
	}
	c := s.current()
	if c == nil {
		return false
	}
	c.close(cause{reason: "kicked", code: 0x98})
	return true
}

func (s *session) info() SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := SessionInfo{
		ClientID: s.id, User: s.who.User, Thing: s.who.Thing.Name, Listener: s.who.Listener,
		Protocol: s.version, Since: s.broker.now().Add(s.expires - s.broker.age()),
		Filters: s.filtersLocked(),
	}
	i.Waiting, i.Bytes = s.waitingLocked()
	if c := s.client; c != nil {
		i.Connected, i.Since, i.Remote = true, c.since, c.remote.String()
	}
	return i
}

// waitingLocked is what waits or is unacknowledged.
func (s *session) waitingLocked() (messages, bytes int) {
	messages, bytes = s.out.loose.count, s.out.loose.bytes
	if s.keep != nil {
		messages, bytes = messages+s.keep.count, bytes+int(s.keep.bytes)
	}
	return messages, bytes
}

// info is the connection's part, for callbacks.
func (c *client) info() SessionInfo {
	return SessionInfo{
		ClientID: c.id, User: c.principal.User, Thing: c.principal.Thing.Name, Listener: c.listener.name,
		Remote: c.remote.String(), Protocol: c.version, Connected: true, Since: c.since,
	}
}
