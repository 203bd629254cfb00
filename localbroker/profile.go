package localbroker

import "time"

// The profiles' names.
const (
	profileAWSEdge = "aws-edge"
	profileAWS     = "aws"
	profileMQTT    = "mqtt"
)

// profile is which broker a device meets: the numbers, and the few places where
// the brokers differ in kind. It is immutable.
type profile struct {
	name string

	receiveMaximum int    // unacknowledged QoS 1 PUBLISHes from a device (B88, Q08)
	window         int    // unacknowledged QoS 1 PUBLISHes to a device (B113, Q09)
	aliasMaximum   uint16 // inbound topic aliases (Q37)
	packetSize     int    // largest packet, fixed header included (Q12)
	payloadSize    int    // largest payload (Q11)
	topicSize      int    // bytes of a topic or filter (Q14)
	slashes        int    // '/' of a topic or filter (Q15)
	filters        int    // filters of a SUBSCRIBE or UNSUBSCRIBE (Q16)
	subscriptions  int    // subscriptions of a session (Q17)
	clientIDSize   int    // bytes of a client id (Q01)
	userProperties int    // bytes of a PUBLISH's user properties (Q39)
	contentType    int    // bytes of a content type (Q40)
	correlation    int    // bytes of correlation data (Q41)

	keepAliveMin, keepAliveMax time.Duration // clamp, 0 for none (Q05)
	sessionExpiry              time.Duration // longest, and the one of MQTT 3.1.1 (Q22)
	messageExpiryMax           uint32        // clamp in seconds, 0 for none (Q38)

	aws          bool // AWS's semantics, see below
	silent       bool // says nothing where AWS says nothing (B12, B75)
	tooLargeCode byte // v5 DISCONNECT for an oversize packet (B84)
}

// In the AWS profiles:
//
//   - a filter "a/#" does not match its parent "a" (B134), a retained message
//     comes only to the filter that equals its topic (B150, B151);
//   - No Local, Retain Handling, Retain As Published and DUP are not honoured
//     (B120, B141, B112), Subscription Identifiers are refused (B137), the will
//     has no delay (B169);
//   - "$" topics other than $aws/ are refused (B82, B131).
func profiles() map[string]*profile {
	aws := profile{
		receiveMaximum: 100, window: 100, aliasMaximum: 8,
		packetSize: 149_504, payloadSize: 128 << 10,
		topicSize: 256, slashes: 7, filters: 8, subscriptions: 50, clientIDSize: 128,
		userProperties: 8 << 10, contentType: 256, correlation: 8 << 10,
		keepAliveMin: 30 * time.Second, keepAliveMax: 1200 * time.Second,
		sessionExpiry: time.Hour, messageExpiryMax: 604_800,
		aws: true, tooLargeCode: 0x97,
	}
	edge := aws
	edge.name = profileAWSEdge
	strict := aws
	strict.name, strict.silent = profileAWS, true
	plain := profile{
		name:           profileMQTT,
		receiveMaximum: 100, window: 100, aliasMaximum: 64,
		packetSize: 1 << 20, payloadSize: 1 << 20,
		topicSize: 65_535, slashes: 65_535, filters: 1000, subscriptions: 1000, clientIDSize: 1024,
		userProperties: 64 << 10, contentType: 65_535, correlation: 65_535,
		sessionExpiry: 24 * time.Hour,
		tooLargeCode:  0x95,
	}
	return map[string]*profile{profileAWSEdge: &edge, profileAWS: &strict, profileMQTT: &plain}
}

// keepAlive is the keep-alive that holds for an asked one; 0 is none (B34-B36).
func (p *profile) keepAlive(asked uint16) time.Duration {
	d := time.Duration(asked) * time.Second
	if p.keepAliveMax == 0 {
		return d
	}
	if d == 0 {
		return p.keepAliveMax
	}
	return min(max(d, p.keepAliveMin), p.keepAliveMax)
}
