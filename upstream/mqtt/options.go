package mqtt

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Options say how to reach one MQTT 5 broker, with up to two connections: the
// uplink, and a downlink when routes come down from it.
type Options struct {
	Endpoint       string                  `koanf:"endpoint" doc:"Broker as mqtts://host:port, mqtt://host:port, or through a WebSocket wss://host/mqtt, ws://host/mqtt; the port may be left out for 8883, 1883, 443 and 80. With https://host:8443 or https://host messages are published by AWS IoT Core's HTTP API, and nothing comes down."`
	Protocol       string                  `koanf:"protocol" enum:"5,3.1.1,auto" doc:"MQTT version that the broker speaks; auto tries 5 first. In 3.1.1 no property travels: no origin as user properties, no content type, no expiry, and no count of gateways passed."`
	ClientID       string                  `koanf:"client_id" doc:"MQTT client id of the uplink, at most 128 bytes; the downlink adds -down. Empty: <gateway.id>-<upstream>. No other connection may use it."`
	Username       string                  `koanf:"username" doc:"User name, for brokers that ask for one."`
	Password       bridge.Secret           `koanf:"password" doc:"Password, as ${ENV} or file: reference."`
	Authorizer     AuthorizerOptions       `koanf:"authorizer" doc:"A custom authorizer of AWS IoT Core, in place of a client certificate."`
	TLS            TLSOptions              `koanf:"tls"`
	Proxy          upstream.ProxyOptions   `koanf:",squash"`
	Limits         upstream.Limits         `koanf:"limits"`
	KeepAlive      time.Duration           `koanf:"keep_alive" doc:"MQTT keep alive, whole seconds, 1s to 18h; a link that is silent for so long is given up. AWS IoT Core takes 30s to 20m."`
	ConnectTimeout time.Duration           `koanf:"connect_timeout" doc:"Time for one attempt: TCP, TLS and CONNACK together, 100ms to 10m."`
	AckTimeout     time.Duration           `koanf:"ack_timeout" doc:"Longest wait for the acknowledgement that is due next, 100ms to 1h; after it the link is closed and everything in flight sent again on a new one."`
	Backoff        upstream.BackoffOptions `koanf:"backoff"`
	SessionExpiry  time.Duration           `koanf:"session_expiry" doc:"How long the broker keeps messages for the downlink while it is away, whole seconds, 0s to 43800h. AWS IoT Core gives its account's maximum, 1h unless raised to 7 days."`
}

// TLSOptions are used with mqtts and wss.
type TLSOptions = upstream.TLSOptions

// DefaultOptions fit AWS IoT Core. The keep alive is the least that AWS takes
// (Q05). 20 s for an acknowledgement are above its slowest answers and below
// the time in which an operator would wonder.
func DefaultOptions() Options {
	return Options{
		Protocol:       protocol5,
		Limits:         upstream.DefaultLimits(),
		KeepAlive:      30 * time.Second,
		ConnectTimeout: 10 * time.Second,
		AckTimeout:     20 * time.Second,
		Backoff:        upstream.DefaultBackoff(),
		SessionExpiry:  7 * 24 * time.Hour,
	}
}

// The floors between two CONNECTs of one client id that [Options] choose when
// none is given. AWS allows one a second (Q03) and was measured to allow one in
// ten when the same host answers.
const (
	floorAWS   = 10 * time.Second
	floorOther = 200 * time.Millisecond
)

// backoff is o.Backoff with its floor chosen.
func (o Options) backoff() upstream.BackoffOptions {
	b := o.Backoff
	if b.Floor == 0 {
		b.Floor = floorOther
		if e, err := parseEndpoint(o.Endpoint); err == nil && e.aws() {
			b.Floor = floorAWS
		}
	}
	return b
}
