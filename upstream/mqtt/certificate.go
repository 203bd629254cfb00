package mqtt

import (
	"crypto/x509"
	"time"
)

// certificate tells of a client certificate that ends, or of new files that
// cannot be used; cert may be nil.
func (h *health) certificate(cert *x509.Certificate, trouble string, now time.Time) {
	h.hooks.Certificate(h.prefix+"-certificate", h.o.Endpoint, h.o.TLS.Cert, cert, trouble, now)
}
