package sandbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/localbroker"
)

// SignedOptions describe the door for who logs in by a signature with AWS
// credentials: MQTT over secure WebSocket at /mqtt, and AWS's HTTP API.
type SignedOptions struct {
	Address   string // where it listens
	Cert, Key string // its certificate, PEM files
	Keys      Keys
	Now       func() time.Time // nil: time.Now
}

// The names of the broker's listeners behind the door.
const (
	signedWS    = "signed-ws"
	signedHTTPS = "signed-https"
)

// behind are the broker's listeners for the door: on loopback, and asking
// nobody, since the door has asked.
func (o *SignedOptions) behind(l localbroker.ListenerOptions) []localbroker.ListenerOptions {
	l.Auth, l.Address = "anonymous", "127.0.0.1:0"
	ws, https := l, l
	ws.Name, ws.Type, ws.TLS = signedWS, "ws", localbroker.TLSOptions{}
	https.Name, https.Type, https.TLS = signedHTTPS, "https", localbroker.TLSOptions{Cert: o.Cert, Key: o.Key, ClientAuth: "fingerprint"}
	return []localbroker.ListenerOptions{ws, https}
}

// door lets in what is signed.
type door struct {
	o      SignedOptions
	listen net.Listener
	server *http.Server
	log    *slog.Logger
}

// bodySize bounds a request: a payload of AWS's size, and not much.
const bodySize = 256 << 10

// openDoor listens before the broker, whose listeners are at addrs.
func openDoor(o SignedOptions, addrs map[string]net.Addr, log *slog.Logger) (*door, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("sandbox: certificate for signed requests: %w", err)
	}
	l, err := tls.Listen("tcp", o.Address, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	d := &door{o: o, listen: l, log: log}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf) // the broker behind has the same
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: nameOf(pair.Leaf)}}
	mqtt, api := addrs[signedWS].String(), addrs[signedHTTPS].String()
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // who asks is told
		Rewrite: func(r *httputil.ProxyRequest) {
			target := &url.URL{Scheme: "https", Host: api}
			if isMQTT(r.In) {
				target = &url.URL{Scheme: "http", Host: mqtt}
			}
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
		},
	}
	d.server = &http.Server{
		Handler:           d.guard(proxy),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 44 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	d.server.RegisterOnShutdown(transport.CloseIdleConnections)
	return d, nil
}

// nameOf is a name that a certificate is for.
func nameOf(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}

func isMQTT(r *http.Request) bool {
	return r.URL.Path == "/mqtt" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// guard refuses what is not signed, as AWS does: 403 and no word why. The log
// has the word.
func (d *door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodySize))
		if err != nil {
			http.Error(w, `{"message":"request too large"}`, http.StatusRequestEntityTooLarge)
			return
		}
		service := "iotdata"
		if isMQTT(r) {
			service = "iotdevicegateway" // B09
		}
		if err := d.o.Keys.Verify(r, body, service, d.o.Now()); err != nil {
			d.log.Warn("a request was not signed as AWS wants it", "remote", r.RemoteAddr, "error", err)
			http.Error(w, `{"message":"Forbidden"}`, http.StatusForbidden)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// run serves until ctx ends.
func (d *door) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = d.server.Close(); _ = d.server.Shutdown(ctx) })
	defer stop()
	if err := d.server.Serve(d.listen); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("sandbox: serve signed requests: %w", err)
	}
	return nil
}
