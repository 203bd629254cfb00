package upstream

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// CertFiles is what the files of TLS held when a connection was made with them.
type CertFiles struct {
	tls  TLSOptions
	pair Pair
	ca   stamp // when it was last good
}

// stamp tells one content of a file from another: its hash, for size and time may be
// the same. Zero is that of a file that cannot be read.
type stamp = [sha256.Size]byte

// maxCertificate bounds what is read of a file.
const maxCertificate = 1 << 20

// Files are the files as they are now. Take them before they are read: what comes later
// is seen as new.
func (o TLSOptions) Files() CertFiles {
	return CertFiles{tls: o, pair: o.pair(), ca: stampOf(o.CA)}
}

func (o TLSOptions) pair() Pair { return Pair{Cert: stampOf(o.Cert), Key: stampOf(o.Key)} }

// Pair is that of the client certificate.
func (f *CertFiles) Pair() Pair { return f.pair }

// Look looks at the files again: whether there is another client certificate that can
// be used, which one, and what is wrong with what has changed.
func (f *CertFiles) Look(now time.Time) (fresh bool, as Pair, trouble string) {
	if ca := stampOf(f.tls.CA); ca != f.ca {
		if err := f.tls.CAFits(); err != nil {
			trouble = "the file of tls.ca has changed and cannot be used: " + err.Error()
		} else {
			f.ca = ca
		}
	}
	if as = f.tls.pair(); as == f.pair {
		return false, as, trouble
	}
	// Two files are not replaced in one moment: the link lives on with what it has
	// until they fit.
	if err := f.tls.Fits(now); err != nil {
		return false, as, "the files of tls.cert and tls.key have changed and do not fit: " + err.Error()
	}
	return trouble == "", as, trouble
}

func stampOf(path string) stamp {
	if path == "" {
		return stamp{}
	}
	f, err := os.Open(path)
	if err != nil {
		return stamp{}
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxCertificate)); err != nil {
		return stamp{}
	}
	return stamp(h.Sum(nil))
}

// certificateSoon is when the end of a certificate becomes a warning.
const certificateSoon = 30 * 24 * time.Hour

// Certificate tells, by a warning of that code, of a client certificate that ends, or
// of new files that cannot be used; cert may be nil.
func (h Hooks) Certificate(code, endpoint, path string, cert *x509.Certificate, trouble string, now time.Time) {
	w := bridge.Warning{Code: code, Severity: bridge.Degraded}
	switch {
	case trouble != "":
		w.Text = fmt.Sprintf("%s: %s; the connection goes on with what it had before until it ends", endpoint, trouble)
	case cert == nil || cert.NotAfter.Sub(now) > certificateSoon:
		h.Over(code)
		return
	case now.After(cert.NotAfter):
		w.Severity = bridge.Critical
		w.Text = fmt.Sprintf("%s: the client certificate %s ended at %s; put a new one there: it is taken up by itself", endpoint, path, cert.NotAfter.UTC().Format(time.RFC3339))
	default:
		w.Text = fmt.Sprintf("%s: the client certificate %s ends at %s; put a new one there: it is taken up by itself, and nothing is lost", endpoint, path, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	h.Warn(w)
}
