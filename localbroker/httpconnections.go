package localbroker

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/rest"
)

func noClient(text string) error { return &rest.Refusal{Status: http.StatusNotFound, Text: text} }

// DeleteConnection implements rest.Caller (B71).
func (c *httpClient) DeleteConnection(clientID string, o rest.DeleteOptions) error {
	if err := c.about(bridge.Request{Action: bridge.ActionDeleteConnection, Name: clientID}); err != nil {
		return err
	}
	found, err := c.broker.sessions.disconnect(clientID, o.Clean, o.NoWill)
	if err == nil && !found {
		return noClient("the client is not connected")
	}
	return err
}

// disconnect ends the connection of a client id, with its session when clean
// says so and without its will when noWill does, and returns once it has left.
// The session of a client that is not connected ends too; without one, and
// without clean, there is nothing to be found.
func (r *registry) disconnect(id string, clean, noWill bool) (found bool, err error) {
	timeout := time.NewTimer(takeoverTimeout)
	defer timeout.Stop()
	s := r.find(id)
	if s == nil {
		return false, nil
	}
	if c := s.current(); c != nil {
		ours := c.close(cause{reason: "kicked", code: 0x98, clean: noWill, forget: clean})
		select {
		case <-c.gone:
		case <-timeout.C:
			return false, bridge.Errorf("disconnect", bridge.Unavailable, "the connection does not end")
		}
		found = true
		if ours {
			r.durable(id, c.removed)
			return true, nil
		}
	}
	if !clean {
		return found, nil
	}
	return r.end(s, noWill) || found, nil
}

// end ends a session whose device is absent, and returns once that is durable.
func (r *registry) end(s *session, noWill bool) bool {
	r.mu.Lock()
	s.mu.Lock()
	absent := r.byID[s.id] == s && s.client == nil
	if absent && noWill && s.will != nil {
		r.broker.dropWill(s.will) // in a commit before that of the end
		s.will = nil
	}
	s.mu.Unlock()
	var removed <-chan error
	if absent {
		r.endLocked(s)
		if s.keep != nil {
			removed = r.removeLocked(s.id, &bridge.Batch{})
		}
	}
	r.mu.Unlock()
	r.durable(s.id, removed)
	return absent
}

// durable waits until the end of a session is on the shelf. One that cannot take
// it now is told again later by [registry.removeLocked].
func (r *registry) durable(id string, removed <-chan error) {
	if removed == nil { // nothing was kept
		return
	}
	if err := <-removed; err != nil {
		r.broker.quiet.warn("session-unsaved", "the end of a session cannot be stored now, it is tried again", slog.String("client", id), slog.String("error", err.Error()))
	}
}

// Connection implements rest.Caller (Q47).
func (c *httpClient) Connection(clientID string) (*rest.Connection, error) {
	if err := c.about(bridge.Request{Action: bridge.ActionGetConnection, Name: clientID}); err != nil {
		return nil, err
	}
	if s := c.broker.sessions.find(clientID); s != nil {
		if at := s.connection(); at.Connected {
			return at, nil
		}
	}
	if at := c.broker.departures.find(clientID, c.broker.now()); at != nil {
		return at, nil
	}
	if s := c.broker.sessions.find(clientID); s != nil { // gone for long
		return s.connection(), nil
	}
	return nil, noClient("nothing is known of the client")
}

// connection is what AWS tells about a connection.
func (s *session) connection() *rest.Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return &rest.Connection{ClientID: s.id, ThingName: s.who.Thing.Name}
	}
	out := s.client.connection(s.expiry)
	out.Connected, out.ConnectedSince = true, s.client.since.UnixMilli()
	return out
}

// connection is what there is to tell about a connection whose session is kept
// so long.
func (c *client) connection(expiry time.Duration) *rest.Connection {
	out := &rest.Connection{
		ClientID: c.id, ThingName: c.principal.Thing.Name, CleanSession: expiry == 0,
		KeepAliveDuration: int(c.alive / time.Second), SessionExpiry: int64(expiry / time.Second),
		SourceIP: c.remote.Addr().Unmap().String(), SourcePort: int(c.remote.Port()),
	}
	if a, ok := c.wire.raw.LocalAddr().(*net.TCPAddr); ok {
		out.TargetIP, out.TargetPort = a.AddrPort().Addr().Unmap().String(), a.Port
	}
	return out
}

// Subscriptions implements rest.Caller (Q48).
func (c *httpClient) Subscriptions(clientID, after string, most int) ([]rest.Subscription, bool, error) {
	if err := c.about(bridge.Request{Action: bridge.ActionListSubscriptions, Name: clientID}); err != nil {
		return nil, false, err
	}
	s := c.broker.sessions.find(clientID)
	if s == nil {
		return nil, false, noClient("the client has no session")
	}
	var list []rest.Subscription
	s.mu.Lock()
	for text, sub := range s.subs {
		if text > after {
			list = append(list, rest.Subscription{Filter: text, QoS: sub.qos})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b rest.Subscription) int { return strings.Compare(a.Filter, b.Filter) })
	more := len(list) > most
	return list[:min(len(list), most)], more, nil
}
