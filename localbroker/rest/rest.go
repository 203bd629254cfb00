// Package rest is AWS IoT Core's data plane over HTTPS as far as a site needs
// it: publishing, retained messages, the connections of other clients and
// direct messages (B71, B160, B161, B198-B203). It reads requests and writes
// answers; what a request does, and whether it may, is its [Caller]'s.
//
// The order of things for a request: what can be said from its first line and
// headers is said before the body is read; a body is read up to a bound and
// within a time; then the Caller acts, and one JSON object is the answer. Paths
// are taken apart as they were sent, escapes and all, and never cleaned: "..",
// "//" and "%2F" are legal in topics, and mean themselves.
package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Caller is who makes the requests of one connection, and what they can do. Its
// methods ask the policy first. Their errors are a [*Refusal], or a
// *bridge.Error whose kind says what the answer is; any other is a 500. Methods
// may be called concurrently.
type Caller interface {
	// Admit says whether the request may be looked at: whom the connection
	// speaks for, and what belongs to no operation.
	Admit(r *http.Request) error

	// Publish sends m through the walk and returns once it is synced, retained
	// and fanned out.
	Publish(m *bridge.Message) error

	// Retained is a topic's retained message.
	Retained(topic string) (*Retained, error)

	// ListRetained lists the retained messages whose topics come after one, in
	// the order of bytes, and whether there are more.
	ListRetained(after string, most int) (list []*Retained, more bool, err error)

	// DeleteConnection ends a client's connection, and returns when it has
	// left.
	DeleteConnection(clientID string, o DeleteOptions) error

	// Connection tells about a client that is connected or has been.
	Connection(clientID string) (*Connection, error)

	// Subscriptions lists a session's subscriptions whose filters come after
	// one, in the order of bytes, and whether there are more.
	Subscriptions(clientID, after string, most int) (list []Subscription, more bool, err error)

	// Direct sends m to one connected client. With confirm over 0 it returns
	// when the client has acknowledged the message, or after that time.
	Direct(ctx context.Context, clientID string, m *bridge.Message, confirm time.Duration) error

	// Served is told about every answer. op is the name of AWS's operation,
	// empty when the request was for none; err is nil for a 200.
	Served(op string, status int, err error)

	// Panicked is told what a request panicked with.
	Panicked(v any)
}

// DeleteOptions are the choices of DeleteConnection.
type DeleteOptions struct {
	Clean  bool // the session ends too
	NoWill bool // the will is not published
}

// Retained is a retained message. A listing has no Payload and no User.
type Retained struct {
	Topic    string
	Payload  []byte
	Size     int // of the payload
	QoS      byte
	Modified time.Time
	User     []bridge.UserProperty
}

// Connection is a client's connection, or the last one. Its names are AWS's.
type Connection struct {
	Connected         bool   `json:"connected"`
	ThingName         string `json:"thingName,omitempty"`
	CleanSession      bool   `json:"cleanSession"`
	SourceIP          string `json:"sourceIp,omitempty"` // socket information, when asked for
	SourcePort        int    `json:"sourcePort,omitempty"`
	TargetIP          string `json:"targetIp,omitempty"`
	TargetPort        int    `json:"targetPort,omitempty"`
	KeepAliveDuration int    `json:"keepAliveDuration,omitempty"` // seconds
	ConnectedSince    int64  `json:"connectedSince,omitempty"`    // milliseconds since 1970
	DisconnectedSince int64  `json:"disconnectedSince,omitempty"`
	DisconnectReason  string `json:"disconnectReason,omitempty"`
	SessionExpiry     int64  `json:"sessionExpiry"` // seconds
	ClientID          string `json:"clientId"`
}

// Subscription is one filter of a session.
type Subscription struct {
	Filter string `json:"topicFilter"`
	QoS    byte   `json:"qos"`
}

// Options are what the listener chooses.
type Options struct {
	Payload   int           // most bytes of a message
	Patience  time.Duration // for a body to begin; see [Handler]
	Write     time.Duration // for an answer to be read
	Empty     bool          // a publish's 200 has no body
	Forbidden bool          // what the policy denies is a 403 everywhere
	Terse     bool          // answers do not say why
}
