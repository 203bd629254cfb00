package main

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// nsDownSession is where the spool keeps which filters the sessions have from which
// messages come down, by host, client id and port.
const nsDownSession = "downsession"

// mostPast is how many sessions are remembered that no downlink uses now: routes down,
// an upstream or an endpoint that come back meet the session that they left, for as long
// as the broker keeps it.
const mostPast = 16

// downlinkID is the client id of what comes down.
func downlinkID(o mqtt.Options) string { return o.ClientID + "-down" }

// downSession is the [mqtt.Memory] of one session.
type downSession struct {
	spool *spool.Spool
	key   string
}

var _ mqtt.Memory = downSession{}

// downNote is what is kept of a session.
type downNote struct {
	Filters []string      `json:"filters"`
	At      time.Duration `json:"at"` // the spool's age when it was written
}

// sessionOf is the memory of the session that routes down from an upstream have.
func (g *gateway) sessionOf(o mqtt.Options) downSession {
	return downSession{g.spool, sessionKey(o)}
}

// sessionKey names a session, by host, client id and port. An upstream may have another
// name the next time.
func sessionKey(o mqtt.Options) string {
	host, port := o.Endpoint, ""
	if u, err := url.Parse(host); err == nil {
		host, port = u.Hostname(), u.Port()
	}
	return host + "/" + downlinkID(o) + "/" + port
}

// Filters implements [mqtt.Memory]. What is not a note is as good as none. Where there is
// none it is all that the notes of other ports have: who turns TLS on, or goes by 443,
// finds the same session, and to take back one too many costs nothing. Two brokers of one
// host keep a note each.
func (s downSession) Filters() (filters []string, known bool, err error) {
	text, err := s.spool.Get(nsDownSession, s.key)
	var n downNote
	switch {
	case err != nil:
		return nil, false, err
	case text != nil && json.Unmarshal(text, &n) == nil:
		return n.Filters, true, nil
	}
	err = s.spool.Scan(nsDownSession, s.key[:strings.LastIndexByte(s.key, '/')+1], func(_ string, value []byte) bool {
		var n downNote
		if json.Unmarshal(value, &n) == nil {
			filters, known = append(filters, n.Filters...), true
		}
		return true
	})
	return filters, known, err
}

// Keep implements [mqtt.Memory].
func (s downSession) Keep(ctx context.Context, filters []string) error {
	text, err := json.Marshal(downNote{Filters: filters, At: s.spool.Age()})
	if err != nil {
		return err
	}
	var batch bridge.Batch
	batch.Put(nsDownSession, s.key, text)
	done := make(chan error, 1)
	s.spool.Commit(&batch, func(_ bridge.Seq, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forgetSessions removes the notes of sessions that no downlink of the configuration
// uses, but for the newest of them. g.mu is held.
func (g *gateway) forgetSessions() {
	used := map[string]bool{}
	for _, u := range g.cfg.Upstreams {
		used[sessionKey(u.MQTT)] = true
	}
	at := map[string]time.Duration{} // of the others
	err := g.spool.Scan(nsDownSession, "", func(key string, value []byte) bool {
		var n downNote
		_ = json.Unmarshal(value, &n) // what is not a note is the oldest
		if !used[key] {
			at[key] = n.At
		}
		return true
	})
	if err != nil {
		g.log.Warn("the notes of former sessions of routes down cannot be read, and stay", "error", err)
		return
	}
	if len(at) <= mostPast {
		return
	}
	past := slices.SortedFunc(maps.Keys(at), func(a, b string) int { return cmp.Compare(at[a], at[b]) })
	var batch bridge.Batch
	for _, key := range past[:len(past)-mostPast] {
		batch.Put(nsDownSession, key, nil)
	}
	g.spool.Commit(&batch, nil) // what fails is done by the next start
}
