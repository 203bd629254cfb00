package localbroker

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// will is what a device leaves behind, with all of its properties (M12, B170).
type will struct {
	message bridge.Message
	delay   time.Duration // 0 where it does not count (B169)
}

// newWill takes the will of a CONNECT, with all its properties (B170).
func newWill(h *packets.Packet, p *profile, delayed bool) *will {
	w := &will{message: bridge.Message{
		Topic: h.Connect.WillTopic, Payload: h.Connect.WillPayload,
		QoS: h.Connect.WillQos, Retain: h.Connect.WillRetain,
	}}
	if h.ProtocolVersion == 5 {
		w.message.Properties = properties(&h.Connect.WillProperties)
		p.clampExpiry(&w.message)
		if delayed {
			w.delay = time.Duration(h.Connect.WillProperties.WillDelayInterval) * time.Second
		}
	}
	return w
}

// The values of Deps.WillCheck: when the policy is asked about a will's topic.
// AWS's own pages disagree (B27).
const (
	willBoth      = "both"
	willAtConnect = "connect"
	willAtFire    = "fire"
)

// allowed asks the policy whether the will may be published. It is an
// *bridge.Error of Op OpPublish or OpRetain when not.
func (w *will) allowed(g bridge.Grants) error { return publishable(g, &w.message) }

func publishable(g bridge.Grants, m *bridge.Message) error {
	if d := g.Decide(bridge.Request{Action: bridge.ActionPublish, Name: m.Topic}); !d.Allowed {
		return bridge.Errorf(bridge.OpPublish, bridge.NotAuthorized, "%s", d.Reason)
	}
	if !m.Retain {
		return nil
	}
	if d := g.Decide(bridge.Request{Action: bridge.ActionRetainPublish, Name: m.Topic}); !d.Allowed {
		return bridge.Errorf(bridge.OpRetain, bridge.NotAuthorized, "%s", d.Reason)
	}
	return nil
}

// clampExpiry keeps Message Expiry in the profile's bounds (B97, B98).
func (p *profile) clampExpiry(m *bridge.Message) {
	if m.HasExpiry {
		m.Expiry = min(max(m.Expiry, p.messageExpiryMin), p.messageExpiryMax)
	}
}
