package localbroker

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// web is a listener of AWS IoT Core's HTTP API for certificates of ca.
func web(ca *peers.Authority, profile string) ListenerOptions {
	o := secure(ca, profile, clientFingerprint)
	o.Name, o.Type = "web", typeHTTPS
	return o
}

// caller is a program that speaks HTTP with a certificate.
type caller struct {
	tb   testing.TB
	http *http.Client
	base string
}

// caller is one for the listener called web, whose certificate the test's
// registry knows as dev.
func (h *house) caller(ca *peers.Authority) *caller {
	h.tb.Helper()
	return h.callerWith(ca, ca.Client("dev", peers.Validity{}))
}

func (h *house) callerWith(ca *peers.Authority, cert *peers.Cert) *caller {
	h.tb.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool, ServerName: "localhost", Certificates: []tls.Certificate{cert.TLS}}}
	h.tb.Cleanup(tr.CloseIdleConnections)
	return &caller{h.tb, &http.Client{Transport: tr}, "https://" + h.Addrs()["web"].String()}
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
	last   bool // the connection ends
	json   map[string]any
}

// do makes a request; more are names and values of headers.
func (c *caller) do(method, path string, body io.Reader, more ...string) reply {
	c.tb.Helper()
	r, err := c.try(method, path, body, more...)
	if err != nil {
		c.tb.Fatal(err)
	}
	return r
}

func (c *caller) try(method, path string, body io.Reader, more ...string) (reply, error) {
	req, err := http.NewRequest(method, c.base+path, body)
	if err != nil {
		return reply{}, err
	}
	for i := 0; i+1 < len(more); i += 2 {
		req.Header.Add(more[i], more[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	out := reply{status: res.StatusCode, header: res.Header, body: string(text), last: res.Close}
	_ = json.Unmarshal(text, &out.json) // a body that is none has no members
	return out, err
}

func (c *caller) publish(path, payload string, more ...string) reply {
	c.tb.Helper()
	return c.do(http.MethodPost, "/topics/"+path, bytes.NewReader([]byte(payload)), more...)
}

// refused checks an answer's form: the status, AWS's name of it, and a message
// with the trace id of the header.
func (r reply) refused(tb testing.TB, status int, exception string) {
	tb.Helper()
	if r.status != status || r.header.Get("x-amzn-ErrorType") != exception {
		tb.Errorf("%d %s, want %d %s: %s", r.status, r.header.Get("x-amzn-ErrorType"), status, exception, r.body)
	}
	if r.json["message"] == "" || r.json["traceId"] == "" || r.json["traceId"] != r.header.Get("x-amzn-RequestId") {
		tb.Errorf("body %s, trace %q", r.body, r.header.Get("x-amzn-RequestId"))
	}
}

// ok checks for a 200.
func (r reply) ok(tb testing.TB) reply {
	tb.Helper()
	if r.status != http.StatusOK {
		tb.Errorf("%d: %s", r.status, r.body)
	}
	return r
}

// webHouse is a broker with an MQTT listener and one for HTTP, of one profile.
func webHouse(t *testing.T, profile string, change ...func(*Deps)) (*house, *peers.Authority) {
	t.Helper()
	ca := peers.CA(t)
	all := func(d *Deps) {
		for _, f := range change {
			f(d)
		}
	}
	return openWith(t, people{known: map[string]bool{"dev": true}}, all, plain(profile), web(ca, profile)), ca
}

// TestHTTPOrigin: a web page elsewhere cannot use a person's certificate.
func TestHTTPOrigin(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	c.publish("t", "x", "Origin", "https://evil.example").refused(t, http.StatusForbidden, "ForbiddenException")
	c.publish("t", "x", "Origin", c.base).ok(t)
}
