package localbroker

import (
	"fmt"
	"strings"
	"time"
)

// Aspect is one thing that a listener's profile and quotas decide, for people:
// the start-up log and the manual are made of them.
type Aspect struct {
	Name  string // "sessions last at most"
	Value string // "168h"
}

// Aspects are what devices meet on a listener.
func Aspects(o ListenerOptions) []Aspect {
	o = o.withDefaults()
	p, q := profileOf(o), o.Quotas
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	either := func(b bool, one, other string) string {
		if b {
			return one
		}
		return other
	}
	return []Aspect{
		{"`a/#` covers `a` (B134)", yes(!p.aws)},
		{"retained messages at a subscription (B150, B151)", either(p.aws, "only where the filter is the topic", "all that the filter covers")},
		{"No Local, Retain Handling, Retain As Published, will delay (B120, B141, B169)", either(p.aws, "not honoured", "honoured")},
		{"Subscription Identifiers (B137)", either(p.aws, "DISCONNECT 0xA1", "honoured")},
		{"DUP of what is sent again (B112)", either(p.aws, "never set", "set")},
		{"topics with RETAIN that begin with `$` (B83)", either(p.aws, "refused", "taken")},
		{"a QoS 0 PUBLISH that is denied or has a bad topic (B86)", either(p.aws, "ends the connection", "dropped")},
		{"QoS 2 (B76, B124)", either(p.maximumQoS() < 2, "refused", "in both directions")},
		{"a PUBLISH of QoS 2 in MQTT 3.1.1 (B75)", p.qos2Words()},
		{"a certificate that is not registered (B12)", either(p.silent, "hang-up without CONNACK", "CONNACK that says so")},
		{"keep alive 0 (B34)", either(p.aws, "becomes the longest one", "none")},
		{"a WebSocket's Close frame (B164)", either(p.aws, "discards the will", "publishes the will")},
		{"an oversize packet, MQTT 5 (B84)", fmt.Sprintf("DISCONNECT 0x%02X", p.tooLargeCode)},
		{"topics that begin with `$`", p.dollars()},
		{"traffic above the quotas of pace", paceWords(p.pace)},
		{"sessions last at most (Q22)", short(p.sessionExpiry)},
		{"keep alive", short(p.keepAliveMin) + " to " + short(p.keepAliveMax)},
		{"client id (Q01)", q.ClientIDSize.String()},
		{"packet, payload (Q12, Q11)", q.PacketSize.String() + ", " + q.PayloadSize.String()},
		{"topic (Q14, Q15)", fmt.Sprintf("%v, %d slashes", q.TopicSize, p.slashes)},
		{"filters of a SUBSCRIBE, subscriptions of a session (Q16, Q17)", fmt.Sprintf("%d, %d", p.filters, p.subscriptions)},
		{"in flight, in and out (Q08, Q09)", fmt.Sprintf("%d, %d", p.receiveMaximum, p.window)},
		{"topic aliases (Q37)", fmt.Sprint(p.aliasMaximum)},
		{"Message Expiry (Q38)", fmt.Sprintf("%d s to %d s", p.messageExpiryMin, p.messageExpiryMax)},
		{"user properties, content type, correlation data (Q39-Q41)", fmt.Sprintf("%v, %v, %v", q.UserPropertiesSize, q.ContentTypeSize, q.CorrelationDataSize)},
		{"least Maximum Packet Size of a client (Q13)", q.SmallestPacketSize.String()},
		{"an unacknowledged delivery is dropped after, MQTT 5 and 3.1.1 (Q10)", short(p.retry5) + ", " + short(p.retry3)},
		{"a WebSocket lives at most (Q42)", short(p.webSocketLifetime)},
		{"quotas of the account, `broker.quotas`", either(p.aws, "hold", "do not hold")},
	}
}

// qos2Words says what becomes of a PUBLISH of QoS 2 without reason codes.
func (p *profile) qos2Words() string {
	switch {
	case p.maximumQoS() == 2:
		return "taken"
	case p.silent:
		return "no answer"
	}
	return "ends the connection"
}

// dollars says which "$" topics a listener takes.
func (p *profile) dollars() string {
	if !p.aws {
		return "all but `$SYS`, which only the broker publishes to"
	}
	text := "`$aws/`"
	for _, r := range p.reserved {
		text += ", `" + r + "`"
	}
	return text
}

func paceWords(p pace) string {
	switch p {
	case paceBites:
		return "discarded, delayed or refused, as AWS does"
	case paceWarns:
		return "passes; a metric and a warning say what AWS would have done"
	default:
		return "passes"
	}
}

// short is a duration as people write it: 168h, not 168h0m0s.
func short(d time.Duration) string {
	if d == forEver {
		return "ten years"
	}
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

// Differences are the aspects in which a listener is not AWS IoT Core as it is,
// which profile aws is.
func Differences(o ListenerOptions) []Aspect {
	aws := Aspects(DefaultListenerOf(profileAWS))
	var out []Aspect
	for i, a := range Aspects(o) {
		if a != aws[i] {
			out = append(out, a)
		}
	}
	return out
}
