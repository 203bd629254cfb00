package localbroker

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// subscribe answers a SUBSCRIBE. It returns why the connection must end, or
// nil.
func (c *client) subscribe(pk *packets.Packet) *cause {
	if len(pk.Filters) == 0 || pk.PacketID == 0 {
		return &cause{reason: "protocol-error", code: 0x82} // [MQTT-3.8.3-2]
	}
	if len(pk.Filters) > c.profile.filters {
		return &cause{reason: "filter-count", code: 0x97} // B125
	}
	if c.profile.aws && len(pk.Properties.SubscriptionIdentifier) > 0 {
		return &cause{reason: "subscription-identifier", code: 0xA1} // B137
	}
	for _, f := range pk.Filters {
		if f.Qos > 1 && c.profile.aws {
			return c.refuseSubscribeQoS2() // B123, B124
		}
		if f.NoLocal && strings.HasPrefix(f.Filter, shareRoot) && !c.profile.aws {
			return &cause{reason: "protocol-error", code: 0x82} // [MQTT-3.8.3-4]
		}
	}
	if c.version == 5 && c.intake.inUse(pk.PacketID) {
		c.answerInUse(packets.Suback, pk)
		return nil
	}
	plan, generation := make([]grant, len(pk.Filters)), c.broker.generation.Load()
	for i, f := range pk.Filters {
		g, why := c.grant(f)
		if why != nil {
			return why
		}
		if plan[i] = g; g.sub != nil && asksSys(g.sub.filter.topic) {
			c.broker.sys.refresh()
		}
	}
	c.session.subscribe(c, pk.PacketID, plan, generation)
	c.broker.lifecycle.subscribed(c, eventSubscribed, granted(plan))
	if f := c.broker.events.Subscribed; f != nil {
		f(c.info())
	}
	return nil
}

// answerInUse refuses all of a packet whose id a PUBLISH of the device still has
// (B138).
func (c *client) answerInUse(kind byte, pk *packets.Packet) {
	_, _ = c.wire.Write(encodeCodes(kind, c.version, pk.PacketID, bytes.Repeat([]byte{errIDInUse.code}, len(pk.Filters))))
}

func (c *client) refuseSubscribeQoS2() *cause {
	if c.version < 5 && c.settings.ignoresQoS2(c.profile) {
		return nil
	}
	return &cause{reason: "subscribe-qos2", code: 0x9B}
}

// grant is the decision on one filter.
type grant struct {
	sub      *subscription // nil: refused
	code     byte          // v5 reason code of a refusal
	handling byte          // Retain Handling, 0 where it does not count (B141)
	silent   bool          // it is sent no retained messages
}

// granted lists the filters of a plan that was carried out.
func granted(plan []grant) []string {
	var out []string
	for _, g := range plan {
		if g.sub != nil {
			out = append(out, g.sub.filter.text)
		}
	}
	return out
}

// grant decides on one filter; a denied one never enters the index (M14).
func (c *client) grant(f packets.Subscription) (grant, *cause) {
	parsed, err := c.broker.filterFor(c.profile, c.principal, f.Filter)
	if errors.Is(err, errReserved) && c.version < 5 && c.profile.aws {
		return grant{}, &cause{reason: "reserved-filter", code: 0x8F} // B132
	}
	if err != nil {
		if !errors.Is(err, errReserved) && c.settings.endsOnFilter(c.version) {
			return grant{}, &cause{reason: "filter-invalid", code: 0x8F, text: err.Error()} // B191
		}
		return grant{code: 0x8F}, nil // B131, B135, B136, B174
	}
	if !c.maySubscribe(f.Filter) {
		if c.settings.DeniedSubscribe.disconnects(c.version) {
			return grant{}, &cause{reason: bridge.NotAuthorized.String(), code: 0x87}
		}
		return grant{code: 0x87}, nil // B129, B130
	}
	if !c.paceSubscribe(parsed, true) {
		return grant{code: 0x97}, nil // B139, B183
	}
	parsed.text, parsed.topic, parsed.group = strings.Clone(parsed.text), strings.Clone(parsed.topic), strings.Clone(parsed.group)
	g := grant{sub: &subscription{session: c.session, filter: parsed, qos: min(f.Qos, c.profile.maximumQoS()), parent: !c.profile.aws,
		each: c.settings.Switches.Overlapping == switchEach}}
	if !c.profile.aws {
		g.sub.noLocal, g.sub.identifier = f.NoLocal, f.Identifier
	}
	if c.settings.honoursRetain(c.profile) { // B141
		g.sub.asRetained, g.handling = f.RetainAsPublished, f.RetainHandling
	}
	return g, nil
}

// maySubscribe asks the policy about a filter as it was sent, $share included.
func (c *client) maySubscribe(text string) bool {
	d := c.may.Decide(bridge.Request{Action: bridge.ActionSubscribe, Name: text})
	if d.Allowed {
		return true
	}
	c.broker.authErrors.count(authSubscribe)
	c.broker.drops.Count("subscribe-denied", c.id, text)
	c.broker.quiet.warn("subscribe-denied", "a subscription was refused", slog.String("client", c.id), slog.String("filter", text), slog.String("error", d.Reason))
	return false
}

// subackCode is a v5 reason code as the device's version knows it.
func (c *client) subackCode(code byte) byte {
	if code >= 0x80 && c.version < 5 {
		return 0x80
	}
	return code
}

// unsubscribe answers an UNSUBSCRIBE.
func (c *client) unsubscribe(pk *packets.Packet) *cause {
	if len(pk.Filters) == 0 || pk.PacketID == 0 {
		return &cause{reason: "protocol-error", code: 0x82} // [MQTT-3.10.3-2]
	}
	if len(pk.Filters) > c.profile.filters {
		c.broker.quiet.warn("filter-count", "an UNSUBSCRIBE was ignored", slog.String("client", c.id))
		return nil // B126: no UNSUBACK, the subscriptions stay
	}
	if c.version == 5 && c.intake.inUse(pk.PacketID) {
		c.answerInUse(packets.Unsuback, pk)
		return nil
	}
	codes := make([]byte, len(pk.Filters))
	var removed []string
	for i, f := range pk.Filters {
		parsed, err := c.profile.parseFilter(f.Filter)
		if err == nil && parsed.group != "" && !c.paceSubscribe(parsed, false) && c.version == 5 {
			codes[i] = 0x80 // B145, B183: AWS's UNSUBACK has no 0x97, and that of 3.1.1 no way to say it
			continue
		}
		switch {
		case c.session.unsubscribe(f.Filter):
			removed = append(removed, strings.Clone(f.Filter))
		case c.profile.aws: // B143
			if err != nil && !errors.Is(err, errReserved) {
				codes[i] = 0x8F // B144
			}
		default:
			codes[i] = packets.CodeNoSubscriptionExisted.Code
		}
	}
	if len(removed) > 0 && c.session.save() != nil {
		for i, f := range pk.Filters {
			if slices.Contains(removed, f.Filter) {
				codes[i] = 0x80 // B145; the sweep makes it durable
			}
		}
	}
	_, _ = c.wire.Write(encodeCodes(packets.Unsuback, c.version, pk.PacketID, codes))
	c.broker.lifecycle.subscribed(c, eventUnsubscribed, removed)
	return nil
}
