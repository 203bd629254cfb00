package localbroker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/ebbgate/ebbgate/bridge"
)

const pemSize = 1 << 20

var errNoServerName = errors.New("the device names no server (SNI), which tls.require_sni asks for") // B03

// loadTLS reads a listener's certificates.
func loadTLS(o ListenerOptions) (*tls.Config, error) {
	certPEM, err := readFile("tls.cert", o.TLS.Cert, pemSize)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile("tls.key", o.TLS.Key, pemSize)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, bridge.Errorf("tls", bridge.Unavailable, "%s and %s are not a certificate and its key: %w: name the PEM files that belong together", o.TLS.Cert, o.TLS.Key, err)
	}
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS12, // B02
		Certificates:           []tls.Certificate{pair},
		SessionTicketsDisabled: true,                               // B11: every connection proves its key
		NextProtos:             []string{"x-amzn-mqtt-ca", "mqtt"}, // B06, B07
	}
	switch o.Type {
	case typeWSS:
		cfg.NextProtos = []string{"http/1.1"}
	case typeHTTPS:
		cfg.NextProtos = []string{"x-amzn-http-ca", "http/1.1"} // B198
	}
	if o.Auth != authCertificate {
		return cfg, nil
	}
	cfg.ClientAuth = tls.RequireAnyClientCert // judged by Identities, once the client id is known
	if o.TLS.ClientAuth == clientFingerprint {
		return cfg, nil
	}
	caPEM, err := readFile("tls.client_ca", o.TLS.ClientCA, pemSize)
	if err != nil {
		return nil, err
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(caPEM) {
		return nil, bridge.Errorf("tls.client_ca", bridge.Unavailable, "%s has no certificate: write the CAs in PEM", o.TLS.ClientCA)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	return cfg, nil
}

// handshake does what lies between TCP and MQTT. The socket's deadline bounds
// it.
func (s *settings) handshake(raw net.Conn) (net.Conn, peer, error) {
	stream, p := raw, peer{}
	if s.tls != nil {
		secure := tls.Server(raw, s.tls)
		if err := secure.HandshakeContext(context.Background()); err != nil { // the deadline is the socket's
			return nil, p, err
		}
		p.serverName = secure.ConnectionState().ServerName
		if s.TLS.RequireSNI && p.serverName == "" {
			return nil, p, errNoServerName
		}
		if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
			p.cert, p.issuers = certs[0], certs[1:]
			p.verified = s.tls.ClientCAs // nil, unless the handshake has verified
		}
		stream = secure
	}
	if s.Type == typeWS || s.Type == typeWSS {
		ws, err := upgrade(stream, s.Origins)
		return ws, p, err
	}
	return stream, p, nil
}
