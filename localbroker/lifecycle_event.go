package localbroker

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// event is a lifecycle event as AWS writes it. What a kind of event does not
// have is left out.
type event struct {
	Client    string   `json:"clientId"`
	Thing     string   `json:"thingName,omitempty"` // of a certificate that is bound to it exclusively
	Time      int64    `json:"timestamp"`           // milliseconds
	Kind      string   `json:"eventType"`
	Session   string   `json:"sessionIdentifier"`
	Principal string   `json:"principalIdentifier"`
	IP        string   `json:"ipAddress,omitempty"`
	Version   *int64   `json:"versionNumber,omitempty"`
	Own       *bool    `json:"clientInitiatedDisconnect,omitempty"`
	Reason    string   `json:"disconnectReason,omitempty"`
	Failure   string   `json:"connectFailureReason,omitempty"`
	Topics    []string `json:"topics,omitempty"`
}

// newEvent makes an event with what all kinds have.
func newEvent(c *client, kind string, now time.Time) *event {
	_, word, _ := strings.Cut(kind, "/")
	e := &event{Client: c.id, Time: now.UnixMilli(), Kind: word, Principal: cmp.Or(c.principal.CertificateID, c.principal.User)}
	if c.presence != nil {
		e.Session = c.presence.session
	}
	if c.principal.ThingExclusive {
		e.Thing = c.principal.Thing.Name
	}
	return e
}

// message is the event as it is published.
func (e *event) message(topic string) *bridge.Message {
	payload, err := json.Marshal(e)
	if err != nil { // strings and numbers
		panic("localbroker: lifecycle event: " + err.Error())
	}
	return &bridge.Message{Topic: topic, Payload: payload, QoS: 1}
}

// AWS's reasons for the end of a connection. Two more never occur here:
// CUSTOMAUTH_TTL_EXPIRATION, because logins do not grow too old, and
// FORBIDDEN_ACCESS, because no address is shut out.
const (
	reasonClientInitiated = "CLIENT_INITIATED_DISCONNECT"
	reasonDuplicate       = "DUPLICATE_CLIENTID"
	reasonKeepAlive       = "MQTT_KEEP_ALIVE_TIMEOUT"
	reasonClientError     = "CLIENT_ERROR"
	reasonServerError     = "SERVER_ERROR"
	reasonServerInitiated = "SERVER_INITIATED_DISCONNECT"
	reasonAuth            = "AUTH_ERROR"
	reasonThrottled       = "THROTTLED"
	reasonAPI             = "API_INITIATED_DISCONNECT"
	reasonLost            = "CONNECTION_LOST"
	reasonWebSocket       = "WEBSOCKET_TTL_EXPIRATION"
)

// disconnectReasons are the causes whose MQTT 5 code does not say it.
var disconnectReasons = map[string]string{
	"client-disconnect": reasonClientInitiated, // B164, and B165 as well
	"taken-over":        reasonDuplicate,       // B19
	"kicked":            reasonAPI,             // B71
	"shutting-down":     reasonServerInitiated, // B187
	"policy-changed":    reasonAuth,            // B190
	"filter-count":      reasonClientError,     // B125
	"too-large":         reasonClientError,     // B84
	"protocol-error":    reasonClientError,     // B18
	"internal":          reasonServerError,
	"full":              reasonServerError, // a held message was given back
	"unavailable":       reasonServerError,
	"write-overflow":    reasonServerInitiated, // it does not read
	"write-stalled":     reasonServerInitiated,
	"connection-lost":   reasonLost,
	"websocket-expired": reasonWebSocket, // Q42
}

// disconnectReason is AWS's word for a cause.
func disconnectReason(why *cause) string {
	if reason, ok := disconnectReasons[why.reason]; ok {
		if reason == reasonLost && why.clean { // a WebSocket's Close frame (B164)
			return reasonClientInitiated
		}
		return reason
	}
	switch why.code {
	case 0x8D:
		return reasonKeepAlive // B37
	case 0x87:
		return reasonAuth // B86, B190
	case 0x97:
		return reasonThrottled // B189
	default:
		return reasonClientError
	}
}

// announce publishes a message of the broker's own: to the subscribers, and to
// the cloud when a route takes it.
func (b *Broker) announce(from *bridge.Principal, m *bridge.Message, routed bool) {
	b.accepted("", m, 0)
	if !routed {
		return
	}
	b.ingest.Authorized(from, m, nil, func(err error) {
		if err != nil {
			b.drops.Count("event-not-forwarded", from.ClientID, m.Topic)
		}
	})
}
