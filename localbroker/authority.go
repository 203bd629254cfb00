package localbroker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// authority is what a connection may do, and with it its session. It is a
// bridge.Grants that stays the same while what stands behind it is replaced: a
// reload can give a listener other policies or take a user away, which the
// grants of the policy, who follow documents and registry only, do not see.
type authority struct {
	broker   *Broker
	listener *listener
	who      *bridge.Principal
	named    bool // by user name or listener, not by a registered certificate
	login    bool // with a password

	attached []string // by the listener; guarded by Broker.enforcing
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
	s := c.settings
	a := &authority{
		broker: c.broker, listener: c.listener, who: c.principal,
		named:    s.Auth != authCertificate || s.TLS.ClientAuth == clientChain,
		login:    s.Auth == authPassword,
		attached: s.Policies,
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

// renew looks at the listener's settings again. Broker.enforcing is held.
func (a *authority) renew() {
	_ = a.now()
	if !a.named || a.listener == nil {
		return // the grants follow the registry
	}
	s := a.listener.settings.Load()
	if a.login && s.Auth == authPassword && !s.users.has(a.who.User) {
		a.revoke("denied: user " + a.who.User + " is no longer among the listener's users")
		a.attached = nil
		return
	}
	if slices.Equal(a.attached, s.Policies) {
		return
	}
	a.attached = s.Policies
	p, err := a.broker.identities.Named(a.who.User, a.who.ClientID, append([]string{}, s.Policies...))
	if err != nil {
		a.revoke("denied: " + err.Error())
		return
	}
	p.ClientID, p.Listener, p.Remote, p.Protocol = a.who.ClientID, a.who.Listener, a.who.Remote, a.who.Protocol
	p.Certificate, p.CertificateID, p.ServerName = a.who.Certificate, a.who.CertificateID, a.who.ServerName
	g, err := a.broker.authorizer.Grants(&p)
	if err != nil {
		a.revoke("denied: " + err.Error())
		return
	}
	a.grants.Store(&g)
}

// revoke denies everything from now on.
func (a *authority) revoke(reason string) {
	var g bridge.Grants = revoked(reason)
	a.grants.Store(&g)
}

// revoked is the grants of who may do nothing, for this reason.
type revoked string

// Decide implements bridge.Grants.
func (n revoked) Decide(bridge.Request) bridge.Decision { return bridge.Decision{Reason: string(n)} }
