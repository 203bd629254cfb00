package localbroker

import (
	"errors"
	"log/slog"
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
	codes := make([]byte, len(pk.Filters))
	granted := make([]*subscription, len(pk.Filters))
	for i, f := range pk.Filters {
		sub, code, why := c.grant(f)
		if why != nil {
			return why
		}
		codes[i] = c.subackCode(code)
		granted[i] = sub
	}
	_, _ = c.wire.Write(encodeCodes(packets.Suback, c.version, pk.PacketID, codes))
	for _, sub := range granted {
		if sub != nil {
			c.sendRetained(sub)
		}
	}
	return nil
}

func (c *client) refuseSubscribeQoS2() *cause {
	if c.version < 5 && c.profile.silent {
		return nil
	}
	return &cause{reason: "subscribe-qos2", code: 0x9B}
}

// grant decides on one filter. With a subscription it has been added and its
// retained messages are due; a denied one never enters the index (M14).
func (c *client) grant(f packets.Subscription) (*subscription, byte, *cause) {
	parsed, err := c.profile.parseFilter(f.Filter)
	if errors.Is(err, errReserved) && c.version < 5 && c.profile.aws {
		return nil, 0, &cause{reason: "reserved-filter"} // B132
	}
	if err != nil {
		return nil, 0x8F, nil // B131, B135, B136, B174
	}
	d := c.grants.Decide(bridge.Request{Action: bridge.ActionSubscribe, Name: f.Filter})
	if !d.Allowed {
		c.broker.drops.Count("subscribe-denied", c.id, f.Filter)
		c.broker.quiet.warn("subscribe-denied", "a subscription was refused", slog.String("client", c.id), slog.String("filter", f.Filter), slog.String("error", d.Reason))
		return nil, 0x87, nil // B129, B130
	}
	parsed.text, parsed.topic, parsed.group = strings.Clone(parsed.text), strings.Clone(parsed.topic), strings.Clone(parsed.group)
	sub := &subscription{session: c.session, filter: parsed, qos: min(f.Qos, 1), parent: !c.profile.aws}
	if !c.profile.aws {
		sub.noLocal, sub.asRetained, sub.identifier = f.NoLocal, f.RetainAsPublished, f.Identifier
	}
	existed, ok := c.session.subscribe(sub, c.settings.Limits.Subscriptions)
	if !ok {
		return nil, 0x97, nil // B127, B128
	}
	skip := !c.profile.aws && (f.RetainHandling == 2 || f.RetainHandling == 1 && existed) // [MQTT-3.3.1-10]
	if skip || parsed.group != "" {                                                       // B152
		return nil, sub.qos, nil
	}
	return sub, sub.qos, nil
}

// subackCode is a v5 reason code as the device's version knows it.
func (c *client) subackCode(code byte) byte {
	if code >= 0x80 && c.version < 5 {
		return 0x80
	}
	return code
}

// sendRetained delivers the retained messages of a new subscription.
func (c *client) sendRetained(sub *subscription) {
	for _, k := range c.broker.retained.match(sub.filter.topic, c.profile.aws) {
		d := newDelivery(k.msg, min(k.msg.QoS, sub.qos)) // B158
		d.retain, d.expires = true, k.expires
		if sub.identifier > 0 {
			d.identifiers = []int{sub.identifier}
		}
		c.session.offer(d)
	}
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
	codes := make([]byte, len(pk.Filters))
	for i, f := range pk.Filters {
		switch {
		case c.session.unsubscribe(f.Filter):
		case c.profile.aws: // B143
			if _, err := c.profile.parseFilter(f.Filter); err != nil && !errors.Is(err, errReserved) {
				codes[i] = 0x8F // B144
			}
		default:
			codes[i] = packets.CodeNoSubscriptionExisted.Code
		}
	}
	_, _ = c.wire.Write(encodeCodes(packets.Unsuback, c.version, pk.PacketID, codes))
	return nil
}
