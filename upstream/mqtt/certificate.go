package mqtt

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// certificateSoon is when the end of a certificate becomes a warning.
const certificateSoon = 30 * 24 * time.Hour

// certificate tells of a client certificate that ends, or of new files that
// cannot be used; cert may be nil.
func (h *health) certificate(cert *x509.Certificate, trouble string, now time.Time) {
	code := h.prefix + "-certificate"
	w := bridge.Warning{Code: code, Severity: bridge.Degraded}
	switch {
	case trouble != "":
		w.Text = fmt.Sprintf("%s: %s; the connection goes on with what it had before until it ends", h.o.Endpoint, trouble)
	case cert == nil || cert.NotAfter.Sub(now) > certificateSoon:
		h.hooks.Over(code)
		return
	case now.After(cert.NotAfter):
		w.Severity = bridge.Critical
		w.Text = fmt.Sprintf("%s: the client certificate %s ended at %s; put a new one there: it is taken up by itself", h.o.Endpoint, h.o.TLS.Cert, cert.NotAfter.UTC().Format(time.RFC3339))
	default:
		w.Text = fmt.Sprintf("%s: the client certificate %s ends at %s; put a new one there: it is taken up by itself, and nothing is lost", h.o.Endpoint, h.o.TLS.Cert, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	h.hooks.Warn(w)
}
