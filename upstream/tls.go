package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// TLSOptions are used where an endpoint has TLS.
type TLSOptions struct {
	CA         string   `koanf:"ca" doc:"PEM file with the authorities that may have signed the broker's certificate; empty: the system's."`
	Cert       string   `koanf:"cert" doc:"PEM file with our client certificate, for mutual TLS; read again at every connect."`
	Key        string   `koanf:"key" doc:"PEM file with the private key of cert."`
	ServerName string   `koanf:"server_name" doc:"Name that the broker's certificate must have and that is sent as SNI; empty: the endpoint's host."`
	ALPN       []string `koanf:"alpn" doc:"Protocol names to offer. Empty: on port 443 of AWS IoT Core x-amzn-mqtt-ca with a client certificate and mqtt with an authorizer, else none."`
}

// Config reads the files and makes the configuration for one connection to
// host. Reading them anew each time is how a renewed certificate is taken up.
// The server's name is always sent (SNI, B03).
func (o TLSOptions) Config(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host} // B02
	if o.ServerName != "" {
		c.ServerName = o.ServerName
	}
	if o.CA != "" {
		pool, err := readPool(o.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if o.Cert != "" {
		cert, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// Outdated says that a client certificate is not valid at a time, by its dates; empty
// for one that is, and for none. The clock may be what is wrong.
func (o TLSOptions) Outdated(cert *x509.Certificate, now time.Time) string {
	switch {
	case cert == nil:
	case now.After(cert.NotAfter):
		return fmt.Sprintf("the client certificate %s ended at %s", o.Cert, cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("the client certificate %s is not valid before %s, and the clock of this machine says %s", o.Cert, cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return ""
}

// Dated adds to a refusal that the client certificate is outside of its dates, when it
// is: few servers say why they do not take it.
func (o TLSOptions) Dated(err error, cert *x509.Certificate, now time.Time) error {
	e, ok := errors.AsType[*RefusedError](err)
	why := o.Outdated(cert, now)
	if !ok || why == "" {
		return err
	}
	return &RefusedError{Code: e.Code, Reason: e.Reason, Remedy: why + ": put one there that is valid; or " + e.Remedy, Err: err}
}

// Fits says why the files cannot be used at a time, nil when they can.
func (o TLSOptions) Fits(now time.Time) error {
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return err
	}
	if why := o.Outdated(pair.Leaf, now); why != "" {
		return errors.New(why)
	}
	return nil
}

// CAFits says why the file of authorities cannot be used, nil when it can or there is
// none.
func (o TLSOptions) CAFits() error {
	if o.CA == "" {
		return nil
	}
	_, err := readPool(o.CA)
	return err
}

func readPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authorities: no certificate in %s", path)
	}
	return pool, nil
}

// Validate lists everything that is wrong with the options, for an endpoint with
// TLS or without.
func (o TLSOptions) Validate(secure bool) []bridge.Problem {
	var out []bridge.Problem
	if !secure {
		if o.CA != "" || o.Cert != "" || o.Key != "" || o.ServerName != "" || len(o.ALPN) > 0 {
			out = append(out, bridge.Problem{Path: o.firstKey(), Text: "TLS is configured and the endpoint has none", Remedy: "use mqtts:// or wss://, or remove the tls section"})
		}
		return out
	}
	if o.CA != "" {
		if _, err := readPool(o.CA); err != nil {
			out = append(out, bridge.Problem{Path: "ca", Text: err.Error(), Remedy: "name a PEM file with the broker's authority (for AWS: Amazon Root CA 1), or leave it empty"})
		}
	}
	switch {
	case o.Cert == "" && o.Key != "":
		out = append(out, bridge.Problem{Path: "cert", Text: "a key is given without its certificate", Remedy: "set cert, or remove key"})
	case o.Cert != "" && o.Key == "":
		out = append(out, bridge.Problem{Path: "key", Text: "a certificate is given without its key", Remedy: "set key, or remove cert"})
	case o.Cert != "":
		if p, bad := o.validatePair(); bad {
			out = append(out, p)
		}
	}
	return out
}

// validatePair finds out which of certificate and key is to blame.
func (o TLSOptions) validatePair() (bridge.Problem, bool) {
	_, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err == nil {
		return bridge.Problem{}, false
	}
	p := bridge.Problem{Path: "cert", Text: err.Error(), Remedy: "name a PEM certificate and the PEM key that belongs to it"}
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		p.Remedy = "put the file there, and let the gateway's user read it"
		if pe.Path == o.Key {
			p.Path = "key"
		}
	}
	return p, true
}

func (o TLSOptions) firstKey() string {
	switch {
	case o.CA != "":
		return "ca"
	case o.Cert != "":
		return "cert"
	case o.Key != "":
		return "key"
	case o.ServerName != "":
		return "server_name"
	}
	return "alpn"
}
