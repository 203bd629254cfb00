package https

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"log/slog"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// A new client certificate is taken up while there is traffic, and nothing fails for
// it; one that has ended is not, and is told of.
func TestANewCertificateIsTakenUpUnderLoad(t *testing.T) {
	ca := peers.CA(t)
	names := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		names <- r.TLS.PeerCertificates[0].Subject.CommonName
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server("127.0.0.1").TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	now := time.Now()
	year := peers.Validity{NotAfter: now.AddDate(1, 0, 0)}
	cert, ended, next := ca.Client("old", year), ca.Client("ended", peers.Validity{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}), ca.Client("next", year)
	replace := func(by *peers.Cert) {
		t.Helper()
		if err := errors.Join(os.Rename(by.CertFile, cert.CertFile), os.Rename(by.KeyFile, cert.KeyFile)); err != nil {
			t.Fatal(err)
		}
	}
	warned, over := make(chan string, 100), make(chan string, 1000)
	o := quick(&api{ca: ca.File}, s.Listener.Addr().String())
	o.TLS = upstream.TLSOptions{CA: ca.File, Cert: cert.CertFile, Key: cert.KeyFile, ServerName: "127.0.0.1"}
	u := uplink(t, o, nil, upstream.Hooks{
		Raise: func(w bridge.Warning) {
			if w.Code == "uplink-certificate" && len(warned) < cap(warned) {
				warned <- w.Text
			}
		},
		Clear: func(code string) {
			if code == "uplink-certificate" && len(over) < cap(over) {
				over <- code
			}
		},
	})
	u.look = time.Millisecond
	l := connect(t, u)
	until := func(name string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			if o := send(t, l, delivery("d", "dt/x")); o.Result != bridge.ResultAcked {
				t.Fatalf("%+v", o)
			}
			got := <-names
			if done() && got == name {
				return
			}
			if got != "old" && got != name || time.Now().After(deadline) {
				t.Fatalf("logged in as %s, want %s", got, name)
			}
		}
	}
	until("old", func() bool { return true })
	replace(ended)
	until("old", func() bool { return len(warned) > 0 })
	for len(warned) > 1 {
		<-warned
	}
	if w := <-warned; !strings.Contains(w, "do not fit") && !strings.Contains(w, "ended at") {
		t.Errorf("warned of %q", w)
	}
	replace(next)
	until("next", func() bool { return true })
	for len(over) > 0 {
		<-over
	}
	until("next", func() bool { return len(over) > 0 })
	if l.Err() != nil {
		t.Errorf("the link ended: %v", l.Err())
	}
}

// A certificate that ends soon is warned of over HTTPS, too.
func TestTheEndOfACertificateIsWarnedOf(t *testing.T) {
	ca := peers.CA(t)
	a := serve(t)
	cert := ca.Client("gateway", peers.Validity{NotAfter: time.Now().Add(7 * 24 * time.Hour)})
	o := quick(a, a.Listener.Addr().String())
	o.TLS.Cert, o.TLS.Key = cert.CertFile, cert.KeyFile
	warned := make(chan bridge.Warning, 10)
	connect(t, uplink(t, o, nil, upstream.Hooks{Raise: func(w bridge.Warning) { warned <- w }}))
	if w := <-warned; w.Code != "uplink-certificate" || !strings.Contains(w.Text, "ends at") || !strings.Contains(w.Text, cert.CertFile) {
		t.Errorf("warning %+v", w)
	}
}
