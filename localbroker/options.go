package localbroker

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options configure the broker.
type Options struct {
	Listeners []ListenerOptions `koanf:"listeners" doc:"Where devices connect, each with its own profile, policies and limits."`
	Broker    MemoryOptions     `koanf:"broker" doc:"What all listeners share: bounds of memory, sockets and of what is kept on disk, and AWS's quotas of an account."`
}

// MemoryOptions bound what sessions and retained messages may hold, over all
// listeners, and what AWS IoT Core bounds for an account.
type MemoryOptions struct {
	Sockets          int         `koanf:"sockets" doc:"Most open sockets of all listeners together, those before CONNECT included, 1 to 2000000; above it the oldest without a CONNECT makes room, or a new one is closed at once."`
	Sessions         int         `koanf:"sessions" doc:"Most sessions, connected and held ones, 1 to 1000000; above it a CONNECT is refused."`
	QueueSize        bridge.Size `koanf:"queue_size" doc:"Most bytes that wait for devices in all kept sessions together, on disk."`
	MemoryQueueSize  bridge.Size `koanf:"memory_queue_size" doc:"Most bytes in memory that wait for devices, in all sessions together: all that waits in sessions that are not kept, and what is read ahead of the others. A session gets no more than is still free: one alone has half, two a third each; when little is left, those that hold most give up their newest messages."`
	SharedQueue      string      `koanf:"shared_queue" enum:"on,off" doc:"What becomes of a QoS 1 message for a share group none of whose members is connected: on queues it for the group, as AWS IoT Core does since 2025; off drops it, as before."`
	RetainedMessages int         `koanf:"retained_messages" doc:"Most retained messages, 0 to 1000000."`
	RetainedSize     bridge.Size `koanf:"retained_size" doc:"Most bytes of retained messages."`
	Subscriptions    bridge.Size `koanf:"subscriptions_size" doc:"Most memory of the subscriptions of all sessions together, about: 768 bytes for each, twice its filter's bytes, and 320 bytes for each level of the filters, those in common once; those above it are refused in the SUBACK."`

	Quotas AccountQuotas `koanf:"quotas" doc:"AWS IoT Core's quotas of an account and region, which all listeners but those of profile mqtt share."`
}

// ListenerOptions configure one listener.
type ListenerOptions struct {
	Name        string        `koanf:"name" doc:"Name of the listener in logs, metrics and policies; unique."`
	Type        string        `koanf:"type" enum:"tcp,tls,ws,wss,https" doc:"Transport: tcp, tls, ws (WebSocket) or wss (WebSocket over TLS); https is AWS IoT Core's HTTP API, not MQTT."`
	Address     string        `koanf:"address" doc:"Host and port to listen on, such as 0.0.0.0:8883; port 0 takes a free one."`
	Profile     string        `koanf:"profile" enum:"aws-edge,aws,mqtt" doc:"Which broker devices meet: aws-edge (AWS IoT Core's semantics, with answers where AWS is silent and warnings where AWS throttles), aws (AWS IoT Core as it is) or mqtt (plain MQTT)."`
	Auth        string        `koanf:"auth" enum:"anonymous,password,certificate" doc:"How devices prove who they are; anonymous only on a loopback address."`
	Policies    []string      `koanf:"policies" doc:"Policies attached to the anonymous clients, password users and chain certificates of this listener."`
	Users       string        `koanf:"users" doc:"With auth password: YAML file of user names and bcrypt hashes."`
	TLS         TLSOptions    `koanf:"tls" doc:"Certificates of a tls, wss or https listener."`
	Origins     []string      `koanf:"origins" doc:"Web origins beside the listener's own that browsers may connect from (ws, wss, https), such as https://console.example."`
	HTTP        HTTPOptions   `koanf:"http" doc:"What a listener of type https answers."`
	Limits      LimitOptions  `koanf:"limits" doc:"Our own bounds of this listener and of each connection, in every profile."`
	Quotas      QuotaOptions  `koanf:"quotas" doc:"AWS IoT Core's quotas of a packet, a client, a connection and a session. The defaults are the profile's: AWS's in aws and aws-edge, what MQTT itself allows in mqtt."`
	Reserved    []string      `koanf:"reserved_extra" doc:"Names that topics and filters may begin with besides $aws/, such as $file; each covers all topics below it. The default is the profile's: none in aws. Nobody but the broker publishes to $SYS."`
	HoldTimeout time.Duration `koanf:"hold_timeout" doc:"How long a message that cannot be stored is held, its socket not read, before it is refused, up to 10m."`
	ResendV3    time.Duration `koanf:"resend_mqtt3" doc:"How long a connected 3.1.1 device may leave a QoS 1 delivery unacknowledged before it is sent again (B110), 1s to 24h. AWS sends again, and does not say when. 0 takes the profile's: 1m in the AWS profiles, never in mqtt. MQTT 5 forbids it."`
	Denied      DeniedOptions `koanf:"denied_publish" doc:"What a device sees when the policy denies its QoS 1 publish."`

	DeniedSubscribe DeniedSubscribeOptions `koanf:"denied_subscribe" doc:"What a device sees when the policy denies one of its subscriptions."`

	Switches SwitchOptions `koanf:"switches" doc:"What the listener does where nobody outside knows for certain what AWS IoT Core does."`
}

// TLSOptions configure the transport security of one listener. TLS 1.2 is the
// least.
type TLSOptions struct {
	Cert       string `koanf:"cert" doc:"PEM file with the server's certificate, followed by its chain."`
	Key        string `koanf:"key" doc:"PEM file with the server's private key."`
	ClientCA   string `koanf:"client_ca" doc:"PEM file with the CAs of device certificates; for client_auth chain and both."`
	RequireSNI bool   `koanf:"require_sni" doc:"Whether a device must name the server in TLS (SNI); AWS's own pages disagree (B03)."`
	ClientAuth string `koanf:"client_auth" enum:"fingerprint,chain,both" doc:"What makes a device certificate good: fingerprint (registered and ACTIVE in the things file, whoever issued it), chain (issued by client_ca; its common name is the user, with the listener's policies) or both (registered, and issued by client_ca)."`
}

// LimitOptions are guard rails: bounds that keep a stalled or hostile client
// from costing others anything. A zero takes the default.
type LimitOptions struct {
	Connections     int           `koanf:"connections" doc:"Most connections of this listener, 1 to 1000000."`
	Unfinished      int           `koanf:"unfinished" doc:"Sockets of this listener that have not finished their CONNECT, 1 to 1000000, above which the oldest are closed after half of connect_timeout; when there is no room at all, the oldest makes room at once."`
	ConnectTimeout  time.Duration `koanf:"connect_timeout" doc:"Time from accepting a socket to its complete CONNECT, TLS handshake included, 1s to 5m."`
	WriteTimeout    time.Duration `koanf:"write_timeout" doc:"Time in which a device must read the next 32 KiB sent to it, 1s to 10m; a stalled device is closed."`
	QueueMessages   int           `koanf:"queue_messages" doc:"Most messages waiting for one session; newer ones are dropped and counted."`
	QueueSize       bridge.Size   `koanf:"queue_size" doc:"Most bytes waiting for one session; newer messages are dropped and counted."`
	Subscriptions   bridge.Size   `koanf:"subscriptions_size" doc:"Most memory of one session's subscriptions, counted as broker.subscriptions_size is but each filter for itself, 1KiB to 1GiB; those above it are refused in the SUBACK."`
	PublishesPerSec int           `koanf:"publishes_per_second" doc:"Most PUBLISHes a second that are taken from one connection in any profile, up to 1000000; excess is discarded; 0 means no limit."`
	BytesPerSec     bridge.Size   `koanf:"bytes_per_second" doc:"Most bytes a second that are read from one connection in any profile, 1KiB to 16GiB; its socket is not read faster; 0 means no limit."`
}

// DeniedOptions say what a device sees when its QoS 1 publish is denied.
type DeniedOptions struct {
	MQTT5 string `koanf:"mqtt5" enum:"ack,disconnect" doc:"ack answers PUBACK 0x87 (B85), disconnect ends the connection with 0x87."`
	MQTT3 string `koanf:"mqtt3" enum:"close,ack" doc:"close ends the connection (B86), ack acknowledges and drops the message."`
}

// DeniedSubscribeOptions say what a device sees when a subscription is denied.
type DeniedSubscribeOptions struct {
	MQTT5 string `koanf:"mqtt5" enum:"ack,disconnect" doc:"ack answers 0x87 for that filter in the SUBACK (B129), disconnect ends the connection with 0x87."`
	MQTT3 string `koanf:"mqtt3" enum:"ack,close" doc:"ack answers 0x80 for that filter in the SUBACK, close ends the connection, as AWS IoT Core did once (B130)."`
}

// disconnects reports whether a device of that version is disconnected.
func (o DeniedSubscribeOptions) disconnects(version byte) bool {
	if version == 5 {
		return o.MQTT5 == deniedDisconnect
	}
	return o.MQTT3 == deniedClose
}

// The values of ListenerOptions.Type.
const (
	typeTCP = "tcp"
	typeTLS = "tls"
	typeWS  = "ws"
	typeWSS = "wss"
)

// The values of ListenerOptions.Auth.
const (
	authAnonymous   = "anonymous"
	authPassword    = "password"
	authCertificate = "certificate"
)

// The values of TLSOptions.ClientAuth.
const (
	clientFingerprint = "fingerprint"
	clientChain       = "chain"
	clientBoth        = "both"
)

// The values of DeniedOptions and DeniedSubscribeOptions.
const (
	deniedAck        = "ack"
	deniedDisconnect = "disconnect"
	deniedClose      = "close"
)

// DefaultOptions are one anonymous listener on loopback, and the bounds: 1 GiB of
// queues on disk is 1,000 commands of 1 KiB for a thousand absent devices.
func DefaultOptions() Options {
	return Options{
		Listeners: []ListenerOptions{DefaultListener()},
		Broker: MemoryOptions{
			Sockets: 20_000, Sessions: 20_000, QueueSize: 1 << 30, MemoryQueueSize: 64 << 20, SharedQueue: sharedQueueOn, RetainedMessages: 10_000, RetainedSize: 32 << 20, Subscriptions: 256 << 20,
			Quotas: DefaultAccountQuotas(),
		},
	}
}

// DefaultListener is what a listener is that says nothing.
func DefaultListener() ListenerOptions { return DefaultListenerOf(profileAWSEdge) }

// DefaultListenerOf is what a listener is that says nothing but its profile. An
// unknown one has the defaults of aws-edge.
func DefaultListenerOf(profile string) ListenerOptions {
	return ListenerOptions{
		Name: "lan", Type: typeTCP, Address: "127.0.0.1:1883", Profile: profile, Auth: authAnonymous,
		TLS:             TLSOptions{ClientAuth: clientFingerprint},
		HTTP:            HTTPOptions{}.withDefaults(),
		HoldTimeout:     30 * time.Second,
		Denied:          DeniedOptions{MQTT5: deniedAck, MQTT3: deniedClose},
		DeniedSubscribe: DeniedSubscribeOptions{MQTT5: deniedAck, MQTT3: deniedAck},
		Switches:        defaultSwitches(),
		Limits: LimitOptions{
			Connections: 10_000, Unfinished: 2_000, ConnectTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second,
			QueueMessages: 100_000, QueueSize: 64 << 20, Subscriptions: 8 << 20,
		},
		Quotas: DefaultQuotas(profile), Reserved: defaultReserved(profile),
	}
}

// withDefaults fills what is zero.
func (o Options) withDefaults() Options {
	d := DefaultOptions().Broker
	orDefault(&o.Broker.Sockets, d.Sockets)
	orDefault(&o.Broker.Quotas, d.Quotas)
	orDefault(&o.Broker.Sessions, d.Sessions)
	orDefault(&o.Broker.QueueSize, d.QueueSize)
	orDefault(&o.Broker.MemoryQueueSize, d.MemoryQueueSize)
	orDefault(&o.Broker.SharedQueue, d.SharedQueue)
	orDefault(&o.Broker.RetainedMessages, d.RetainedMessages)
	orDefault(&o.Broker.RetainedSize, d.RetainedSize)
	orDefault(&o.Broker.Subscriptions, d.Subscriptions)
	listeners := make([]ListenerOptions, len(o.Listeners))
	for i, l := range o.Listeners {
		listeners[i] = l.withDefaults()
	}
	o.Listeners = listeners
	return o
}

func (l ListenerOptions) withDefaults() ListenerOptions {
	d := DefaultListener()
	orDefault(&l.Type, d.Type)
	orDefault(&l.Profile, d.Profile)
	orDefault(&l.Auth, d.Auth)
	orDefault(&l.TLS.ClientAuth, d.TLS.ClientAuth)
	l.HTTP = l.HTTP.withDefaults()
	orDefault(&l.HoldTimeout, d.HoldTimeout)
	orDefault(&l.Denied.MQTT5, d.Denied.MQTT5)
	orDefault(&l.Denied.MQTT3, d.Denied.MQTT3)
	orDefault(&l.DeniedSubscribe.MQTT5, d.DeniedSubscribe.MQTT5)
	orDefault(&l.DeniedSubscribe.MQTT3, d.DeniedSubscribe.MQTT3)
	l.Switches = l.Switches.withDefaults()
	orDefault(&l.Limits.Connections, d.Limits.Connections)
	orDefault(&l.Limits.Unfinished, d.Limits.Unfinished)
	orDefault(&l.Limits.ConnectTimeout, d.Limits.ConnectTimeout)
	orDefault(&l.Limits.WriteTimeout, d.Limits.WriteTimeout)
	orDefault(&l.Limits.QueueMessages, d.Limits.QueueMessages)
	orDefault(&l.Limits.QueueSize, d.Limits.QueueSize)
	orDefault(&l.Limits.Subscriptions, d.Limits.Subscriptions)
	orDefault(&l.Quotas, DefaultQuotas(l.Profile))
	if l.Reserved == nil {
		l.Reserved = defaultReserved(l.Profile)
	}
	return l
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
