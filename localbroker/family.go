package localbroker

import (
	"errors"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// Family is a service of the gateway that has a family of topics for itself:
// what devices publish to them is handed to it instead of taking the walk. It is
// neither routed nor retained nor shown to subscribers, whatever the listener's
// rules about "$" topics say. Its methods may be called concurrently, and none
// may block.
type Family interface {
	// Owns reports whether a topic, or the filter of a subscription, is about
	// the family on listeners of a profile. It is asked about those that begin
	// with "$".
	Owns(profile, topic string) bool

	// Admits decides on topic and size of a PUBLISH, in place of the profile. An
	// error is an *bridge.Error. It is asked before the policy.
	Admits(m *bridge.Message) error

	// Subscribes reports whether a client may subscribe to a filter about the
	// family, if its policy lets it.
	Subscribes(who *bridge.Principal, filter string) bool

	// Take takes what a device has published and may publish. done is called
	// once, from any goroutine, and then the device has its answer: an error is
	// answered by the table of verdicts, or as [Refusal] and [Answered] say. When
	// the answer is to hold the message, Take is called again with the same. It is
	// called by the device's own goroutine, so that one which writes to a file
	// keeps nobody else waiting.
	Take(r FamilyRequest, done func(error))
}

// LargeFamily is a Family that takes larger packets than the profile does. Its Take
// keeps nothing of the payload when it returns, and never has a message held: the
// next packet is read into the same memory.
type LargeFamily interface {
	Family

	// LargestPacket is the largest PUBLISH on listeners of a profile.
	LargestPacket(profile string) int
}

// FamilyRequest is one PUBLISH to a family.
type FamilyRequest struct {
	From     *bridge.Principal // of the connection
	May      bridge.Grants     // what it may do now
	Message  *bridge.Message   // Retain is never set
	PacketID uint16            // 0 for QoS 0
	Largest  int               // largest packet that the device takes, by its own word

	// After has fn called when the PUBLISH has been answered. It is for Take,
	// before it calls done.
	After func(fn func())
}

// Refusal answers a PUBLISH of QoS 1 or 2 with a reason code of MQTT 5; a device
// of 3.1.1, which has none, gets no answer. Nothing of it is held.
func Refusal(reason string, code byte) error { return &refusal{reason: reason, code: code} }

// Answered is Refusal for a service that tells its devices more in a message: one
// of 3.1.1 gets its acknowledgement, and reads there what became of it.
func Answered(reason string, code byte) error {
	return &refusal{reason: reason, code: code, acked: true}
}

// largestPacket is the largest PUBLISH that a listener of this profile takes.
func (b *Broker) largestPacket(p *profile) int {
	n := p.packetSize
	for _, f := range b.families {
		if l, ok := f.(LargeFamily); ok {
			n = max(n, l.LargestPacket(p.name))
		}
	}
	return n
}

// oversize refuses a PUBLISH that was read because a service might take it.
func (c *client) oversize(pk *packets.Packet) *cause {
	size, limit := 2+pk.FixedHeader.Remaining, c.profile.packetSize // one byte of type, and those of the length
	for n := pk.FixedHeader.Remaining >> 7; n > 0; n >>= 7 {
		size++
	}
	if size <= limit {
		return nil
	}
	return &cause{reason: "too-large", code: c.profile.tooLargeCode, err: &tooLargeError{size, limit}} // B84
}

// again reports whether a PUBLISH comes again while the family still works on it:
// its answer is on the way.
func (r *receipt) again(dup bool) bool {
	return r.family != nil && dup && r.QoS > 0 && r.client.intake.inUse(r.id)
}

// family finds the service that has a topic, or nil.
func (b *Broker) family(p *profile, topic string) Family {
	if topic == "" || topic[0] != '$' {
		return nil
	}
	for _, f := range b.families {
		if f.Owns(p.name, topic) {
			return f
		}
	}
	return nil
}

// errForeign refuses a filter that the service does not let the client have.
// Unlike other reserved ones it never ends the connection of a 3.1.1 device.
var errForeign = errors.New("its topics belong to a service, which does not let this client have them")

// errFamilyOnly is for wills and HTTP, which have no connection to be answered on.
var errFamilyOnly = errors.New("its topic belongs to a service that answers on MQTT connections: publish there")

// admitsFrom applies the profile's rules to a message that comes without an MQTT
// connection, or is a will.
func (b *Broker) admitsFrom(p *profile, m *bridge.Message) error {
	if b.family(p, m.Topic) != nil {
		return &bridge.Error{Op: bridge.OpPublish, Kind: bridge.TopicInvalid, Err: errFamilyOnly}
	}
	return p.admits(m)
}

// admits applies the rules of the profile, or of the family, to a PUBLISH.
func (r *receipt) admits() error {
	if r.family == nil {
		return r.client.profile.admits(&r.Message)
	}
	if strings.ContainsAny(r.Topic, "+#") {
		return bridge.Errorf(bridge.OpPublish, bridge.TopicInvalid, "wildcard in a topic")
	}
	if err := r.client.profile.propertySizes(&r.Message); err != nil {
		return &bridge.Error{Op: bridge.OpPublish, Kind: bridge.TooLarge, Err: err}
	}
	return r.family.Admits(&r.Message)
}

// walk gives the receipt to the walk, or to the service that has its topic.
func (r *receipt) walk() {
	c, may := r.client, r.client.may.now()
	if r.family == nil {
		c.broker.ingest.Up(c.principal, may, &r.Message, r.extend, r.done)
		return
	}
	if err := publishable(may, &r.Message); err != nil {
		c.broker.drops.CountError(err, c.id, r.Topic)
		r.done(err)
		return
	}
	r.family.Take(FamilyRequest{From: c.principal, May: may, Message: &r.Message, PacketID: r.id, Largest: c.announced, After: func(fn func()) { r.left = fn }}, r.done)
}

// filterFor checks a filter that a client subscribes to.
func (b *Broker) filterFor(p *profile, who *bridge.Principal, text string) (filter, error) {
	parsed, err := p.parseFilter(text)
	f := b.family(p, parsed.topic)
	if f == nil || err != nil && !errors.Is(err, errReserved) {
		return parsed, err
	}
	if !f.Subscribes(who, parsed.topic) {
		return parsed, errForeign
	}
	return parsed, p.filterForm(parsed)
}

// outside reports whether AWS has no such topic, so that none of its quotas of pace
// is about what a device publishes there. That of a stream is asked for on topics of
// AWS's own, and counts.
func (r *receipt) outside() bool {
	_, large := r.family.(LargeFamily)
	return large
}

// answers reports whether a delivery is what a service of the gateway says: AWS
// discards and delays none of its own, and nobody could spread them.
func (s *session) answers(d *delivery) bool {
	return d.large || s.broker.family(s.profile, d.msg.Topic) != nil
}

// Tell hands a message of a service to whoever subscribes to its topic, as if a
// device had published it: kept sessions get it when they come back.
func (b *Broker) Tell(m *bridge.Message) {
	b.fanOut(&parcel{broker: b, msg: m, expires: b.expiry(m), answer: true})
}

// Hand gives a message of a service to the connection that asked for it, if that
// is still the same and subscribes to the topic, and to the present devices of
// the same thing that do. The profile's bound of a payload does not count.
//
// left is called once with what became of the copy for who asked: ResultAcked
// when it has been sent (QoS 0) or acknowledged, ResultAbsent when nobody asks
// any more or may receive it, ResultRefused when it is larger than the device
// takes, ResultRetry when its queue is full, ResultLost when it went away. It may
// be called with locks of the broker held, so it must not call the broker, nor
// block.
func (b *Broker) Hand(asker *bridge.Principal, m *bridge.Message, left func(bridge.Result)) {
	to, handed := b.asking(asker), false
	for _, r := range b.receivers("", m.Topic, nil) {
		switch {
		case r.session == to && !handed:
			handed = true
			d := r.delivery(m, b.expiry(m))
			d.large, d.counted, d.await = true, true, handoff(left)
			switch r.session.offer(d) {
			case takenQueued:
			case takenFull:
				d.done(bridge.ResultRetry)
			default:
				d.done(bridge.ResultAbsent)
			}
		case r.session != to && asker.Thing.Name != "" && r.session.isOf(asker.Thing.Name):
			d := r.delivery(m, b.expiry(m))
			d.large, d.counted = true, true
			r.session.offer(d)
		}
	}
	if !handed {
		left(bridge.ResultAbsent)
	}
}

// handoff is told what became of one copy. It is an awaiter.
type handoff func(bridge.Result)

// settle implements awaiter.
func (h handoff) settle(r bridge.Result) { h(r) }
