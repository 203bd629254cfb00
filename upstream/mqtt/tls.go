package mqtt

import "crypto/tls"

// tlsConfig is the configuration of TLS for one connection.
func (o Options) tlsConfig(e endpoint) (*tls.Config, error) {
	c, err := o.TLS.Config(e.host)
	if err != nil {
		return nil, err
	}
	c.NextProtos = o.alpn(e)
	return c, nil
}

// ProtocolOf443 is the name by which AWS IoT Core tells MQTT on port 443, with a
// client certificate or for an authorizer.
func ProtocolOf443(certificate bool) string {
	if certificate {
		return alpnCertificate
	}
	return alpnAuthorizer
}

// alpn is what to offer: AWS tells the protocols on port 443 by it, and how one
// logs in (B06, B07). Elsewhere it is not needed (B05).
func (o Options) alpn(e endpoint) []string {
	switch {
	case e.webSocket():
		return []string{"http/1.1"}
	case len(o.TLS.ALPN) > 0:
		return o.TLS.ALPN
	case !e.aws() || e.port != "443":
		return nil
	}
	return []string{ProtocolOf443(o.TLS.Cert != "")}
}
