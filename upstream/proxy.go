package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// ProxyOptions are the way through an HTTP proxy, by CONNECT.
type ProxyOptions struct {
	Proxy    string        `koanf:"proxy" doc:"HTTP proxy on the way, as http://host:port; environment takes HTTPS_PROXY and NO_PROXY. It resolves the endpoint's name and is asked for a tunnel (CONNECT). Empty: none, whatever the environment says."`
	Username string        `koanf:"proxy_username" doc:"User name for the proxy."`
	Password bridge.Secret `koanf:"proxy_password" doc:"Password for the proxy, as ${ENV} or file: reference."`
}

// fromEnvironment is the value of ProxyOptions.Proxy that asks the environment.
const fromEnvironment = "environment"

// Validate lists everything that is wrong with the options.
func (o ProxyOptions) Validate() []bridge.Problem {
	var out []bridge.Problem
	if o.Proxy != "" && o.Proxy != fromEnvironment {
		if _, err := parseProxy(o.Proxy); err != nil {
			out = append(out, bridge.Problem{Path: "proxy", Text: err.Error(), Remedy: "write it as http://host:port, or environment"})
		}
	}
	switch {
	case o.Proxy == "" && (o.Username != "" || o.Password != ""):
		out = append(out, bridge.Problem{Path: "proxy", Text: "a login is given for a proxy, and no proxy", Remedy: "set proxy, or remove proxy_username and proxy_password"})
	case o.Password != "" && o.Username == "":
		out = append(out, bridge.Problem{Path: "proxy_username", Text: "a password is given without a user name", Remedy: "set it, or remove proxy_password"})
	}
	return out
}

func parseProxy(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("the proxy is not a URL") // its text may hold a password
	case u.Scheme != "http":
		return nil, fmt.Errorf("%q is not a kind of proxy that we speak to", u.Scheme)
	case u.User != nil:
		return nil, errors.New("a proxy's URL holds no login here: use proxy_username and proxy_password")
	case u.Hostname() == "":
		return nil, errors.New("the proxy has no host")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the proxy %s has more than a host and a port", u.Host)
	}
	return u, nil
}

// ProxyError is what a proxy answered instead of opening a tunnel.
type ProxyError struct {
	Proxy  string // host and port
	Status int    // of HTTP
	Target string // host and port that it was asked for
}

// Error is the answer in words.
func (e *ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s answered %d %s when asked for a tunnel to %s", e.Proxy, e.Status, http.StatusText(e.Status), e.Target)
}

// Remedy is what a person can do about it; empty when it may pass by itself.
func (e *ProxyError) Remedy() string {
	switch {
	case e.Status == http.StatusProxyAuthRequired:
		return "set proxy_username and proxy_password as the proxy asks for them"
	case e.Status == http.StatusForbidden, e.Status == http.StatusMethodNotAllowed:
		return "let the proxy's rules allow CONNECT to " + e.Target
	case e.Status < 500:
		return "check that proxy names an HTTP proxy that takes CONNECT"
	}
	return ""
}

// SilentProxyError says that a proxy takes connections, and has not answered what it
// was asked for: what a firewall's rule that throws away looks like.
type SilentProxyError struct {
	Proxy  string        // host and port
	Target string        // likewise, what it was asked for
	After  time.Duration // that it was waited for
	Err    error         // the end of that time
}

// Error says what was asked for, and what most such rules are about.
func (e *SilentProxyError) Error() string {
	s := fmt.Sprintf("the proxy %s has not answered within %v when asked for a tunnel to %s", e.Proxy, e.After.Round(100*time.Millisecond), e.Target)
	if _, port, _ := net.SplitHostPort(e.Target); port != "443" {
		s += "; let its rules allow CONNECT there, or use a way on port 443, which is all that many allow"
	}
	return s
}

// Unwrap returns the cause.
func (e *SilentProxyError) Unwrap() error { return e.Err }

// Dialer opens TCP connections, through a proxy where there is one.
type Dialer struct {
	o           ProxyOptions
	patient     func() bool // another way carries the messages; nil: none does
	dial        func(ctx context.Context, network, address string) (net.Conn, error)
	environment func(*http.Request) (*url.URL, error)
}

// NewDialer makes a dialer from valid options.
func NewDialer(o ProxyOptions) *Dialer {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return newNetDialer().DialContext(ctx, network, address)
	}
	return &Dialer{o: o, dial: dial, environment: http.ProxyFromEnvironment}
}

// Share makes the dialer one of those to one upstream. Call it before the first
// Dial.
func (d *Dialer) Share(s Shared) { d.patient = s.Elsewhere }

// Dial reaches host:port. What a proxy refuses is a [ProxyError], and an address
// where nobody answers an [UnansweredError].
func (d *Dialer) Dial(ctx context.Context, address string) (net.Conn, error) {
	proxy, login, err := d.proxyFor(address)
	if err != nil {
		return nil, err
	}
	if proxy == "" {
		c, err := d.persist(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", address, err)
		}
		return c, nil
	}
	c, err := d.persist(ctx, proxy)
	if err != nil {
		return nil, fmt.Errorf("connect to the proxy %s: %w", proxy, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	asked := time.Now()
	err = tunnel(c, proxy, address, login)
	if !stop() {
		err = &SilentProxyError{Proxy: proxy, Target: address, After: time.Since(asked), Err: ctx.Err()}
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// proxyFor is the host and port of the proxy on the way to an address, none
// when it is empty, with what to send as Proxy-Authorization.
func (d *Dialer) proxyFor(address string) (hostPort, login string, err error) {
	if d.o.Proxy == "" {
		return "", "", nil
	}
	user, password := d.o.Username, string(d.o.Password)
	var u *url.URL
	if d.o.Proxy == fromEnvironment {
		// Whatever is spoken through the tunnel, it is a tunnel as for https.
		u, err = d.environment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
		switch {
		case err != nil:
			return "", "", errors.New("HTTPS_PROXY in the environment is not a URL") // err may show a password
		case u == nil:
			return "", "", nil
		case u.Scheme != "http" || u.Hostname() == "":
			return "", "", errors.New("HTTPS_PROXY in the environment does not name a proxy as http://host:port")
		}
		if u.User != nil && user == "" {
			user = u.User.Username()
			password, _ = u.User.Password()
		}
	} else if u, err = parseProxy(d.o.Proxy); err != nil {
		return "", "", err
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	if user != "" {
		login = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	return net.JoinHostPort(u.Hostname(), port), login, nil
}

// proxyAnswer bounds the head of a proxy's answer.
const proxyAnswer = 16 << 10

// tunnel asks a proxy for a connection to address.
func tunnel(c net.Conn, proxy, address, login string) error {
	var ask strings.Builder
	_, _ = fmt.Fprintf(&ask, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: ebbgate\r\n", address, address)
	if login != "" {
		_, _ = fmt.Fprintf(&ask, "Proxy-Authorization: %s\r\n", login)
	}
	ask.WriteString("\r\n")
	if _, err := c.Write([]byte(ask.String())); err != nil {
		return fmt.Errorf("ask the proxy %s: %w", proxy, err)
	}
	head, err := readHead(c)
	if err != nil {
		return fmt.Errorf("answer of the proxy %s: %w", proxy, err)
	}
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("answer of the proxy %s: %w", proxy, err)
	}
	_ = res.Body.Close() // there is none: the head was all that was read
	if res.StatusCode/100 != 2 {
		return &ProxyError{Proxy: proxy, Status: res.StatusCode, Target: address}
	}
	return nil
}

// readHead reads the head of an HTTP answer and not a byte behind it: what
// follows belongs to the tunnel. A line may end without a CR (RFC 9112, 2.2).
func readHead(c net.Conn) (string, error) {
	var head []byte
	var b [1]byte
	for !bytes.HasSuffix(head, []byte("\n\r\n")) && !bytes.HasSuffix(head, []byte("\n\n")) {
		if len(head) == proxyAnswer {
			return "", fmt.Errorf("no end within %d bytes", proxyAnswer)
		}
		if _, err := c.Read(b[:]); err != nil {
			return "", err
		}
		head = append(head, b[0])
	}
	return string(head), nil
}
