package https

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Options say how to reach one server.
type Options struct {
	Endpoint       string // https://host:port
	TLS            upstream.TLSOptions
	Login          http.Header // what a custom authorizer is given with each request; secret, nil without one
	Proxy          upstream.ProxyOptions
	Limits         upstream.Limits
	ConnectTimeout time.Duration // of TCP and TLS together
	AckTimeout     time.Duration // of one request
	Backoff        upstream.BackoffOptions
}

// The ports of AWS IoT Core's HTTP API, and the name by which it is told on 443
// where a certificate is the login (B198).
const (
	portCertificate = "8443"
	portAny         = "443"
	ProtocolOf443   = "x-amzn-http-ca"
	alpnHTTP        = "http/1.1"
)

// inFlight bounds the requests that are under way beside each other.
const inFlight = 32

// Window is how many messages may be under way at once: what a crash leaves on the way
// is no more than these, and what was answered and not yet released.
func (o Options) Window() int { return max(1, min(o.Limits.InFlight, inFlight)) }

// server is a parsed Options.Endpoint.
type server struct {
	host, port string
	known      bool // one of AWS's own names
}

func parse(s string) (server, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return server{}, fmt.Errorf("%q is not a URL", s)
	case u.Scheme != "https":
		return server{}, fmt.Errorf("%q does not start with https://", s)
	case u.User != nil:
		return server{}, errors.New("an endpoint holds no user name or password")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return server{}, fmt.Errorf("%q has more than a host and a port", s)
	case u.Hostname() == "":
		return server{}, fmt.Errorf("%q has no host", s)
	}
	at := server{host: u.Hostname(), port: u.Port()}
	if at.port == "" {
		at.port = portAny
	}
	_, at.known = upstream.ParseAWSHost(at.host)
	return at, nil
}

func (s server) address() string { return net.JoinHostPort(s.host, s.port) }

// url is the beginning of every address, without a port that goes without
// saying: Host is signed.
func (s server) url() string {
	host := s.address()
	if s.port == portAny {
		host = s.host
		if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
			host = "[" + host + "]"
		}
	}
	return "https://" + host
}

// alpn is what to offer: on port 443 AWS tells by it that a certificate is the
// login.
func (o Options) alpn(s server) []string {
	switch {
	case len(o.TLS.ALPN) > 0:
		return o.TLS.ALPN
	case s.known && s.port == portAny && o.TLS.Cert != "":
		return []string{ProtocolOf443}
	}
	return []string{alpnHTTP}
}

// Validate lists everything that is wrong with the options. signs says whether
// requests are signed.
func (o Options) Validate(signs bool) []bridge.Problem {
	var out []bridge.Problem
	add := func(path, text, remedy string) {
		out = append(out, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	s, err := parse(o.Endpoint)
	if err != nil {
		add("endpoint", err.Error(), "write it as https://host:8443, or https://host")
	}
	switch {
	case err != nil || !s.known:
	case o.TLS.Cert != "" && signs:
		add("tls.cert", "a client certificate and a signature are two logins", "remove tls.cert and tls.key, or aws.sign")
	case len(o.Login) > 0 && (o.TLS.Cert != "" || signs):
		add("authorizer", "a custom authorizer and another login are given", "choose one: remove authorizer, or tls.cert and tls.key, or set aws.sign to never")
	case o.TLS.Cert == "" && !signs && len(o.Login) == 0:
		add("tls.cert", "nothing is the login", "set tls.cert and tls.key, or authorizer, or let aws.sign be auto")
	case s.port != portAny && s.port != portCertificate:
		add("endpoint", "AWS IoT Core has its HTTP API on ports 8443 and 443, not on "+s.port, "use https://"+s.host+":8443, or https://"+s.host)
	case len(o.Login) > 0 && s.port != portAny:
		add("endpoint", "a custom authorizer is asked on port 443 only", "use https://"+s.host)
	case signs && s.port == portCertificate:
		add("endpoint", "on port 8443 AWS IoT Core takes client certificates only", "use https://"+s.host)
	}
	for name, values := range o.Login {
		if !isHeader(name, values[0]) {
			add("authorizer", "over HTTPS its name, token and signature travel as headers, and one of them cannot: "+name, "use letters, digits and '-' in token_key, and no line breaks in the values")
		}
	}
	for _, p := range o.TLS.Validate(true) {
		p.Path = "tls." + p.Path
		out = append(out, p)
	}
	return append(out, o.Proxy.Validate()...)
}

// isHeader reports whether a header may have that name and value.
func isHeader(name, value string) bool {
	foreign := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	return name != "" && !strings.ContainsFunc(name, foreign) && !strings.ContainsFunc(value, control)
}
