package localbroker

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// spy is an Authorizer that keeps whom it was asked about.
type spy struct {
	bridge.Authorizer
	who atomic.Pointer[bridge.Principal]
}

func (s *spy) Grants(p *bridge.Principal) (bridge.Grants, error) {
	s.who.Store(p)
	return s.Authorizer.Grants(p)
}

// TestB198_PublishOverHTTPS: a POST is a PUBLISH, for subscribers of both
// versions, by a principal without a client id; the QoS is 0 unless it says 1.
func TestB198_PublishOverHTTPS(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		s := &spy{}
		h, ca := webHouse(t, profileAWS, func(d *Deps) { s.Authorizer, d.Authorizer = d.Authorizer, s })
		d := h.join(version, "sub")
		d.subscribe(1, "dt/a")
		c := h.caller(ca)
		for path, qos := range map[string]byte{"dt%2Fa?qos=1": 1, "dt/a?qos=0": 0, "dt/a": 0} {
			r := c.publish(path, "x").ok(t)
			if r.json["message"] != "OK" || r.json["traceId"] != r.header.Get("x-amzn-RequestId") || r.header.Get("Content-Type") != "application/json" {
				t.Errorf("answer %s %v", r.body, r.header)
			}
			pk := d.expect(packets.Publish)
			if pk.TopicName != "dt/a" || string(pk.Payload) != "x" || pk.FixedHeader.Qos != qos {
				t.Errorf("%s: got %+v", path, pk)
			}
			if qos > 0 {
				d.puback(pk.PacketID)
			}
		}
		p := s.who.Load()
		if p.ClientID != "" || p.Protocol != 0 || p.CertificateID == "" || p.Certificate == nil || p.ServerName != "localhost" || p.Listener != "web" || !p.Remote.IsValid() {
			t.Errorf("principal %+v", p)
		}
		r := c.publish("dt/a?qos=2", "x")
		r.refused(t, http.StatusBadRequest, "InvalidRequestException")
		if n := h.Status().Requests; len(n) != 2 || n[0] != (RequestCount{"Publish", 200, 3}) || n[1] != (RequestCount{"Publish", 400, 1}) {
			t.Errorf("counts %+v", n)
		}
	})
}

// TestB198_AnswerAfterTheSync: the 200 waits for the walk, and who has it finds
// the message retained.
func TestB198_AnswerAfterTheSync(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	settle := h.waiting()
	c := h.caller(ca)
	answered := make(chan reply, 1)
	go func() {
		r, err := c.try(http.MethodPost, "/topics/state/a?qos=1&retain=true", strings.NewReader("on"))
		if err != nil {
			t.Error(err)
		}
		answered <- r
	}()
	done := receive(t, "a message in the walk", settle)
	if h.Status().Retained != 0 {
		t.Error("retained before it is synced")
	}
	done(bridge.Errorf("append", bridge.Full, "by the test"))
	receive(t, "the answer", answered).refused(t, http.StatusServiceUnavailable, "ServiceUnavailableException")
	h.walk.setStep(nil)
	c.publish("state/a?retain=true&qos=1", "on").ok(t)
	c.do(http.MethodGet, "/retainedMessage/state/a", nil).ok(t)
}

// TestBasicIngestOverHTTP (B106): what is for a rule goes to the cloud alone,
// and is counted when no route takes it.
func TestBasicIngestOverHTTP(t *testing.T) {
	h, ca := webHouse(t, profileAWS, func(d *Deps) { d.Cloud = func(string) (bool, bool) { return false, false } })
	h.caller(ca).publish("$aws/rules/r/dt?qos=1", "x").ok(t)
	if h.dropped(WarningNoRuleRoute) != 1 || len(h.walk.topics()) != 1 {
		t.Errorf("drop log %+v", h.drops.All())
	}
}

// TestB198_EmptyAnswer: the switch for what AWS's page says.
func TestB198_EmptyAnswer(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	o := h.listeners[1].settings.Load().ListenerOptions
	o.HTTP.Answer = answerEmpty
	if err := h.Reload(Options{Listeners: []ListenerOptions{h.listeners[0].settings.Load().ListenerOptions, o}}); err != nil {
		t.Fatal(err)
	}
	r := h.caller(ca).publish("t", "x").ok(t)
	if r.body != "" || r.header.Get("x-amzn-RequestId") == "" {
		t.Errorf("answer %q %v", r.body, r.header)
	}
}

// TestB199_Retain: RETAIN by HTTP keeps the message for who subscribes later,
// an empty one deletes it.
func TestB199_Retain(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	c.publish("state/a?retain=true", "on").ok(t)
	d := h.join(5, "sub")
	d.subscribe(1, "state/a")
	if pk := d.expect(packets.Publish); !pk.FixedHeader.Retain || string(pk.Payload) != "on" {
		t.Errorf("got %+v", pk)
	}
	c.publish("state/a?retain=TRUE", "").ok(t)
	if pk := d.expect(packets.Publish); len(pk.Payload) != 0 {
		t.Errorf("got %+v", pk)
	}
	if n := h.Status().Retained; n != 0 {
		t.Errorf("%d retained", n)
	}
	c.publish("$aws/things/a/shadow/update?retain=true", "x").refused(t, http.StatusBadRequest, "InvalidRequestException") // B83
	c.publish("state/a?retain=perhaps", "x").refused(t, http.StatusBadRequest, "InvalidRequestException")
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

const (
	userHeader        = "x-amz-mqtt5-user-properties"
	formatHeader      = "x-amz-mqtt5-payload-format-indicator"
	correlationHeader = "x-amz-mqtt5-correlation-data"
)

// TestB200_Properties: parameters and headers become MQTT 5 properties, user
// properties in their order, the same name twice included.
func TestB200_Properties(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	d := h.join(5, "sub")
	d.subscribe(1, "t")
	c := h.caller(ca)
	c.publish("t?qos=1&messageExpiry=60&contentType=text%2Fplain&responseTopic=r/1", "x",
		userHeader, encoded(`[{"b": "1"}, {"a": "2", "b": "é"}]`), formatHeader, "UTF8_DATA", correlationHeader, encoded("\x00\xff")).ok(t)
	p := d.expect(packets.Publish).Properties
	want := []packets.UserProperty{{Key: "b", Val: "1"}, {Key: "a", Val: "2"}, {Key: "b", Val: "é"}}
	if p.ContentType != "text/plain" || p.ResponseTopic != "r/1" || string(p.CorrelationData) != "\x00\xff" || p.PayloadFormat != 1 || fmt.Sprint(p.User) != fmt.Sprint(want) {
		t.Errorf("properties %+v", p)
	}
	if p.MessageExpiryInterval == 0 || p.MessageExpiryInterval > 60 {
		t.Errorf("expiry %d", p.MessageExpiryInterval)
	}
	h.walk.mu.Lock()
	h.walk.took = nil
	h.walk.mu.Unlock()
	for _, value := range []string{"0", "99999999999"} { // B97, B98
		c.publish("t?messageExpiry="+value, "x").ok(t)
	}
	if took := h.walk.took; len(took) != 2 || took[0].Expiry != 1 || took[1].Expiry != 604_800 || !took[0].HasExpiry {
		t.Errorf("took %+v", took)
	}
	for name, bad := range map[string]struct {
		path   string
		header []string
	}{
		"expiry":                {"t?messageExpiry=-1", nil},
		"no number":             {"t?messageExpiry=soon", nil},
		"wildcard":              {"t?responseTopic=a/%23", nil}, // B101
		"not UTF-8":             {"t?contentType=%ff", nil},
		"twice":                 {"t?qos=1&qos=0", nil},
		"a query that is none":  {"t?qos=%zz", nil},
		"format":                {"t", []string{formatHeader, "1"}},
		"correlation":           {"t", []string{correlationHeader, "%"}},
		"user, plain JSON":      {"t", []string{userHeader, `[{"a": "1"}]`}},
		"user, no array":        {"t", []string{userHeader, encoded(`{"a": "1"}`)}},
		"user, numbers":         {"t", []string{userHeader, encoded(`[{"a": 1}]`)}},
		"user, deep":            {"t", []string{userHeader, encoded(`[{"a": {"b": "c"}}]`)}},
		"user, and more":        {"t", []string{userHeader, encoded(`[] []`)}},
		"user, cut off":         {"t", []string{userHeader, encoded(`[{"a": "1"}`)}},
		"user, a zero":          {"t", []string{userHeader, encoded(`[{"a": "\u0000"}]`)}},
		"user, not UTF-8":       {"t", []string{userHeader, encoded("[{\"a\": \"\xff\"}]")}},
		"user, two headers":     {"t", []string{userHeader, encoded(`[]`), userHeader, encoded(`[]`)}},
		"correlation, twice":    {"t", []string{correlationHeader, "", correlationHeader, ""}},
		"content type too long": {"t?contentType=" + strings.Repeat("x", 257), nil}, // Q40: 413
		"user too long":         {"t", []string{userHeader, encoded(`[{"a": "` + strings.Repeat("x", 8192) + `"}]`)}},
	} {
		status, exception := http.StatusBadRequest, "InvalidRequestException"
		if strings.HasSuffix(name, "too long") {
			status, exception = http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"
		}
		t.Run(name, func(t *testing.T) { c.publish(bad.path, "x", bad.header...).refused(t, status, exception) })
	}
	if n := len(h.walk.topics()); n != 2 {
		t.Errorf("%d messages in the walk", n)
	}
}

// TestB201_Errors: each outcome of the walk and of the broker's own rules has
// its status, counted like that of a device's PUBLISH.
func TestB201_Errors(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	for kind, want := range map[bridge.Kind]struct {
		status    int
		exception string
	}{
		bridge.TopicInvalid:   {http.StatusBadRequest, "InvalidRequestException"},
		bridge.PayloadInvalid: {http.StatusBadRequest, "InvalidRequestException"},
		bridge.TooLarge:       {http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
		bridge.Full:           {http.StatusServiceUnavailable, "ServiceUnavailableException"},
		bridge.Unavailable:    {http.StatusServiceUnavailable, "ServiceUnavailableException"},
		bridge.Internal:       {http.StatusInternalServerError, "InternalFailureException"},
		bridge.Corrupt:        {http.StatusInternalServerError, "InternalFailureException"},
	} {
		h.walk.setStep(func(_ *bridge.Message, done func(error)) { done(bridge.Errorf("append", kind, "by the test")) })
		r := c.publish("t?qos=1", "x")
		r.refused(t, want.status, want.exception)
		if again := r.header.Get("Retry-After"); (again == "1") != (want.status == http.StatusServiceUnavailable) {
			t.Errorf("%v: Retry-After %q", kind, again)
		}
	}
	h.walk.setStep(nil)
	h.rules.deny("iot:Publish secret", "iot:RetainPublish kept")
	for _, path := range []string{"secret", "kept?retain=true"} {
		r := c.publish(path, "x")
		r.refused(t, http.StatusUnauthorized, "UnauthorizedException")
		if r.json["message"] != "Unauthorized" { // profile aws does not say why
			t.Errorf("body %s", r.body)
		}
	}
	c.publish("kept", "x").ok(t)
	if a := h.Status().AuthErrors; a["PublishIn.AuthError"] != 1 || a["PublishRetained.AuthError"] != 1 {
		t.Errorf("counts %v", a)
	}
	for _, path := range []string{"a/%2B", "%23", "$other/x", "", strings.Repeat("x", 257), "a/b/c/d/e/f/g/h/i"} { // B79-B82
		c.publish(path, "x").refused(t, http.StatusBadRequest, "InvalidRequestException")
	}
	c.publish("t", strings.Repeat("x", 128<<10)).ok(t)
	c.publish("t", strings.Repeat("x", 128<<10+1)).refused(t, http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException") // B84
	c.do(http.MethodPost, "/nothing", nil).refused(t, http.StatusNotFound, "ResourceNotFoundException")
	if h.dropped("full") != 1 || h.dropped("topic-invalid") != 6 {
		t.Errorf("drop log %+v", h.drops.All())
	}
}

// TestB201_Forbidden: the switch for what AWS has been seen to answer; aws-edge
// says why.
func TestB201_Forbidden(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	h.rules.deny("iot:Publish secret")
	r := h.caller(ca).publish("secret", "x")
	r.refused(t, http.StatusUnauthorized, "UnauthorizedException")
	if text, _ := r.json["message"].(string); !strings.Contains(text, "denied") {
		t.Errorf("body %s", r.body)
	}
	o := h.listeners[1].settings.Load().ListenerOptions
	o.HTTP.Denied = deniedForbidden
	if err := h.Reload(Options{Listeners: []ListenerOptions{h.listeners[0].settings.Load().ListenerOptions, o}}); err != nil {
		t.Fatal(err)
	}
	h.caller(ca).publish("secret", "x").refused(t, http.StatusForbidden, "ForbiddenException")
}

// TestB202_PublishOnly: a topic cannot be read, nor anything done with other
// methods.
func TestB202_PublishOnly(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	for _, bad := range []struct{ method, path, allow string }{
		{http.MethodGet, "/topics/t", "POST"}, {http.MethodPut, "/topics/t", "POST"}, {http.MethodDelete, "/retainedMessage/t", "GET"},
		{http.MethodPost, "/retainedMessage", "GET"}, {http.MethodPost, "/connections/c", "GET, DELETE"}, {http.MethodGet, "/connections/c/messages", "POST"},
		{http.MethodOptions, "/topics/t", "POST"}, {http.MethodPost, "/connections/c/subscriptions", "GET"},
	} {
		r := c.do(bad.method, bad.path, nil)
		r.refused(t, http.StatusMethodNotAllowed, "MethodNotAllowedException")
		if allow := strings.Join(r.header.Values("Allow"), ", "); allow != bad.allow {
			t.Errorf("%s %s: allowed are %q", bad.method, bad.path, allow)
		}
	}
}

// TestPublishRateOverHTTP: publishes_per_second is a connection's, as MQTT's is.
func TestPublishRateOverHTTP(t *testing.T) {
	now := frozen()
	h, ca := webHouse(t, profileAWS, func(d *Deps) { d.Now = now.now })
	o := h.listeners[1].settings.Load().ListenerOptions
	o.Limits.PublishesPerSec = 1
	if err := h.Reload(Options{Listeners: []ListenerOptions{h.listeners[0].settings.Load().ListenerOptions, o}}); err != nil {
		t.Fatal(err)
	}
	c := h.caller(ca)
	c.publish("t", "x").ok(t)
	c.publish("t", "x").refused(t, http.StatusTooManyRequests, "ThrottlingException")
	now.advance(time.Second)
	c.publish("t", "x").ok(t)
	if h.dropped("publish-rate") != 1 {
		t.Errorf("drop log %+v", h.drops.All())
	}
}
