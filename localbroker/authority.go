package localbroker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// authority is what a connection may do, and with it its session. It is a
// bridge.Grants that stays the same while what stands behind it is replaced: a
// reload can give a listener other policies, take a user away or ask for another
// proof of who somebody is, which the grants of the policy, who follow documents
// and registry only, do not see.
type authority struct {
	broker   *Broker
	listener *listener
	who      *bridge.Principal
	admitted *settings // that let it in
	peer     peer
	since    time.Time

	attached []string    // by the listener; guarded by Broker.enforcing
	gone     atomic.Bool // denied everything by revoke
	grants   atomic.Pointer[bridge.Grants]

	absent *owner // of a session that an earlier start has left: the policy is asked once it matters
	once   sync.Once
}

// authorityOf asks the policy what the connection's principal may do.
func (c *client) authorityOf() (*authority, error) {
	g, err := c.broker.authorizer.Grants(c.principal)
	if err != nil {
		return nil, err
	}
	a := &authority{
		broker: c.broker, listener: c.listener, who: c.principal,
		admitted: c.settings, peer: c.peer, since: c.since, attached: c.settings.Policies,
	}
	a.grants.Store(&g)
	return a, nil
}

// Decide implements bridge.Grants.
func (a *authority) Decide(r bridge.Request) bridge.Decision { return a.now().Decide(r) }

// now is what stands behind it at present: for one question, not to be kept.
func (a *authority) now() bridge.Grants {
	if a.grants.Load() == nil {
		a.resolve()
	}
	return *a.grants.Load()
}

// named reports whether clients come in by user name or listener, not by a
// registered certificate.
func (s *settings) named() bool { return s.Auth != authCertificate || s.TLS.ClientAuth == clientChain }

// renew looks at the listener's settings again. Broker.enforcing is held.
func (a *authority) renew() {
	_ = a.now()
	if a.listener == nil {
		return
	}
	s := a.listener.settings.Load()
	if why := a.refused(s); why != "" {
		a.revoke("denied: " + why)
		return
	}
	if !a.gone.Load() && (!s.named() || slices.Equal(a.attached, s.Policies)) {
		return // the grants follow the registry
	}
	if a.absent != nil {
		a.attached = s.Policies
		a.renewAbsent()
		return
	}
	p := *a.who
	if s.named() {
		var err error
		if p, err = a.broker.identities.Named(a.who.User, a.who.ClientID, append([]string{}, s.Policies...)); err != nil {
			a.revoke("denied: " + err.Error())
			return
		}
		p.ClientID, p.Listener, p.Remote, p.Protocol = a.who.ClientID, a.who.Listener, a.who.Remote, a.who.Protocol
		p.Certificate, p.CertificateID, p.ServerName = a.who.Certificate, a.who.CertificateID, a.who.ServerName
	}
	g, err := a.broker.authorizer.Grants(&p)
	if err != nil {
		a.revoke("denied: " + err.Error())
		return
	}
	a.attached = s.Policies
	a.gone.Store(false)
	a.grants.Store(&g)
}

// refused says why the listener would not take the proof any more that let the
// connection in; empty when it would.
func (a *authority) refused(s *settings) string {
	was := a.admitted
	switch {
	case a.absent != nil && a.absent.proof != s.proof():
		return "the listener asks for " + s.proof() + " now, and its session began with " + a.absent.proof
	case s.Auth != was.Auth:
		return "the listener asks for auth " + s.Auth + " now"
	case s.Auth == authPassword && !s.users.has(a.who.User):
		return "user " + a.who.User + " is no longer among the listener's users"
	case s.Auth != authCertificate || s == was || a.absent != nil: // who is absent has to prove it when it comes
		return ""
	case s.named() != was.named():
		return "the listener asks for client_auth " + s.TLS.ClientAuth + " now"
	}
	if err := s.issued(a.peer, a.since); err != nil {
		return "the listener's client_ca has not issued the certificate: " + err.Error()
	}
	return ""
}

// revoke denies everything from now on.
func (a *authority) revoke(reason string) {
	var g bridge.Grants = revoked(reason)
	a.grants.Store(&g)
	a.gone.Store(true)
}

// revoked is the grants of who may do nothing, for this reason.
type revoked string

// Decide implements bridge.Grants.
func (n revoked) Decide(bridge.Request) bridge.Decision { return bridge.Decision{Reason: string(n)} }
