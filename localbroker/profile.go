package localbroker

import (
	"math"
	"strings"
	"time"
)

// The profiles' names.
const (
	profileAWSEdge = "aws-edge"
	profileAWS     = "aws"
	profileMQTT    = "mqtt"
)

// profile is which broker a device meets: the listener's quotas in the units of
// the packets that they are compared with, and the few places where the brokers
// differ in kind. It is immutable; a reload makes a new one.
type profile struct {
	name string

	receiveMaximum int    // unacknowledged QoS 1 PUBLISHes from a device (B88, Q08)
	window         int    // unacknowledged QoS 1 PUBLISHes to a device (B113, Q09)
	aliasMaximum   uint16 // inbound topic aliases (Q37)
	packetSize     int    // largest packet, fixed header included (Q12)
	smallestPacket uint32 // least Maximum Packet Size of a device (B40, Q13)
	payloadSize    int    // largest payload (Q11)
	topicSize      int    // bytes of a topic or filter (Q14)
	slashes        int    // '/' of a topic or filter (Q15)
	filters        int    // filters of a SUBSCRIBE or UNSUBSCRIBE (Q16)
	subscriptions  int    // subscriptions of a session (Q17)
	shareName      int    // bytes of a ShareName (Q35)
	shareFilter    int    // bytes of the filter of a shared subscription (Q36)
	clientIDSize   int    // bytes of a client id (Q01)
	userProperties int    // bytes of a PUBLISH's user properties (Q39)
	contentType    int    // bytes of a content type (Q40)
	correlation    int    // bytes of correlation data (Q41)

	keepAliveMin, keepAliveMax time.Duration // clamp (Q05)
	sessionExpiry              time.Duration // longest, and the one of MQTT 3.1.1 (Q22)
	messageExpiryMin           uint32        // clamp in seconds (B97)
	messageExpiryMax           uint32        // (B98, Q38)
	retry5, retry3             time.Duration // an unacknowledged delivery is dropped then (B110, B111, Q10)
	webSocketLifetime          time.Duration // (Q42)

	pace         pace // what becomes of traffic above a quota of pace
	oneBucket    bool // publishesPerSecond counts both directions (Q06)
	publishes    int  // a second (Q06)
	bytes        int  // a second (Q07)
	replay       int  // stored messages a second (B65, Q25)
	groupReplay  int  // messages of a group's queue a second (B178, Q26)
	reserved     []string
	aws          bool // AWS's semantics, see below
	silent       bool // says nothing where AWS says nothing (B12, B75)
	tooLargeCode byte // v5 DISCONNECT for an oversize packet (B84)
}

// profileOf is the profile of a listener with its quotas. In the AWS profiles:
//
//   - a filter "a/#" does not match its parent "a" (B134), a retained message
//     comes only to the filter that equals its topic (B150, B151);
//   - No Local, Retain Handling, Retain As Published and DUP are not honoured
//     (B120, B141, B112), Subscription Identifiers are refused (B137), the will
//     has no delay (B169);
//   - "$" topics other than $aws/ and those of reserved_extra are refused (B82,
//     B131).
func profileOf(o ListenerOptions) *profile {
	q := o.Quotas
	p := &profile{
		name:           o.Profile,
		receiveMaximum: q.InboundInFlight, window: q.OutboundInFlight, aliasMaximum: uint16(min(q.TopicAliases, math.MaxUint16)),
		packetSize: int(q.PacketSize), smallestPacket: uint32(min(q.SmallestPacketSize, math.MaxUint32)), payloadSize: int(q.PayloadSize),
		topicSize: int(q.TopicSize), slashes: q.TopicSlashes, filters: q.Filters, subscriptions: q.Subscriptions,
		shareName: int(q.ShareNameSize), shareFilter: int(q.ShareFilterSize), clientIDSize: int(q.ClientIDSize),
		userProperties: int(q.UserPropertiesSize), contentType: int(q.ContentTypeSize), correlation: int(q.CorrelationDataSize),
		keepAliveMin: q.KeepAliveMin, keepAliveMax: q.KeepAliveMax, sessionExpiry: q.SessionExpiry,
		messageExpiryMin: wholeSeconds(q.MessageExpiryMin), messageExpiryMax: wholeSeconds(q.MessageExpiryMax),
		retry5: q.RetryMQTT5, retry3: q.RetryMQTT3, webSocketLifetime: q.WebSocketLifetime,
		pace: paceOf(q.Pace), oneBucket: q.PublishBucket == bucketOne, publishes: q.PublishesPerSecond, bytes: int(q.BytesPerSecond),
		replay: q.ReplayPerSecond, groupReplay: q.GroupReplayPerSec,
		reserved: o.Reserved, aws: true, tooLargeCode: 0x97,
	}
	switch o.Profile {
	case profileAWS:
		p.silent = true
	case profileMQTT:
		p.aws, p.tooLargeCode = false, 0x95
	}
	return p
}

// wholeSeconds is a duration as packets carry it.
func wholeSeconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), math.MaxUint32))
}

// keepAlive is the keep-alive that holds for an asked one; 0 is none, which AWS
// does not have (B34-B36).
func (p *profile) keepAlive(asked uint16) time.Duration {
	d := time.Duration(asked) * time.Second
	switch {
	case d == 0 && p.aws:
		return p.keepAliveMax
	case d == 0:
		return 0
	}
	return min(max(d, p.keepAliveMin), p.keepAliveMax)
}

// takesReserved reports whether a "$" topic is one of reserved_extra.
func (p *profile) takesReserved(t string) bool {
	root, _, _ := strings.Cut(t, "/")
	for _, r := range p.reserved {
		if root == r {
			return true
		}
	}
	return false
}
