package bridge

import (
	"encoding/hex"
	"strings"
	"time"
)

// Seq is a record's place in the log of one spool: unique, growing, never
// reused, and equal to the order of acceptance. Zero is before every record.
type Seq uint64

// Place is a record's ordinal within one queue: consecutive, starting at 1, so
// that a missing range shows. It orders the queue as Seq orders the log.
type Place uint64

// MessageID identifies an accepted message for ever: duplicates after a cut or
// a crash carry the same one, so that a consumer can drop them.
type MessageID [16]byte

// String is the id as 32 lower-case hex digits, as it travels upstream.
func (id MessageID) String() string { return hex.EncodeToString(id[:]) }

// Origin says where a message came from and when it was accepted; upstream it
// travels as user properties or in an envelope, because the cloud sees one
// principal and the arrival time only.
type Origin struct {
	Device string // Principal.Name: the MQTT client id, or who published over HTTP; for messages from the cloud the upstream's name
	Thing  string // thing name, or empty
	ID     MessageID
	Instant
	Hops uint8 // gateways passed before this one
}

// Instant is a point in time that stays meaningful when the wall clock lies.
type Instant struct {
	Wall   time.Time     // as the clock told it; wrong when !Synced
	Boot   uint64        // random per start of the gateway
	Mono   time.Duration // since that start
	Age    time.Duration // the spool's own clock: grows across restarts, never runs back
	Synced bool          // the kernel said that the clock is synchronised
}

// OriginMode is how a route makes the origin travel.
type OriginMode byte

// The ways of origin. Envelope wraps the payload in JSON. Bare is none, without
// even the count of gateways passed.
const (
	OriginNone OriginMode = iota
	OriginUserProperties
	OriginEnvelope
	OriginBare
)

// MaxReceivers is how many receivers a record may have.
const MaxReceivers = 64

// Receiver is one queue that a record goes to, with what the route made of the
// message. It is decided once, at ingest: a later reload does not rewrite what
// is already accepted.
type Receiver struct {
	Queue  string // see [QueueName]
	Topic  string // topic at the receiver
	QoS    byte
	Retain bool
	TTL    time.Duration // on the Age clock from acceptance; 0: none
	Origin OriginMode
}

// QueueName is the name of the durable queue of one route to one upstream.
// Direction is "up", "down" or "dead".
func QueueName(direction, upstream, route string) string {
	return direction + "/" + upstream + "/" + route
}

// OwnQueue is the queue of what one thing sends on a route, when the thing has a
// connection of its own: what is in the way of others is not in its way, and the
// reverse.
func OwnQueue(queue, thing string) string { return queue + ownMark + thing }

// OwnedBy is the reverse of OwnQueue: the queue of the route, and the thing; own is
// false for a queue that is shared. Names of routes have no mark in them.
func OwnedBy(queue string) (shared, thing string, own bool) { return strings.Cut(queue, ownMark) }

const ownMark = "@"

// DeadQueue is the queue of the dead letters of a queue.
func DeadQueue(queue string) string {
	return "dead/" + queue
}

// Record is what the spool keeps: a message, where it came from, and who is to
// receive it. It is stored once, whatever the number of receivers.
type Record struct {
	Message
	Origin
	Receivers []Receiver
}

// Stored is a record as read back for one queue.
type Stored struct {
	Seq   Seq
	Place Place
	*Record
	Receiver *Receiver // the entry of Receivers that names the queue

	outgoing *Message // see Outgoing
}

// Size is what the record counts in [Depth].Bytes: topic and payload.
func (r *Record) Size() int { return len(r.Topic) + len(r.Payload) }

// Mortal reports whether the record can expire at all.
func (s *Stored) Mortal() bool { return s.HasExpiry || s.Receiver.TTL > 0 }

// Expired reports whether the record's time to live, by its route or by MQTT 5
// Message Expiry, has passed at the spool's age clock now.
func (s *Stored) Expired(now time.Duration) bool { return s.Mortal() && now >= s.expires() }

// expires is the age at which one that is mortal expires.
func (s *Stored) expires() time.Duration {
	ttl := s.Receiver.TTL
	if s.HasExpiry {
		if by := time.Duration(max(s.Expiry, 1)) * time.Second; ttl <= 0 || by < ttl { // B97: 0 counts as 1
			ttl = by
		}
	}
	return s.Age + ttl
}
