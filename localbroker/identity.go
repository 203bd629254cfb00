package localbroker

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Identities knows who may speak. Package policy implements it on the things
// file. It is safe for concurrent use.
type Identities interface {
	// Certificate resolves a client certificate: registered by fingerprint
	// (SHA-256 of the DER, lower-case hex), ACTIVE, and within its dates at
	// now. Otherwise the error is a *bridge.Error of kind NotAuthorized.
	Certificate(cert *x509.Certificate, clientID string, now time.Time) (bridge.Principal, error)

	// Named resolves a user, or the anonymous principal of a listener under
	// the listener's name, with these policies attached. The thing named like
	// the client id is looked up. The error is a *bridge.Error.
	Named(user, clientID string, policies []string) (bridge.Principal, error)
}

// peer is what the transport knows about the other side.
type peer struct {
	cert       *x509.Certificate   // presented in the TLS handshake, or nil
	issuers    []*x509.Certificate // presented with it
	verified   *x509.CertPool      // the CAs that the handshake found it issued by, or nil
	serverName string              // whom the other side wanted to reach (SNI), or empty
}

// identify finds out whom the connection speaks for. With certificates user
// name and password are ignored: AWS's SDKs send them as metrics.
func (c *client) identify() (*bridge.Principal, error) {
	var p bridge.Principal
	var err error
	s := c.settings
	switch s.Auth {
	case authCertificate:
		p, err = c.certified()
	case authPassword:
		h := &c.hello.Connect
		user := string(h.Username)
		if !h.UsernameFlag || !s.users.verify(user, h.Password, s.Limits.ConnectTimeout, c.wire.done) {
			return nil, refuse("bad-login", 0x86, 4, nil) // B26
		}
		p, err = c.named(user)
	default:
		p, err = c.named(c.listener.name)
	}
	if err != nil {
		if c.profile.silent && s.Auth == authCertificate {
			return nil, refuse("certificate", 0, 0, err) // B12: a hang-up
		}
		return nil, refuse("unknown-principal", 0x87, 5, err)
	}
	p.ClientID, p.Listener, p.Remote, p.Protocol = c.id, c.listener.name, c.remote, c.version
	p.ServerName = c.peer.serverName
	return &p, nil
}

// named resolves a principal that has the listener's policies, be they none.
func (c *client) named(user string) (bridge.Principal, error) {
	return c.broker.identities.Named(user, c.id, append([]string{}, c.settings.Policies...))
}

// issued reports whether the CAs that client_auth asks for, if it does, have
// issued the certificate that somebody presented. The handshake says so, unless it
// was made before the CAs were what they are.
func (s *settings) issued(p peer, since time.Time) error {
	if s.TLS.ClientAuth == clientFingerprint {
		return nil
	}
	if p.verified != nil && p.verified.Equal(s.tls.ClientCAs) {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range p.issuers {
		between.AddCert(c)
	}
	_, err := p.cert.Verify(x509.VerifyOptions{Roots: s.tls.ClientCAs, Intermediates: between, CurrentTime: since, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// certified resolves the client certificate.
func (c *client) certified() (bridge.Principal, error) {
	cert := c.peer.cert
	if cert == nil {
		return bridge.Principal{}, errors.New("no client certificate")
	}
	if err := c.settings.issued(c.peer, c.since); err != nil {
		return bridge.Principal{}, err
	}
	var p bridge.Principal
	var err error
	if c.settings.TLS.ClientAuth == clientChain {
		p, err = c.named(cert.Subject.CommonName)
	} else {
		p, err = c.broker.identities.Certificate(cert, c.id, c.broker.now())
	}
	if err != nil {
		return p, err
	}
	p.Certificate, p.CertificateID = cert, fingerprint(cert)
	return p, nil
}

// fingerprint is the id of a certificate.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}
