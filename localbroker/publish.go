package localbroker

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// publish takes a PUBLISH. It returns why the connection must end, or nil; all
// other answers leave through the intake, in order.
func (c *client) publish(pk *packets.Packet) *cause {
	if why := c.resolve(pk); why != nil {
		return why
	}
	c.broker.traffic.published(len(pk.Payload))
	r := &receipt{client: c, id: pk.PacketID}
	r.family = c.broker.family(c.profile, pk.TopicName)
	if !r.outside() { // what is refused in silence below is of the quota as well
		c.wire.throttle.passes(c.inbound.size, c.wire.done)
	}
	qos := pk.FixedHeader.Qos
	switch {
	case qos > c.profile.maximumQoS():
		return c.refuseQoS2(pk)
	case qos > 0 && pk.PacketID == 0:
		return &cause{reason: "protocol-error", code: 0x82} // [MQTT-2.2.1-3]
	case len(pk.Properties.SubscriptionIdentifier) > 0:
		return &cause{reason: "protocol-error", code: 0x82} // B102
	case strings.ContainsAny(pk.Properties.ResponseTopic, "+#"):
		return &cause{reason: "protocol-error", code: 0x82} // B101
	}
	if _, large := r.family.(LargeFamily); large {
		detach(pk)
		defer c.inbound.recycle() // as LargeFamily promises
	}
	r.Topic, r.Payload, r.QoS, r.Retain = pk.TopicName, pk.Payload, qos, pk.FixedHeader.Retain && r.family == nil
	if r.again(pk.FixedHeader.Dup) {
		return nil
	}
	if r.family == nil {
		if why := c.oversize(pk); why != nil {
			return why
		}
	}
	if c.version == 5 {
		r.Properties = properties(&pk.Properties)
		c.profile.clampExpiry(&r.Message)
	}
	r.parcel = parcel{
		broker: c.broker, from: c.id, msg: &r.Message, expires: c.broker.expiry(&r.Message),
		away: c.broker.forCloud(c.profile, r.Topic),
	}
	if qos > 0 && !c.intake.reserve(c.profile.receiveMaximum, c.version < 5) {
		return &cause{reason: "receive-maximum", code: 0x93} // B88
	}
	if qos == 2 && c.session.received.claim(r.id, c.wire.done) {
		c.intake.submit(r, errRepeated)
		return nil
	}
	c.intake.submit(r, c.check(r))
	return nil
}

// resolve replaces a topic alias by its topic, so that everything that follows,
// the policy above all, sees the topic (M6, B93-B96).
func (c *client) resolve(pk *packets.Packet) *cause {
	p := &pk.Properties
	if !p.TopicAliasFlag {
		if pk.TopicName == "" && c.version == 5 {
			return &cause{reason: "protocol-error", code: 0x82} // [MQTT-3.3.2-8]
		}
		return nil
	}
	alias := p.TopicAlias
	if alias == 0 || alias > c.profile.aliasMaximum {
		return &cause{reason: "topic-alias", code: 0x94} // B96
	}
	if pk.TopicName == "" {
		topic, bound := c.aliases[alias]
		if !bound {
			return &cause{reason: "topic-alias", code: 0x82} // B95
		}
		pk.TopicName = topic
		return nil
	}
	if len(pk.TopicName) > c.profile.topicSize {
		return nil // refused below; a table of long names is not kept
	}
	if c.aliases == nil {
		c.aliases = make(map[uint16]string, c.profile.aliasMaximum)
	}
	c.aliases[alias] = strings.Clone(pk.TopicName)
	return nil
}

// refuseQoS2: Maximum QoS 1 was announced to v5 (B76); on 3.1.1 AWS is silent
// (B75), the other profiles close so that the device's log shows it.
func (c *client) refuseQoS2(pk *packets.Packet) *cause {
	c.broker.drops.Count(errQoS2.reason, c.id, pk.TopicName)
	if c.version < 5 && c.settings.ignoresQoS2(c.profile) {
		return nil
	}
	return &cause{reason: errQoS2.reason, code: errQoS2.code}
}

// check applies the broker's own rules. Its errors are answered like those of
// the walk, in order; they have been counted.
func (c *client) check(r *receipt) error {
	if err := r.admits(); err != nil {
		c.broker.drops.CountError(err, c.id, r.Topic)
		return err
	}
	switch {
	case c.rate != nil && !c.rate.AllowN(c.broker.now(), 1):
		return errRate
	case c.version == 5 && r.QoS > 0 && c.intake.inUse(r.id):
		return errIDInUse
	}
	if refused := c.pacePublish(r); refused != nil {
		return refused
	}
	if r.Retain && len(r.Payload) > 0 && c.version == 5 && r.QoS > 0 && !c.broker.retained.fits(&r.Message) {
		return errRetainedFull
	}
	return nil
}

func (p *profile) propertySizes(m *bridge.Message) error {
	n := 0
	for _, u := range m.User {
		n += len(u.Key) + len(u.Value)
	}
	switch {
	case n > p.userProperties:
		return fmt.Errorf("user properties of %d bytes, at most %d", n, p.userProperties)
	case len(m.ContentType) > p.contentType:
		return fmt.Errorf("content type of %d bytes, at most %d", len(m.ContentType), p.contentType)
	case len(m.CorrelationData) > p.correlation:
		return fmt.Errorf("correlation data of %d bytes, at most %d", len(m.CorrelationData), p.correlation)
	}
	return nil
}

// respond carries out verdicts, in order: acknowledgements in one write, then
// what was accepted is retained and fanned out. It runs on the drainer and
// returns the buffer.
func (c *client) respond(answers []answer, acks []byte) []byte {
	for i := range answers {
		a := &answers[i]
		if a.action != actAccept && a.action != actRepeat {
			c.count(a)
		}
		switch a.action {
		case actAccept, actPretend, actRepeat:
			if a.QoS > 0 {
				acks = a.ack(acks, 0)
			}
		case actAck:
			acks = a.ack(acks, a.code)
		case actDisconnect:
			_, _ = c.wire.Write(acks)
			acks = acks[:0]
			c.close(cause{reason: bridge.KindOf(a.err).String(), code: a.code, err: a.err})
		}
	}
	if len(acks) > 0 {
		c.wire.writeNow(acks) // fails only when the connection has ended
	}
	for i := range answers {
		if answers[i].left != nil {
			answers[i].left()
		}
		if answers[i].action == actAccept && answers[i].family == nil && !c.handedOver(&answers[i].Message) {
			answers[i].parcel.deliver(offer)
		}
	}
	return acks
}

// countPublish counts a PUBLISH that the policy refused, by the permission that
// it lacked.
func (b *Broker) countPublish(err error) {
	e, ok := errors.AsType[*bridge.Error](err)
	switch {
	case !ok || e.Kind != bridge.NotAuthorized:
	case e.Op == bridge.OpRetain:
		b.authErrors.count(authPublishRetained)
	default:
		b.authErrors.count(authPublishIn)
	}
}

// count puts a refusal into the drop log, unless whoever refused has done so:
// the walk for what the policy and the routes say, check for the topic and
// size.
func (c *client) count(a *answer) {
	if errors.Is(a.err, errGone) {
		return
	}
	kind := bridge.KindOf(a.err)
	reason := kind.String()
	c.broker.countPublish(a.err)
	if r, ok := errors.AsType[*refusal](a.err); ok {
		reason = r.reason
		c.broker.drops.Count(reason, c.id, a.Topic)
	} else if kind != bridge.NotAuthorized && kind != bridge.TopicInvalid && kind != bridge.PayloadInvalid && kind != bridge.TooLarge {
		c.broker.drops.CountError(a.err, c.id, a.Topic)
	}
	c.broker.quiet.warn(reason, "a publish was refused", slog.String("client", c.id), slog.String("topic", a.Topic), slog.String("error", a.err.Error()))
}
