package mqtt

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// health keeps the status of one client id and tells of its changes: by
// warnings, and in the log once per change.
type health struct {
	prefix   string // "uplink" or "downlink", before every warning code
	o        Options
	clientID string
	log      *slog.Logger
	hooks    upstream.Hooks

	mu       sync.Mutex
	isUp     bool
	endpoint string // while isUp
	since    time.Time
	connects int64
	err      error
	resting  bool // there is nothing to send
	cut      int  // links, one after the other, that the broker has ended at once and without a word
}

// fewCuts is how many links the broker must have ended at once and without a word
// for it to be more likely than chance that another one has our client id.
const fewCuts = 3

func (h *health) status() upstream.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return upstream.Status{Up: h.isUp, Idle: h.resting, Since: h.since, Connects: h.connects, Err: h.err, Way: h.endpoint}
}

// rest notes that there is no link because there is nothing to send.
func (h *health) rest() {
	h.mu.Lock()
	h.resting, h.err = true, nil
	h.mu.Unlock()
	h.hooks.Over(h.prefix + "-down")
}

// wanted notes that there is something to send.
func (h *health) wanted() {
	h.mu.Lock()
	h.resting = false
	h.mu.Unlock()
}

// forget ends what was told of a client id that nobody uses now.
func (h *health) forget() {
	h.mu.Lock()
	h.err, h.cut = nil, 0
	h.mu.Unlock()
	for _, of := range []string{"-down", "-refused", "-taken-over"} {
		h.hooks.Over(h.prefix + of)
	}
}

// up notes a link by the way of an endpoint.
func (h *health) up(endpoint string) {
	h.mu.Lock()
	h.endpoint = endpoint
	h.isUp, h.since, h.err = true, time.Now(), nil
	h.connects++
	h.mu.Unlock()
	h.hooks.Over(h.prefix + "-down")
	h.hooks.Over(h.prefix + "-refused")
	h.log.Info(h.prefix+" is up", "endpoint", endpoint)
}

// down notes an attempt that failed, or a link that ended.
func (h *health) down(err error) {
	h.mu.Lock()
	news := h.isUp || h.err == nil || h.err.Error() != err.Error()
	if h.isUp {
		h.count(err, time.Since(h.since))
		h.since = time.Now()
	}
	cut := h.cut
	h.isUp, h.err, h.endpoint = false, err, ""
	h.mu.Unlock()
	if errors.Is(err, ErrClosed) {
		return
	}
	if errors.Is(err, ErrIdle) {
		h.log.Info(h.prefix+" is closed", "endpoint", h.o.Endpoint, "reason", err)
		return
	}
	if errors.Is(err, ErrRenewed) {
		h.log.Info(h.prefix+" is renewed", "endpoint", h.o.Endpoint, "reason", err)
		return
	}
	if news {
		h.log.Warn(h.prefix+" is down", "endpoint", h.o.Endpoint, "error", err)
	}
	if e, ok := errors.AsType[*RefusedError](err); ok {
		h.hooks.Over(h.prefix + "-down")
		h.hooks.Warn(bridge.Warning{Code: h.prefix + "-refused", Severity: bridge.Critical, Text: fmt.Sprintf("%s: %v", h.o.Endpoint, e)})
		return
	}
	h.hooks.Over(h.prefix + "-refused")
	hint := ""
	if cut >= fewCuts {
		text := fmt.Sprintf("the broker has ended %d links after each other soon after they came up, without a reason: another client may use the client id %q; each gateway needs one of its own (client_id of the upstream, or gateway.id where that is empty)", cut, h.clientID)
		h.hooks.Warn(bridge.Warning{Code: h.prefix + "-taken-over", Severity: bridge.Degraded, Text: h.o.Endpoint + ": " + text})
		if cut == fewCuts {
			h.log.Warn(h.prefix+": "+text, "endpoint", h.o.Endpoint)
		}
		hint = "; " + text
	}
	h.hooks.Warn(bridge.Warning{Code: h.prefix + "-down", Severity: bridge.Degraded, Text: fmt.Sprintf("%s: %v; tried again until it works%s", h.o.Endpoint, err, hint)})
	if e, ok := errors.AsType[*DisconnectedError](err); ok && e.Code == packets.DisconnectSessionTakenOver {
		h.hooks.Warn(bridge.Warning{Code: h.prefix + "-taken-over", Severity: bridge.Critical, Text: fmt.Sprintf("another connection uses the client id %q at %s: give each gateway its own", h.clientID, h.o.Endpoint)})
	}
}

// count looks at how a link has ended that was up for so long. Two clients with one
// client id end each other's links in turn, and MQTT 3.1.1, and some brokers in MQTT
// 5, have no word for that. h.mu is held.
func (h *health) count(err error, lived time.Duration) {
	_, said := errors.AsType[*DisconnectedError](err)
	if errors.Is(err, bridge.ErrClosedByPeer) && !said && lived < upstream.StableAfter {
		h.cut++
		return
	}
	h.cut = 0
}

// stable notes that a link has lived for [upstream.StableAfter].
func (h *health) stable() {
	h.mu.Lock()
	h.cut = 0
	h.mu.Unlock()
	h.hooks.Over(h.prefix + "-taken-over")
}
