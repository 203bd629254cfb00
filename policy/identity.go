package policy

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// clockFloor is a time that has passed for certain: a clock before it has not
// been set since the machine started.
var clockFloor = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// Certificate makes the principal of a client that presented cert: it must be
// registered by its fingerprint, ACTIVE, and within its dates. The error, of
// kind NotAuthorized, says which of these failed.
//
// Where now is before 2024 the clock has not been set. The dates are then not
// compared, except that a certificate which ended before 2024 is refused all
// the same, and [Engine.DatesUnchecked] counts it: a site that comes back from
// a power cut without time would lose all its devices otherwise.
func (e *Engine) Certificate(cert *x509.Certificate, clientID string, now time.Time) (bridge.Principal, error) {
	id := certificateID(cert.Raw)
	p := bridge.Principal{ClientID: clientID, User: id, CertificateID: id, Certificate: cert}
	st, t, err := e.current.Load().certified(&p)
	if err != nil {
		return bridge.Principal{}, bridge.Errorf("authenticate", bridge.NotAuthorized, "%w", err)
	}
	if err := e.dates(cert, now); err != nil {
		return bridge.Principal{}, bridge.Errorf("authenticate", bridge.NotAuthorized, "certificate %s %w", id, err)
	}
	p.Policies = st.policies
	if t != nil {
		p.Thing, p.ThingAttached, p.ThingExclusive = t.Thing, true, st.session.exclusive
	}
	return p, nil
}

func (e *Engine) dates(cert *x509.Certificate, now time.Time) error {
	unset := now.Before(clockFloor)
	if unset {
		e.undated.Add(1)
		now = clockFloor
	}
	if now.After(cert.NotAfter) {
		return fmt.Errorf("ended on %s: issue a new one", cert.NotAfter.UTC().Format(time.DateOnly))
	}
	if !unset && now.Before(cert.NotBefore) {
		return fmt.Errorf("starts on %s, the clock says %s: set the clock, or wait", cert.NotBefore.UTC().Format(time.DateOnly), now.UTC().Format(time.DateOnly))
	}
	return nil
}

// DatesUnchecked counts the certificates accepted or refused without a look at
// their first day, because the clock had not been set.
func (e *Engine) DatesUnchecked() int64 { return e.undated.Load() }

// Named makes the principal of a client that authenticated by user name, or of
// an anonymous one under the listener's name. It has the listener's policies,
// and those of the user and the thing that the registry knows of this name.
func (e *Engine) Named(user, clientID string, policies []string) (bridge.Principal, error) {
	p := bridge.Principal{ClientID: clientID, User: user, ListenerPolicies: slices.Clone(policies)}
	s := e.current.Load()
	st, t := s.named(&p)
	for _, name := range st.policies {
		if s.documents[name] == nil {
			return bridge.Principal{}, bridge.Errorf("authenticate", bridge.NotAuthorized, "%w %q, which the listener names: put %s.json into the policies folder", errNoPolicy, name, name)
		}
	}
	p.Policies = st.policies
	if t != nil {
		p.Thing, p.ThingAttached = t.Thing, true
	}
	return p, nil
}

// stand finds where a principal stands now.
func (s *snapshot) stand(p *bridge.Principal) (standing, error) {
	st := standing{}
	var err error
	if p.CertificateID != "" && p.ListenerPolicies == nil {
		st, _, err = s.certified(p)
	} else {
		st, _ = s.named(p)
		if c := s.registry.certificates[p.CertificateID]; c != nil && c.status != active {
			err = notActive(p.CertificateID, c)
		}
	}
	st.session.http = p.Protocol == 0
	st.session.domain = p.ServerName
	st.session.sourceIP = addressText(p.Remote.Addr())
	return st, err
}

func notActive(id string, c *certificate) error {
	return fmt.Errorf("certificate %s is %s: set it to ACTIVE in the registry", id, c.status)
}

// certified is the standing of a principal by its certificate. Its thing comes
// from the registry of this snapshot.
func (s *snapshot) certified(p *bridge.Principal) (standing, *thing, error) {
	c := s.registry.certificates[p.CertificateID]
	if c == nil {
		return standing{}, nil, fmt.Errorf("certificate %s is not registered: list it at its thing in the registry", p.CertificateID)
	}
	if c.status != active {
		return standing{}, nil, notActive(p.CertificateID, c)
	}
	t := s.registry.thingOf(c, p.ClientID)
	st := s.attach(p, t, c.policies)
	st.session.exclusive = c.exclusive
	return st, t, nil
}

// named is the standing of a principal by user name. A user may be bound to a
// thing as a certificate is.
func (s *snapshot) named(p *bridge.Principal) (standing, *thing) {
	var own []string
	var t *thing
	if u := s.registry.users[p.User]; u != nil {
		own = u.policies
		if u.thing == p.ClientID {
			t = s.registry.things[u.thing]
		}
	}
	return s.attach(p, t, p.ListenerPolicies, own), t
}

func (s *snapshot) attach(p *bridge.Principal, t *thing, policies ...[]string) standing {
	st := standing{session: session{clientID: p.ClientID}}
	if t != nil {
		st.session.thing, st.session.thingType, st.session.attribute = t.Name, t.Type, t.Attributes
		st.session.attached = true
		st.groups = t.Groups
	}
	if p.Certificate != nil {
		st.session.certificate = factsOf(p.Certificate, p.CertificateID)
	}
	st.policies = distinct(append(policies, s.registry.groupPolicies(t, p.ClientID))...)
	return st
}
