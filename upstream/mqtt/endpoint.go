package mqtt

import (
	"fmt"
	"net"
	"net/url"

	"github.com/ebbgate/ebbgate/upstream"
)

// endpoint is a parsed Options.Endpoint.
type endpoint struct {
	secure     bool
	host, port string
}

func parseEndpoint(s string) (endpoint, error) {
	u, err := url.Parse(s)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is not a URL", s)
	}
	var e endpoint
	switch u.Scheme {
	case "mqtt":
		e.port = "1883"
	case "mqtts":
		e.secure, e.port = true, "8883"
	default:
		return endpoint{}, fmt.Errorf("%q does not start with mqtt:// or mqtts://", s)
	}
	if u.User != nil {
		return endpoint{}, fmt.Errorf("an endpoint holds no user name or password")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, fmt.Errorf("%q has more than a host and a port", s)
	}
	if e.host = u.Hostname(); e.host == "" {
		return endpoint{}, fmt.Errorf("%q has no host", s)
	}
	if u.Port() != "" {
		e.port = u.Port()
	}
	return e, nil
}

func (e endpoint) address() string { return net.JoinHostPort(e.host, e.port) }

func (e endpoint) scheme() string {
	if e.secure {
		return "mqtts"
	}
	return "mqtt"
}

// aws reports whether the host is one of AWS's own names. Custom domains cannot
// be told from any other host.
func (e endpoint) aws() bool {
	_, ok := upstream.ParseAWSHost(e.host)
	return ok
}
