package https

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"log/slog"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is a server that notes what it is asked and answers as it is told.
type api struct {
	*httptest.Server
	ca string

	mu       sync.Mutex
	payloads []string
	asked    []*http.Request
	status   int
	kind     string
	text     string
}

func serve(t *testing.T) *api {
	t.Helper()
	a := &api{status: http.StatusOK, ca: filepath.Join(t.TempDir(), "ca.pem")}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.payloads = append(a.payloads, string(body))
		a.asked = append(a.asked, r)
		if a.kind != "" {
			w.Header().Set("x-amzn-ErrorType", a.kind+":http://internal")
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.text)
	}))
	a.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	a.StartTLS()
	t.Cleanup(a.Close)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	if err := os.WriteFile(a.ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *api) answer(status int, kind, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status, a.kind, a.text = status, kind, text
}

func (a *api) arrived() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.payloads)
}

// quick are options without limits and with short waits.
func quick(a *api, addr string) Options {
	return Options{
		Endpoint: "https://" + addr, TLS: upstream.TLSOptions{CA: a.ca, ServerName: "example.com"},
		Limits: upstream.Limits{Burst: 1, InFlight: 16}, ConnectTimeout: 5 * time.Second, AckTimeout: 30 * time.Second,
		Backoff: upstream.BackoffOptions{Base: time.Millisecond, Max: 20 * time.Millisecond, Floor: time.Millisecond},
	}
}

func uplink(t *testing.T, o Options, s Signer, hooks upstream.Hooks) *Uplink {
	t.Helper()
	u, err := NewUplink(o, s, slog.New(slog.DiscardHandler), hooks)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestConformance(t *testing.T) {
	upstreamtest.Conformance(t, func(t *testing.T, limits upstream.Limits) upstreamtest.Peer {
		a := serve(t)
		p := peers.NewProxy(t, a.Listener.Addr().String())
		o := quick(a, p.Addr)
		o.Limits = limits
		return upstreamtest.Peer{
			Sender: uplink(t, o, nil, upstream.Hooks{}), Arrived: a.arrived,
			Hold: p.BlackHole, Release: p.Restore, Cut: p.Reset,
		}
	})
}

// delivery is a message of a device.
func delivery(device, topic string) *bridge.Delivery {
	r := &bridge.Record{
		Message: bridge.Message{Topic: topic, Payload: []byte("m"), QoS: 1}, Origin: bridge.Origin{Device: device},
		Receivers: []bridge.Receiver{{Queue: "up/test/route", Topic: topic, QoS: 1}},
	}
	return &bridge.Delivery{Stored: &bridge.Stored{Seq: 1, Place: 1, Record: r, Receiver: &r.Receivers[0]}, Attempt: 1}
}

// connect makes a link that the test closes.
func connect(t *testing.T, u *Uplink) bridge.Link {
	t.Helper()
	l, err := u.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); <-l.Done() })
	return l
}

func send(t *testing.T, l bridge.Link, d *bridge.Delivery) bridge.Outcome {
	t.Helper()
	outcome := make(chan bridge.Outcome, 1)
	if err := l.Send(t.Context(), d, func(o bridge.Outcome) { outcome <- o }); err != nil {
		t.Fatal(err)
	}
	select {
	case o := <-outcome:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("no outcome")
		panic("unreachable")
	}
}

// B201: what a status means for the message. What is said about the login, or by
// another server, is not about the message: the link ends, and it is sent again.
func TestB201_Statuses(t *testing.T) {
	for _, c := range []struct {
		name, kind, text string
		status           int
		want             bridge.Result
		down             string // part of the reason why the link ends; empty: it lives
	}{
		{"taken", "", `{"message":"OK"}`, 200, bridge.ResultAcked, ""},
		{"invalid", "InvalidRequestException", `{"message":"no such topic"}`, 400, bridge.ResultRefused, ""},
		{"too large", "", "", 413, bridge.ResultRefused, ""},
		{"not allowed", "ForbiddenException", `{"message":"not authorized"}`, 403, bridge.ResultDenied, ""},
		{"not authorised", "UnauthorizedException", "", 401, bridge.ResultDenied, ""},
		{"throttled", "ThrottlingException", "", 429, bridge.ResultRetry, ""},
		{"failed", "InternalFailureException", "", 500, bridge.ResultRetry, ""},
		{"away", "", "<html>", 503, bridge.ResultRetry, ""},
		{"an expired token", "ExpiredTokenException", "", 403, bridge.ResultLost, "AWS credentials"},
		{"an expired token, in words", "", `{"message":"The security token included in the request is expired"}`, 403, bridge.ResultLost, "AWS credentials"},
		{"another signature", "InvalidSignatureException", "", 403, bridge.ResultLost, "AWS credentials"},
		{"another server", "", "", 404, bridge.ResultLost, "HTTP API"},
		{"another method", "", "", 405, bridge.ResultLost, "HTTP API"},
		{"elsewhere", "", "", 301, bridge.ResultLost, "HTTP API"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := serve(t)
			a.answer(c.status, c.kind, c.text)
			raised := make(chan bridge.Warning, 10)
			l := connect(t, uplink(t, quick(a, a.Listener.Addr().String()), nil, upstream.Hooks{Raise: func(w bridge.Warning) { raised <- w }}))
			o := send(t, l, delivery("d", "dt/x"))
			if o.Result != c.want || o.Wire == 0 || (o.Reason == "") != (c.want == bridge.ResultAcked) {
				t.Errorf("outcome %+v, want result %d", o, c.want)
			}
			for _, may := range []string{"policy", "key", "region", "clock"} { // AWS says the same of all
				if c.want == bridge.ResultDenied && (!strings.Contains(o.Reason, may) || !strings.Contains(o.Reason, c.kind)) {
					t.Errorf("%q does not name the %s, or %q", o.Reason, may, c.kind)
				}
			}
			if c.down == "" {
				if !o.HTTP || o.Body != len(c.text) { // M18
					t.Errorf("outcome %+v, want a body of %d bytes to be metered", o, len(c.text))
				}
				if l.Err() != nil {
					t.Errorf("the link ended: %v", l.Err())
				}
				return
			}
			<-l.Done()
			if w := <-raised; w.Code != "uplink-refused" || !strings.Contains(w.Text, c.down) {
				t.Errorf("warning %+v, want %q in it", w, c.down)
			}
		})
	}
}

// What stands behind a message that is refused for now is not sent before it;
// other devices go on.
func TestARefusedMessageIsNotOvertaken(t *testing.T) {
	a := serve(t)
	a.answer(429, "", "")
	l := connect(t, uplink(t, quick(a, a.Listener.Addr().String()), nil, upstream.Hooks{}))
	expectOneAsked(t, a, l, func(int) *bridge.Delivery { return delivery("d", "dt/x") })
	a.answer(200, "", "")
	if o := send(t, l, delivery("e", "dt/x")); o.Result != bridge.ResultAcked {
		t.Errorf("another device: %+v", o)
	}
}

// What goes together, whatever device is told of it, is not overtaken either.
func TestWhatGoesTogetherIsNotOvertaken(t *testing.T) {
	a := serve(t)
	a.answer(429, "", "")
	l := connect(t, uplink(t, quick(a, a.Listener.Addr().String()), nil, upstream.Hooks{}))
	expectOneAsked(t, a, l, func(i int) *bridge.Delivery {
		d := delivery([]string{"(several)", "d"}[i%2], "dt/x")
		d.Together = "a route"
		return d
	})
}

// expectOneAsked sends eight that a server refuses for now: it is asked once.
func expectOneAsked(t *testing.T, a *api, l bridge.Link, nth func(i int) *bridge.Delivery) {
	t.Helper()
	outcomes := make(chan bridge.Outcome, 8)
	a.mu.Lock() // the server answers nobody: all wait behind the first
	for i := range 8 {
		if err := l.Send(t.Context(), nth(i), func(o bridge.Outcome) { outcomes <- o }); err != nil {
			t.Fatal(err)
		}
	}
	a.mu.Unlock()
	for range 8 {
		if o := <-outcomes; o.Result != bridge.ResultRetry {
			t.Errorf("outcome %+v", o)
		}
	}
	if n := len(a.arrived()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// B198-B200: how a message is written.
func TestB200_RequestCarriesTheProperties(t *testing.T) {
	a := serve(t)
	l := connect(t, uplink(t, quick(a, a.Listener.Addr().String()), nil, upstream.Hooks{}))
	d := delivery("d", "dt/press 1")
	d.Record.Properties = bridge.Properties{PayloadFormat: 1, HasExpiry: true, Expiry: 9, ContentType: "a/b", ResponseTopic: "r/t", CorrelationData: []byte("c")}
	d.Receiver.Retain, d.Remaining = true, 7
	send(t, l, d)
	r := a.asked[0]
	q, h := r.URL.Query(), r.Header
	if r.Method != "POST" || r.RequestURI[:len("/topics/dt%2Fpress%201?")] != "/topics/dt%2Fpress%201?" || q.Get("qos") != "1" || q.Get("retain") != "true" ||
		q.Get("messageExpiry") != "7" || q.Get("contentType") != "a/b" || q.Get("responseTopic") != "r/t" ||
		h.Get("x-amz-mqtt5-payload-format-indicator") != "UTF8_DATA" || h.Get("x-amz-mqtt5-correlation-data") != "Yw==" {
		t.Errorf("asked %s %s with %v", r.Method, r.RequestURI, h)
	}
	if got := h.Get("x-amz-mqtt5-user-properties"); got == "" {
		t.Error("the hops do not travel")
	}
}

// refusing is a signer without credentials.
type refusing struct{}

func (refusing) SignRequest(*http.Request, []byte) error { return errors.New("the token has expired") }
func (refusing) Forget()                                 {}

func TestNoCredentials(t *testing.T) {
	a := serve(t)
	raised := make(chan bridge.Warning, 10)
	l := connect(t, uplink(t, quick(a, a.Listener.Addr().String()), refusing{}, upstream.Hooks{Raise: func(w bridge.Warning) { raised <- w }}))
	if o := send(t, l, delivery("d", "dt/x")); o.Result != bridge.ResultLost {
		t.Errorf("outcome %+v", o)
	}
	<-l.Done()
	if w := <-raised; w.Code != "uplink-refused" || !strings.Contains(w.Text, "the token has expired") {
		t.Errorf("warning %+v", w)
	}
	if n := len(a.arrived()); n != 0 {
		t.Errorf("%d requests without a login", n)
	}
}

func TestValidate(t *testing.T) {
	const aws = "a1-ats.iot.eu-central-1.amazonaws.com"
	c := peers.CA(t).Client("gateway", peers.Validity{})
	with := upstream.TLSOptions{Cert: c.CertFile, Key: c.KeyFile}
	for _, c := range []struct {
		name, endpoint string
		tls            upstream.TLSOptions
		signs          bool
		want           string
		alpn           string
	}{
		{"a certificate on 8443", "https://" + aws + ":8443", with, false, "", "http/1.1"},
		{"a certificate on 443", "https://" + aws, with, false, "", "x-amzn-http-ca"},
		{"a signature", "https://" + aws, upstream.TLSOptions{}, true, "", "http/1.1"},
		{"a signature on 8443", "https://" + aws + ":8443", upstream.TLSOptions{}, true, "endpoint", ""},
		{"both", "https://" + aws, with, true, "tls.cert", ""},
		{"neither", "https://" + aws, upstream.TLSOptions{}, false, "tls.cert", ""},
		{"another port", "https://" + aws + ":8883", with, false, "endpoint", ""},
		{"a path", "https://h/topics", upstream.TLSOptions{}, false, "endpoint", ""},
		{"a login in the endpoint", "https://me:secret@h", upstream.TLSOptions{}, false, "endpoint", ""},
		{"no TLS", "http://h", upstream.TLSOptions{}, false, "endpoint", ""},
		{"another server", "https://h:1", upstream.TLSOptions{}, false, "", "http/1.1"},
	} {
		o := Options{Endpoint: c.endpoint, TLS: c.tls}
		var got []string
		for _, p := range o.Validate(c.signs) {
			got = append(got, p.Path)
			if p.Text == "" || p.Remedy == "" || strings.Contains(p.Text+p.Remedy, "secret") {
				t.Errorf("%s: problem %+v", c.name, p)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: problems at %v, want %q", c.name, got, c.want)
		}
		if at, err := parse(c.endpoint); c.alpn != "" && (err != nil || !slices.Equal(o.alpn(at), []string{c.alpn})) {
			t.Errorf("%s: offers %v, %v; want %s", c.name, o.alpn(at), err, c.alpn)
		}
	}
}

// B198: what a custom authorizer asks for travels with each request, and is a login
// like the others.
func TestB198_CustomAuthorizer(t *testing.T) {
	a := serve(t)
	o := quick(a, a.Listener.Addr().String())
	o.Login = http.Header{"X-Amz-Customauthorizer-Name": {"gateways"}, "Token": {"a=b"}, "X-Amz-Customauthorizer-Signature": {"x+/="}}
	l := connect(t, uplink(t, o, nil, upstream.Hooks{}))
	for range 2 {
		if out := send(t, l, delivery("d", "dt/x")); out.Result != bridge.ResultAcked {
			t.Errorf("outcome %+v", out)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.asked {
		for name, values := range o.Login {
			if got := r.Header.Values(name); !slices.Equal(got, values) {
				t.Errorf("%s is %q, want %q", name, got, values)
			}
		}
	}
	if len(a.asked) != 2 {
		t.Errorf("%d requests", len(a.asked))
	}
	const host = "https://a1-ats.iot.eu-central-1.amazonaws.com"
	for _, c := range []struct {
		change func(*Options)
		signs  bool
		want   string
	}{
		{func(*Options) {}, false, ""},
		{func(o *Options) { o.Endpoint += ":8443" }, false, "endpoint"},
		{func(*Options) {}, true, "authorizer"},
		{func(o *Options) { o.Login = http.Header{"To ken": {"x"}} }, false, "authorizer"},
		{func(o *Options) { o.Login = http.Header{"Token": {"x\r\nHost: other"}} }, false, "authorizer"},
		{func(o *Options) { o.Login = nil }, false, "tls.cert"},
	} {
		o := Options{Endpoint: host, Login: o.Login}
		c.change(&o)
		if got := o.Validate(c.signs); len(got) != min(len(c.want), 1) || len(got) == 1 && got[0].Path != c.want {
			t.Errorf("%+v: problems %v, want one at %q", o, got, c.want)
		}
	}
}
