package https

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// A check asks by POST for a topic that no server can take, and judges by the
// answer whether we were let in.
func TestCheckJudgesByTheAnswer(t *testing.T) {
	a := serve(t)
	for _, c := range []struct {
		status  int
		kind    string
		refused bool
		want    string // in the error; empty: none
	}{
		{http.StatusBadRequest, "InvalidRequestException", false, ""},
		{http.StatusUnauthorized, "UnauthorizedException", true, "certificate of tls.cert is registered and ACTIVE"},
		{http.StatusForbidden, "ForbiddenException", true, "policy allows iot:Publish"},
		{http.StatusNotFound, "", true, "not AWS's HTTP API"},
		{http.StatusMovedPermanently, "", true, "not AWS's HTTP API"},
		{http.StatusTooManyRequests, "ThrottlingException", false, "try again"},
		{http.StatusServiceUnavailable, "", false, "try again"},
	} {
		a.answer(c.status, c.kind, "{}")
		o := quick(a, a.Listener.Addr().String())
		cert := peers.CA(t).Client("gateway", peers.Validity{})
		o.TLS.Cert, o.TLS.Key = cert.CertFile, cert.KeyFile
		err := Check(t.Context(), o, nil, "dt/press")
		_, refused := errors.AsType[*upstream.RefusedError](err)
		if refused != c.refused || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v, want %q", c.status, err, c.want)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.asked {
		if r.Method != http.MethodPost || r.URL.Path != "/topics/dt/press/#" {
			t.Errorf("asked %s %s", r.Method, r.URL.Path)
		}
	}
}

// The certificate is what a check logs in by: a server that asks for one refuses
// who has none, and with TLS 1.3 says so behind the handshake only.
func TestCheckShowsTheCertificate(t *testing.T) {
	ca := peers.CA(t)
	cert := ca.Server("localhost")
	pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	o := quick(&api{}, s.Listener.Addr().String())
	o.TLS = upstream.TLSOptions{CA: ca.File, ServerName: "localhost"}
	if e, ok := errors.AsType[*upstream.RefusedError](Check(t.Context(), o, nil, "dt/#")); !ok || !strings.Contains(e.Remedy, "tls.cert") {
		t.Errorf("without a certificate: %v", e)
	}
	ours := ca.Client("gateway", peers.Validity{})
	o.TLS.Cert, o.TLS.Key = ours.CertFile, ours.KeyFile
	if err := Check(t.Context(), o, nil, "dt/#"); err != nil {
		t.Errorf("with one: %v", err)
	}
}

// What is told to be the window is what a link keeps to.
func TestTheWindowIsTheLinks(t *testing.T) {
	for inFlight, want := range map[int]int{-1: 1, 0: 1, 1: 1, 31: 31, 32: 32, 33: 32, 65535: 32} {
		o := Options{Limits: upstream.Limits{InFlight: inFlight}}
		if l := newLink(&Uplink{o: o}, nil, upstream.CertFiles{}); o.Window() != want || l.Window() != want {
			t.Errorf("in_flight %d: %d, and the link %d; want %d", inFlight, o.Window(), l.Window(), want)
		}
	}
}
