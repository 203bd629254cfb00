package localbroker

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/rest"
)

// credentials are whom a connection speaks for, under one state of the
// listener's settings. The grants follow the policy by themselves.
type credentials struct {
	settings *settings
	who      *bridge.Principal
	may      bridge.Grants
}

// Admit implements rest.Caller. Who speaks is looked at for every request: a
// certificate may have been taken away, or have ended, since the last one.
func (c *httpClient) Admit(r *http.Request) error {
	if c.listener.full(c.raw, c.settings.Limits.Connections) { // B31
		return &rest.Refusal{Status: http.StatusServiceUnavailable, Text: "too many connections"}
	}
	if !mayCome(r, c.settings.Origins) {
		return &rest.Refusal{Status: http.StatusForbidden, Text: "the web page's origin is not among the listener's"}
	}
	now := c.listener.settings.Load()
	c.mu.Lock()
	known := c.known
	c.mu.Unlock()
	if known != nil && known.settings == now && !now.registered() {
		return nil
	}
	p, err := c.identify(now)
	if err != nil {
		c.broker.authErrors.count(authConnect)
		if f := c.broker.events.Refused; f != nil {
			f(c.listener.name, "unknown-principal")
		}
		return bridge.Errorf("authenticate", bridge.NotAuthorized, "%w", err)
	}
	if known != nil && known.settings == now {
		return nil // registered still
	}
	g, err := c.broker.authorizer.Grants(&p)
	if err != nil {
		return bridge.Errorf("authorize", bridge.NotAuthorized, "%w", err)
	}
	c.mu.Lock()
	c.known = &credentials{now, &p, g}
	c.mu.Unlock()
	c.listener.finished(c.raw)
	return nil
}

// registered reports whether clients are known by the registry's certificates.
func (s *settings) registered() bool {
	return s.Auth == authCertificate && s.TLS.ClientAuth != clientChain
}

// identify finds out whom the connection speaks for. Over HTTP there is no
// client id.
func (c *httpClient) identify(s *settings) (bridge.Principal, error) {
	var p bridge.Principal
	var err error
	cert := c.peer.cert
	switch {
	case s.Auth == authCertificate && cert == nil:
		return p, errors.New("no client certificate")
	case s.Auth == authPassword: // which Validate refuses
		return p, errors.New("the listener asks for passwords, which HTTP here does not have: use auth: certificate")
	case s.registered():
		p, err = c.broker.identities.Certificate(cert, "", c.broker.now())
	default:
		user := c.listener.name
		if s.Auth == authCertificate {
			user = cert.Subject.CommonName
		}
		p, err = c.broker.identities.Named(user, "", append([]string{}, s.Policies...))
	}
	if err != nil {
		return p, err
	}
	if cert != nil {
		p.Certificate, p.CertificateID = cert, fingerprint(cert)
	}
	if a, ok := c.raw.RemoteAddr().(*net.TCPAddr); ok {
		p.Remote = a.AddrPort()
	}
	p.Listener, p.Protocol, p.ServerName = c.listener.name, 0, c.peer.serverName
	return p, nil
}

// who is the caller and what it may do; Admit has been there.
func (c *httpClient) who() (*bridge.Principal, bridge.Grants) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.who, c.known.may
}

// name is who the caller is, for logs; empty before that is known.
func (c *httpClient) name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		return ""
	}
	return c.known.who.Name()
}

// ask asks the policy about what is no publish. A denial is counted.
func (c *httpClient) ask(q bridge.Request) error {
	who, may := c.who()
	d := may.Decide(q)
	if d.Allowed {
		return nil
	}
	c.broker.drops.Count("request-denied", who.Name(), q.Name)
	return bridge.Errorf(strings.TrimPrefix(string(q.Action), "iot:"), bridge.NotAuthorized, "%s", d.Reason)
}

// about is ask for an operation on another client, whose id has to be one, and
// takes one from the operation's pace.
func (c *httpClient) about(q bridge.Request) error {
	if q.Name == "" || len(q.Name) > c.profile.clientIDSize || c.profile.aws && q.Name[0] == '$' {
		return &rest.Refusal{Status: http.StatusBadRequest, Text: "that is no client id"}
	}
	if err := c.ask(q); err != nil {
		return err
	}
	return c.paced(q.Action, q.Name)
}

// requests counts answers by operation and status, both of a fixed set.
type requests struct {
	mu     sync.Mutex
	counts map[requestKind]int64
}

type requestKind struct {
	op     string
	status int
}

func (r *requests) count(op string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[requestKind]int64{}
	}
	r.counts[requestKind{op, status}]++
}

// RequestCount is how many HTTP requests had one answer since the start.
type RequestCount struct {
	Operation string // by AWS's name, such as "Publish"; empty for none of them
	Status    int
	Count     int64
}

// list is the counts, sorted by operation and status.
func (r *requests) list() []RequestCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]RequestCount, 0, len(r.counts))
	for k, n := range r.counts {
		out = append(out, RequestCount{k.op, k.status, n})
	}
	slices.SortFunc(out, func(a, b RequestCount) int {
		if n := strings.Compare(a.Operation, b.Operation); n != 0 {
			return n
		}
		return a.Status - b.Status
	})
	return out
}
