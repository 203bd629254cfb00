package mqtt

import (
	"fmt"
	"net"
	"net/url"

	"github.com/ebbgate/ebbgate/upstream"
)

// endpoint is a parsed Options.Endpoint.
type endpoint struct {
	scheme     string // mqtt, mqtts, ws or wss
	host, port string
	path       string // of a WebSocket
}

// webSocketPath is where brokers have their WebSocket (B09), unless the endpoint
// says another.
const webSocketPath = "/mqtt"

func parseEndpoint(s string) (endpoint, error) {
	u, err := url.Parse(s)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is not a URL", s)
	}
	e := endpoint{scheme: u.Scheme}
	switch u.Scheme {
	case "mqtt":
		e.port = "1883"
	case "mqtts":
		e.port = "8883"
	case "ws":
		e.port = "80"
	case "wss":
		e.port = "443"
	default:
		return endpoint{}, fmt.Errorf("%q does not start with mqtt://, mqtts://, ws:// or wss://", s)
	}
	if u.User != nil {
		return endpoint{}, fmt.Errorf("an endpoint holds no user name or password")
	}
	if u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" && !e.webSocket() {
		return endpoint{}, fmt.Errorf("%q has more than a host and a port", s)
	}
	if e.host = u.Hostname(); e.host == "" {
		return endpoint{}, fmt.Errorf("%q has no host", s)
	}
	if u.Port() != "" {
		e.port = u.Port()
	}
	if e.webSocket() {
		if e.path = u.EscapedPath(); e.path == "" {
			e.path = webSocketPath
		}
	}
	return e, nil
}

func (e endpoint) address() string { return net.JoinHostPort(e.host, e.port) }

// secure reports whether TLS is spoken.
func (e endpoint) secure() bool { return e.scheme == "mqtts" || e.scheme == "wss" }

// webSocket reports whether MQTT goes through a WebSocket.
func (e endpoint) webSocket() bool { return e.scheme == "ws" || e.scheme == "wss" }

// url is the address of the WebSocket. The port is left out where it is the
// scheme's own, as every HTTP client does in Host, which is signed.
func (e endpoint) url() string {
	host := e.address()
	if e.scheme == "wss" && e.port == "443" || e.scheme == "ws" && e.port == "80" {
		host = e.host
		if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
			host = "[" + host + "]"
		}
	}
	return e.scheme + "://" + host + e.path
}

// aws reports whether the host is one of AWS's own names. Custom domains cannot
// be told from any other host.
func (e endpoint) aws() bool {
	_, ok := upstream.ParseAWSHost(e.host)
	return ok
}
