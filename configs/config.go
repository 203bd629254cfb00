package configs

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/localbroker/delivery"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/aws"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/failover"
	"github.com/ebbgate/ebbgate/upstream/https"
	"github.com/ebbgate/ebbgate/upstream/metered"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// Config is the configuration of a gateway. One that [Load] returns is valid
// and complete: paths are absolute, references resolved, ids filled in.
type Config struct {
	Gateway         Gateway             `koanf:"gateway" doc:"What this gateway calls itself."`
	Spool           spool.Options       `koanf:"spool" doc:"The durable queue on this machine's disk."`
	Policy          policy.Options      `koanf:"policy" doc:"Who may do what."`
	Broker          localbroker.Options `koanf:",squash"`
	FileTransfer    FileTransfer        `koanf:"file_transfer" doc:"Files from devices, by EMQX's file transfer over MQTT."`
	Routes          rules.Options       `koanf:"routes" doc:"What goes where, and as what."`
	Upstreams       map[string]Upstream `koanf:"upstreams" doc:"Where messages go, by names that the routes use."`
	Streams         delivery.Options    `koanf:"streams" doc:"Files for devices, by AWS IoT's MQTT-based file delivery."`
	Admin           Admin               `koanf:"admin" doc:"The port for health and metrics."`
	Log             Log                 `koanf:"log" doc:"What the gateway writes to standard error."`
	ShutdownTimeout time.Duration       `koanf:"shutdown_timeout" doc:"How long a stop waits for what is in flight, 0s to 10m; nothing is lost when it is short."`
}

// Gateway is what this gateway calls itself.
type Gateway struct {
	ID string `koanf:"id" doc:"Name of this gateway, 1 to 64 of letters, digits, '.', '-' and '_', unique per cloud account; empty: the host's name."`

	Behind []string `koanf:"behind" doc:"Gateways behind this one, by the names of their things or the fingerprints of their certificates: the origin that they give a message as user properties (device, thing, message id, time of acceptance) is kept. Nobody else's is. Only logins by certificate count."`
}

// The values of Upstream.Type.
const (
	TypeMQTT    = "mqtt"
	TypeSandbox = "sandbox"
)

// Upstream is one cloud.
type Upstream struct {
	Type     string                 `koanf:"type" enum:"mqtt,sandbox" doc:"mqtt is a real broker; sandbox is the stand-in for AWS IoT Core that runs on this machine, for demos and tests only."`
	MQTT     mqtt.Options           `koanf:",squash"`
	Way      string                 `koanf:"way" enum:"endpoint,auto" doc:"endpoint goes by the way that the endpoint names. auto begins with mqtts://HOST and goes by whichever way is open, the best first: MQTT on 8883, MQTT on 443, a secure WebSocket, HTTPS publish, of those that the given logins (certificate, AWS credentials, authorizer) make possible."`
	Ways     []string               `koanf:"ways" doc:"Endpoints that way: auto chooses among, the best first and https:// last; empty: those of AWS IoT Core at the endpoint's host."`
	Pool     upstream.PoolOptions   `koanf:",squash"`
	AsThings upstream.ThingsOptions `koanf:"as_things" doc:"Things that are connections of their own, each with its own certificate: the cloud sees the thing itself, and not this gateway. Their messages go that way alone."`
	AWS      aws.Options            `koanf:"aws"`
	Failover failover.Options       `koanf:"failover" doc:"Who takes the messages while this upstream is not reached."`
	Billing  billing.Options        `koanf:"billing" doc:"How this upstream bills."`
	Metered  metered.Options        `koanf:"metered" doc:"When, and how much, a link that costs may carry."`
}

// Signs reports whether the upstream's login is a signature with AWS credentials,
// and the region that its host names; that may be none.
func (u Upstream) Signs() (region string, signs bool) {
	e, err := url.Parse(u.MQTT.Endpoint)
	if err != nil || e.Scheme != "wss" && e.Scheme != "ws" && e.Scheme != "https" {
		return "", false
	}
	host, known := upstream.ParseAWSHost(e.Hostname())
	switch u.AWS.Sign {
	case aws.SignAlways:
		return host.Region, true
	case aws.SignNever:
		return host.Region, false
	}
	if e.Scheme == "https" {
		return host.Region, known && u.MQTT.TLS.Cert == "" && !u.MQTT.Authorizer.Used()
	}
	return host.Region, known && u.MQTT.Username == "" && !u.MQTT.Authorizer.Used()
}

// FailoverID is the client id by which an upstream is logged in to that takes over
// from the one of that name: its own may be in use.
func FailoverID(u Upstream, from string) string { return u.MQTT.ClientID + "-for-" + from }

// maxChain bounds how many upstreams may stand behind one.
const maxChain = 8

// Chain is an upstream with those that take over from it, one after the other.
// Names that are not there end it, and so does one that comes again.
func Chain(all map[string]Upstream, name string) []string {
	var out []string
	for len(out) <= maxChain && !slices.Contains(out, name) {
		u, ok := all[name]
		if !ok {
			break
		}
		out, name = append(out, name), u.Failover.To
	}
	return out
}

// HTTPS are the options of an upstream that is published to over HTTPS; ok is
// false for those that speak MQTT.
func (u Upstream) HTTPS() (o https.Options, ok bool) {
	m := u.MQTT
	return https.Options{
		Endpoint: m.Endpoint, TLS: m.TLS, Login: m.Authorizer.Header(), Proxy: m.Proxy, Limits: m.Limits,
		ConnectTimeout: m.ConnectTimeout, AckTimeout: m.AckTimeout, Backoff: m.Backoff,
	}, strings.HasPrefix(m.Endpoint, "https:")
}

// validate asks the package of the upstream's way.
func (u Upstream) validate() []bridge.Problem {
	o, ok := u.HTTPS()
	if !ok {
		return u.MQTT.Validate()
	}
	_, signs := u.Signs()
	out := o.Validate(signs)
	m := u.MQTT // what both ways have
	if m.Username != "" || m.Password != "" {
		out = append(out, bridge.Problem{Path: "username", Text: "over HTTPS a client certificate, AWS credentials or an authorizer's token are the login", Remedy: "remove username and password, or use wss://"})
	}
	m.Endpoint, m.TLS, m.Proxy, m.Username, m.Password = "mqtts://localhost", upstream.TLSOptions{}, upstream.ProxyOptions{}, "", ""
	return append(out, m.Validate()...)
}

// Admin is the port for health and metrics.
type Admin struct {
	Address string `koanf:"address" doc:"Loopback host and port of /livez, /readyz and /metrics; empty: none."`
}

// Log says how the gateway logs to standard error.
type Log struct {
	Format string `koanf:"format" enum:"text,json" doc:"text for people, json for machines."`
	Level  string `koanf:"level" enum:"debug,info,warn,error" doc:"The least severe that is logged."`
}

// Default is the configuration that says nothing: one anonymous listener on
// loopback, no upstream and no route.
func Default() *Config {
	return &Config{
		Spool:           spool.DefaultOptions(),
		Policy:          policy.DefaultOptions(),
		Broker:          localbroker.DefaultOptions(),
		FileTransfer:    DefaultFileTransfer(),
		Routes:          rules.DefaultOptions(),
		Upstreams:       map[string]Upstream{},
		Streams:         delivery.DefaultOptions(),
		Admin:           Admin{Address: "127.0.0.1:9883"},
		Log:             Log{Format: "text", Level: "info"},
		ShutdownTimeout: 10 * time.Second,
	}
}

// DefaultUpstream is an upstream that says nothing: its endpoint is missing.
func DefaultUpstream() Upstream {
	return Upstream{Type: TypeMQTT, Way: WayEndpoint, MQTT: mqtt.DefaultOptions(), Pool: upstream.DefaultPool(), AWS: aws.DefaultOptions(), Failover: failover.DefaultOptions(), Billing: billing.DefaultOptions(), Metered: metered.DefaultOptions()}
}

// fresh is an addressable entry of a list or map, with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch p := v.Addr().Interface().(type) {
	case *Upstream:
		*p = DefaultUpstream()
	case *localbroker.ListenerOptions:
		*p = localbroker.DefaultListener()
	case *rules.UpRoute:
		*p = rules.DefaultUpRoute()
	case *rules.DownRoute:
		*p = rules.DefaultDownRoute()
	case *billing.DeclaredRule:
		*p = billing.DefaultDeclaredRule()
	case *billing.Budget:
		*p = billing.DefaultBudget()
	}
	return v
}
