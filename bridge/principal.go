package bridge

import (
	"cmp"
	"crypto/x509"
	"net/netip"
)

// Principal is who a connection speaks for. It is immutable once made.
type Principal struct {
	ClientID string // empty over HTTP
	User     string // authenticated user name, or the listener's name for anonymous clients
	Listener string
	Remote   netip.AddrPort

	// ServerName is the endpoint that the client named in TLS (SNI), empty
	// without: iot:DomainName of policies.
	ServerName string

	Thing         Thing // the thing named like the client id (or bound exclusively); zero when there is none
	ThingAttached bool  // the thing is attached to the presented certificate

	ThingExclusive bool // and the certificate to no other thing

	CertificateID string            // lower-case hex SHA-256 of the DER, or empty
	Certificate   *x509.Certificate // nil without mTLS
	Policies      []string          // names of the policies attached to certificate, user and groups
	Protocol      byte              // MQTT protocol level: 4 or 5; 0 for HTTP

	// ListenerPolicies are those of Policies that the listener gives: a reload
	// of the registry changes the others only.
	ListenerPolicies []string
}

// Name is who a message is from, in records and logs: the client id, or the
// user or certificate of one who speaks HTTP and has no client id.
func (p *Principal) Name() string { return cmp.Or(p.ClientID, p.User, p.CertificateID) }

// Thing is a registry entry.
type Thing struct {
	Name       string
	Type       string
	Attributes map[string]string
	Groups     []string
}

// Action is an AWS IoT policy action.
type Action string

// The actions that the broker itself asks about. Those of HTTP are about a
// topic's retained message, about all of them, or about another client.
const (
	ActionConnect       Action = "iot:Connect"
	ActionPublish       Action = "iot:Publish"
	ActionRetainPublish Action = "iot:RetainPublish"
	ActionSubscribe     Action = "iot:Subscribe"
	ActionReceive       Action = "iot:Receive"

	ActionGetRetained       Action = "iot:GetRetainedMessage"
	ActionListRetained      Action = "iot:ListRetainedMessages" // Name is empty
	ActionDeleteConnection  Action = "iot:DeleteConnection"
	ActionGetConnection     Action = "iot:GetConnection"
	ActionListSubscriptions Action = "iot:ListSubscriptions"
	ActionSendDirect        Action = "iot:SendDirectMessage"
)

// Request is one question to the policy.
type Request struct {
	Action Action
	Name   string // client id, topic or topic filter, as sent; the policy makes the ARN

	// For ActionConnect only.
	Persistent bool   // clean session off, or session expiry over 0
	Will       bool   // a will is present
	WillTopic  string // its topic

	// For ActionReceive only: the ShareName of the subscription through which
	// the message would be delivered, empty for an ordinary one.
	Share string

	// For ActionSendDirect only: the topic of the message. Name is the client
	// that it is for.
	Topic string
}

// Decision answers a Request. The zero Decision denies.
type Decision struct {
	Allowed  bool
	Explicit bool   // denied by a Deny statement, not for want of an Allow
	Policy   string // the document that decided, empty for an implicit deny
	Index    int    // index of the deciding statement in it
	Reason   string // one line for a person

	// Missing are variables that the principal's documents name and that have
	// no value for it. It is set on denials, shared and not written to.
	Missing []string
}

// Grants is what one principal may do, ready to be asked per packet. It
// follows changes of policy and registry by itself, is safe for concurrent
// use and never blocks on anything slow.
type Grants interface {
	Decide(Request) Decision
}

// Authorizer finds the grants of a principal. An error (a policy that cannot
// be evaluated) denies everything.
type Authorizer interface {
	Grants(p *Principal) (Grants, error)
}

// Router decides where a message goes, and as what. No receivers: the message
// stays local. The error is an *Error of kind TopicInvalid or PayloadInvalid.
type Router interface {
	// Up routes what a device published, and tells of the routes that would have
	// taken it but for a step or a budget.
	Up(p *Principal, m *Message) ([]Receiver, []Turned, error)
	// Down routes what an upstream sent.
	Down(upstream string, m *Message) ([]Receiver, error)
}
