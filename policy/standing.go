package policy

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// Who names a client by what it would log in with. What is left out is looked
// up: the certificate is the one of the thing named like the client.
type Who struct {
	ClientID    string
	Thing       string            // whose certificate is presented; empty: the thing named like the client
	Certificate string            // id of the certificate presented
	X509        *x509.Certificate // the same as a whole; then its names are known too
	User        string            // user name, instead of a certificate
	Policies    []string          // the listener's, for a user
}

// Standing is what documents and registry give a client.
type Standing struct {
	Policies []string // names of the documents that apply
	Context  Context
}

// Standing finds where a client stands in the registry, away from the gateway.
// The error says why it would not be let in at all, or what to name in
// addition.
func (e *Engine) Standing(who Who) (Standing, error) {
	s := e.current.Load()
	p, err := s.principal(who)
	if err != nil {
		return Standing{}, err
	}
	st, err := s.stand(&p)
	if err != nil {
		return Standing{}, err
	}
	if _, _, err := s.attached(st.policies); err != nil {
		return Standing{}, err
	}
	x := st.session
	c := Context{
		ClientID: x.clientID, ThingName: x.thing, ThingAttached: x.attached, ThingExclusive: x.exclusive,
		ThingType: x.thingType, ThingAttributes: x.attribute, ThingGroups: st.groups, User: p.User,
	}
	switch facts := x.certificate; {
	case facts != nil:
		c.Certificate = &CertificateContext{ID: facts.id, Serial: facts.serial, Subject: facts.subject, Issuer: facts.issuer}
	case p.CertificateID != "":
		c.Certificate = &CertificateContext{ID: p.CertificateID}
	}
	return Standing{Policies: st.policies, Context: c}, nil
}

// principal is the client as it would be after its login.
func (s *snapshot) principal(who Who) (bridge.Principal, error) {
	p := bridge.Principal{ClientID: who.ClientID, User: who.User, CertificateID: who.Certificate, Certificate: who.X509, Protocol: 5}
	if who.User != "" {
		p.ListenerPolicies = append([]string{}, who.Policies...)
		return p, nil
	}
	if who.X509 != nil {
		p.CertificateID = certificateID(who.X509.Raw)
	}
	if p.CertificateID == "" {
		id, err := s.registry.onlyCertificate(who)
		if err != nil {
			return p, err
		}
		p.CertificateID = id
	}
	p.User = p.CertificateID
	return p, nil
}

// onlyCertificate is the one of the client's thing.
func (r *registry) onlyCertificate(who Who) (string, error) {
	name := who.Thing
	if name == "" {
		name = who.ClientID
	}
	t := r.things[name]
	if t == nil {
		return "", fmt.Errorf("the registry has no thing %q; name another thing, the certificate or the user that the client logs in with", shorten(name))
	}
	ids := slices.Sorted(slices.Values(t.certificates))
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("thing %s has no certificate in the registry; name the user that it logs in with, or list its certificate", name)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("thing %s has %d certificates: %s; name one of them", name, len(ids), strings.Join(ids, ", "))
}

// CertificateFacts reads from a certificate what policies can ask about.
func CertificateFacts(cert *x509.Certificate) *CertificateContext {
	facts := factsOf(cert, certificateID(cert.Raw))
	return &CertificateContext{ID: facts.id, Serial: facts.serial, Subject: facts.subject, Issuer: facts.issuer}
}

// With is a desk for other options, which shares what is compiled.
func (d *Desk) With(opts Options) (*Desk, error) {
	if err := opts.problems(); err != nil {
		return nil, err
	}
	return &Desk{gateway: opts.gateway(), rules: d.rules, now: d.now}, nil
}
