package localbroker

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
)

// connectError refuses a CONNECT.
type connectError struct {
	reason string // kebab-case, for log and callbacks
	v5, v3 byte   // CONNACK codes; 0 closes without CONNACK
	err    error
}

func (e *connectError) Error() string {
	if e.err == nil {
		return e.reason
	}
	return e.reason + ": " + e.err.Error()
}

func (e *connectError) Unwrap() error { return e.err }

func refuse(reason string, v5, v3 byte, err error) error {
	return &connectError{reason, v5, v3, err}
}

// connect decides on the CONNECT in c.hello: form, who it is, and whether the
// policy lets it and its will in. Then the connection has its session. The
// refusal has been answered when connect returns it.
func (c *client) connect(clientID string) error {
	c.decided, c.id, c.version = true, clientID, c.hello.ProtocolVersion
	err := c.admit()
	if err == nil {
		return nil
	}
	var refused *connectError
	if !errors.As(err, &refused) {
		refused = &connectError{"internal", 0x80, 3, err}
	}
	if code := c.refusal(refused); code != 0 {
		reason := refused.reason
		if h := c.hello.Properties; c.profile.silent && h.RequestProblemInfoFlag && h.RequestProblemInfo == 0 {
			reason = "" // B45
		}
		c.wire.writeLast(encodeRefusal(c.version, code, reason))
	}
	c.broker.refused(c, refused)
	return err
}

// refusal is the CONNACK code of a refused CONNECT, 0 for none: 3.1.1 has few
// codes, and on AWS none for a quota (B32).
func (c *client) refusal(why *connectError) byte {
	switch {
	case c.version == 5:
		return why.v5
	case c.settings.Switches.RefusedConnectV3 == switchClose, c.profile.silent && why.v3 == 3:
		return 0
	}
	return why.v3
}

func (c *client) admit() error {
	if err := c.form(); err != nil {
		return err
	}
	if c.listener.full(c.wire.raw, c.settings.Limits.Connections) {
		return refuse("connection-count", 0x97, 3, nil) // B31
	}
	if err := c.introduce(); err != nil {
		return err
	}
	if err := c.paceConnect(); err != nil {
		return err
	}
	return c.broker.sessions.attach(c) // asks again if the policy changes meanwhile
}

// introduce finds out who it is and what they may do, by the listener's settings
// as they are now: whoever opened the socket before a reload, and says CONNECT
// after it, must not come in by what has been taken back.
func (c *client) introduce() error {
	c.decidedIn = c.broker.generation.Load()
	c.settings = c.listener.settings.Load()
	c.profile = c.settings.profile
	c.inbound.largest, c.inbound.publish = c.profile.packetSize, c.broker.largestPacket(c.profile)
	p, err := c.identify()
	if err != nil {
		return err
	}
	c.principal = p
	c.negotiate()
	return c.authorize()
}

// greetings bounds the bytes of all CONNECTs that are under way: anybody on the
// network can announce a large one.
const greetings = 16 << 20

// mayGreet takes a CONNECT's size from that bound.
func (c *client) mayGreet(size int) bool {
	c.greeting = int64(size)
	if c.broker.greetings.Add(c.greeting) <= greetings {
		return true
	}
	c.greeted()
	return false
}

// greeted gives it back, once the CONNECT has been decided on.
func (c *client) greeted() {
	c.broker.greetings.Add(-c.greeting)
	c.greeting, c.hello = 0, nil
}

// form checks what does not depend on who is asking.
func (c *client) form() error {
	h, p := c.hello, c.profile
	switch {
	case h.Properties.AuthenticationMethod != "" || len(h.Properties.AuthenticationData) > 0:
		return refuse("enhanced-authentication", 0x8C, 0, nil) // B47
	case len(c.id) > p.clientIDSize:
		return refuse("client-id", 0x85, 2, fmt.Errorf("%d bytes, at most %d", len(c.id), p.clientIDSize)) // B20
	case strings.HasPrefix(c.id, "$") && c.settings.Switches.DollarClientID == switchRefuse:
		return refuse("client-id", 0x85, 2, errors.New("begins with $")) // B23
	case userSize(h.Properties.User) > p.userProperties:
		return refuse("user-properties", 0x97, 0, nil) // B48
	case h.Properties.MaximumPacketSize > 0 && h.Properties.MaximumPacketSize < p.smallestPacket:
		return refuse("maximum-packet-size", 0x80, 0, nil) // B40
	}
	if !h.Connect.WillFlag {
		return nil
	}
	switch {
	case h.Connect.WillQos > p.maximumQoS():
		return refuse("will-qos", 0x9B, 0, nil) // B29, B30
	case len(h.Connect.WillPayload) > p.payloadSize:
		return refuse("will-size", 0x97, 0, nil)
	}
	will := bridge.Message{Properties: properties(&h.Connect.WillProperties)}
	if err := p.propertySizes(&will); err != nil {
		return refuse("will-size", 0x97, 0, err) // Q39-Q41
	}
	if err := p.topicName(h.Connect.WillTopic); err != nil {
		return refuse("will-topic", 0x90, 0, err) // B28, B172
	}
	if c.broker.family(p, h.Connect.WillTopic) != nil {
		return refuse("will-topic", 0x90, 0, errFamilyOnly)
	}
	if p.aws && h.Connect.WillRetain && h.Connect.WillTopic[0] == '$' {
		return refuse("will-topic", 0x90, 0, errReserved) // B83, for the PUBLISH that it becomes
	}
	c.will = newWill(h, p, c.settings.honoursDelay(p))
	return nil
}

// userSize is the bytes of a packet's user properties (Q39).
func userSize(user []packets.UserProperty) (n int) {
	for _, u := range user {
		n += len(u.Key) + len(u.Val)
	}
	return n
}

// negotiate settles keep-alive, session expiry and windows.
func (c *client) negotiate() {
	h, p := c.hello, c.profile
	c.alive = p.keepAlive(h.Connect.Keepalive)
	longest := p.sessionExpiry
	if c.version == 5 {
		asked := time.Duration(h.Properties.SessionExpiryInterval) * time.Second
		c.expiry = min(asked, longest) // B43
		c.adjusted = asked > longest
	} else if !h.Connect.Clean {
		c.expiry = longest // B59
	}
	c.window = p.window
	if n := int(h.Properties.ReceiveMaximum); n > 0 {
		c.window = min(n, p.window) // B39
	}
	c.announced = math.MaxInt
	if n := h.Properties.MaximumPacketSize; n > 0 {
		c.announced = int(n)
	}
	c.largest = min(p.packetSize, c.announced) // B41
	c.terse = h.Properties.RequestProblemInfoFlag && h.Properties.RequestProblemInfo == 0
	if n := c.settings.Limits.PublishesPerSec; n > 0 {
		c.rate = rate.NewLimiter(rate.Limit(n), n)
	}
}

// authorize asks the policy for the connection and for its will.
func (c *client) authorize() error {
	may, err := c.authorityOf()
	if err != nil {
		return refuse("not-authorized", 0x87, 5, err)
	}
	c.may = may
	c.asked = bridge.Request{Action: bridge.ActionConnect, Name: c.id, Persistent: c.expiry > 0}
	if c.will != nil {
		c.asked.Will, c.asked.WillTopic = true, c.will.message.Topic
	}
	if d := may.Decide(c.asked); !d.Allowed {
		return refuse("not-authorized", 0x87, 5, errors.New(d.Reason)) // B25
	}
	if c.will != nil && c.broker.willCheck != willAtFire {
		if err := c.will.allowed(may); err != nil {
			return refuse("will-not-authorized", 0x87, 5, err) // B27
		}
	}
	return nil
}

// refused logs a refusal at a bounded rate and tells the callbacks.
func (b *Broker) refused(c *client, why *connectError) {
	text := ""
	if why.err != nil {
		text = why.err.Error()
	}
	switch why.reason {
	case "not-authorized", "will-not-authorized", "certificate", "unknown-principal", "bad-login":
		b.authErrors.count(authConnect)
	}
	attrs := []slog.Attr{slog.String("client", c.id), slog.String("listener", c.listener.name), slog.String("remote", c.remote.String()), slog.String("error", text)}
	if said := c.unsaidRefusal(why); said != "" {
		attrs = append(attrs, slog.String("mqtt5_would_say", said))
	}
	b.quiet.warn(why.reason, "a CONNECT was refused", attrs...)
	b.lifecycle.refused(c, why)
	if f := b.events.Refused; f != nil {
		f(c.listener.name, why.reason)
	}
}

// connack is the properties of a successful CONNACK (B15).
func (c *client) connack() packets.Properties {
	p := c.profile
	out := packets.Properties{
		ReceiveMaximum:    uint16(p.receiveMaximum),
		MaximumPacketSize: uint32(c.broker.largestPacket(p)),
		TopicAliasMaximum: p.aliasMaximum,
	}
	if p.maximumQoS() < 2 {
		out.MaximumQosFlag, out.MaximumQos = true, p.maximumQoS()
	}
	if p.aws {
		out.RetainAvailableFlag, out.RetainAvailable = true, 1
		out.WildcardSubAvailableFlag, out.WildcardSubAvailable = true, 1
		out.SharedSubAvailableFlag, out.SharedSubAvailable = true, 1
		out.SubIDAvailableFlag = true // 0: none
	}
	asked := time.Duration(c.hello.Connect.Keepalive) * time.Second
	if p.aws || c.alive != asked {
		out.ServerKeepAliveFlag, out.ServerKeepAlive = true, uint16(c.alive/time.Second) // B36
	}
	if c.adjusted {
		out.SessionExpiryIntervalFlag, out.SessionExpiryInterval = true, uint32(c.expiry/time.Second) // B43
	}
	if c.hello.Connect.ClientIdentifier == "" {
		out.AssignedClientID = c.id // B21
	}
	return out
}
