package localbroker

import (
	"crypto/x509"
	"errors"

	"github.com/ebbgate/ebbgate/bridge"
)

// authorityFor is the authority of who was connected before this start. The
// policy is asked when the first question comes: a start does not wait for
// thousands of them.
func (b *Broker) authorityFor(o owner, who *bridge.Principal) *authority {
	a := &authority{broker: b, listener: b.listenerNamed(o.listener), who: who, absent: &o}
	if a.listener == nil {
		a.revoke("denied: there is no listener " + o.listener + " any more")
		return a
	}
	s := a.listener.settings.Load()
	a.admitted, a.attached = s, s.Policies
	return a
}

// proof is how clients of the listener prove who they are.
func (s *settings) proof() string {
	if s.Auth == authCertificate && s.named() {
		return s.Auth + "-" + clientChain
	}
	return s.Auth
}

// proof is how this one did.
func (a *authority) proof() string {
	switch {
	case a.absent != nil:
		return a.absent.proof
	case a.admitted != nil:
		return a.admitted.proof()
	default:
		return ""
	}
}

// resolve asks who the owner is today, and for the grants.
func (a *authority) resolve() {
	a.once.Do(func() {
		if a.grants.Load() == nil {
			a.renewAbsent()
		}
	})
}

// renewAbsent asks again.
func (a *authority) renewAbsent() {
	g, err := a.grantsOf(a.absent)
	if err != nil {
		a.revoke("denied: " + err.Error())
		return
	}
	a.gone.Store(false)
	a.grants.Store(&g)
}

func (a *authority) grantsOf(o *owner) (bridge.Grants, error) {
	s := a.listener.settings.Load()
	if why := a.refused(s); why != "" {
		return nil, errors.New(why)
	}
	p, err := a.identity(s, o)
	if err != nil {
		return nil, err
	}
	who := a.who
	p.ClientID, p.Listener, p.Remote, p.Protocol, p.ServerName = who.ClientID, who.Listener, who.Remote, who.Protocol, who.ServerName
	return a.broker.authorizer.Grants(p)
}

func (a *authority) identity(s *settings, o *owner) (*bridge.Principal, error) {
	var cert *x509.Certificate
	if s.Auth == authCertificate {
		var err error
		if cert, err = x509.ParseCertificate(o.cert); err != nil {
			return nil, err
		}
	}
	var p bridge.Principal
	var err error
	if s.named() {
		p, err = a.broker.identities.Named(o.user, o.clientID, append([]string{}, s.Policies...))
	} else {
		p, err = a.broker.identities.Certificate(cert, o.clientID, a.broker.now())
	}
	if err != nil {
		return nil, err
	}
	if cert != nil {
		p.Certificate, p.CertificateID = cert, fingerprint(cert)
	}
	return &p, nil
}
