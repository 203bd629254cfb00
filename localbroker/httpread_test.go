package localbroker

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestB160_GetRetainedMessage: what a device retained reads as AWS writes it.
func TestB160_GetRetainedMessage(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	d := h.join(5, "pub")
	before := h.clock.now().UnixMilli()
	d.send(publish(1, "state/a/b", "\x00on", retain, func(pk *packets.Packet) {
		pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "1"}, {Key: "k", Val: "2"}}
	}))
	d.answered(0)
	d.send(publish(0, "state/plain", "x", retain))
	d.expectNothing()
	for _, path := range []string{"state%2Fa%2Fb", "state/a/b"} {
		r := c.do(http.MethodGet, "/retainedMessage/"+path, nil).ok(t)
		user, _ := r.json["userProperties"].(string)
		decoded, _ := base64.StdEncoding.DecodeString(user)
		payload, _ := r.json["payload"].(string)
		if r.json["topic"] != "state/a/b" || payload != base64.StdEncoding.EncodeToString([]byte("\x00on")) || r.json["qos"] != 1.0 || string(decoded) != `[{"k":"1"},{"k":"2"}]` {
			t.Errorf("answer %s", r.body)
		}
		if at, _ := r.json["lastModifiedTime"].(float64); int64(at) < before || int64(at) > h.clock.now().UnixMilli() {
			t.Errorf("time %v", r.json["lastModifiedTime"])
		}
	}
	r := c.do(http.MethodGet, "/retainedMessage/state/plain", nil).ok(t)
	if v, there := r.json["userProperties"]; v != nil || !there || r.json["qos"] != 0.0 {
		t.Errorf("answer %s", r.body)
	}
	c.do(http.MethodGet, "/retainedMessage/state/none", nil).refused(t, http.StatusNotFound, "ResourceNotFoundException")
	c.do(http.MethodGet, "/retainedMessage/state/%23", nil).refused(t, http.StatusBadRequest, "InvalidRequestException")
	c.do(http.MethodGet, "/retainedMessage/", nil).refused(t, http.StatusBadRequest, "InvalidRequestException")
	h.rules.deny("iot:GetRetainedMessage state/plain")
	c.do(http.MethodGet, "/retainedMessage/state/plain", nil).refused(t, http.StatusUnauthorized, "UnauthorizedException")
}

// retain keeps a message as if it had been published with RETAIN.
func (h *house) retain(m *bridge.Message) {
	h.retained.settle(h.retained.plan(m), retainedMessage{msg: m, modified: h.clock.now()}, nil)
}

// page reads one page of retained topics.
func (c *caller) page(query string) (topics []string, next string) {
	c.tb.Helper()
	r := c.do(http.MethodGet, "/retainedMessage?"+query, nil).ok(c.tb)
	for _, m := range r.json["retainedTopics"].([]any) {
		topics = append(topics, m.(map[string]any)["topic"].(string))
	}
	next, _ = r.json["nextToken"].(string)
	return topics, next
}

// TestB161_ListRetainedMessages: pages together have every topic once, also
// when messages come and go between them.
func TestB161_ListRetainedMessages(t *testing.T) {
	fixed := time.Now()
	var steps atomic.Int64
	h, ca := webHouse(t, profileAWS, func(d *Deps) {
		d.Now = func() time.Time { return fixed.Add(time.Duration(steps.Add(1)) * time.Second) }
	})
	c := h.caller(ca)
	var want []string
	for i := range 450 {
		topic := fmt.Sprintf("state/%03d", i)
		h.retain(&bridge.Message{Topic: topic, Payload: []byte("on"), QoS: byte(i % 2)})
		want = append(want, topic)
	}
	if r := c.do(http.MethodGet, "/retainedMessage?maxResults=1", nil).ok(t); !strings.Contains(r.body, `"payloadSize":2,"qos":0,"lastModifiedTime":`) {
		t.Errorf("answer %s", r.body)
	}
	var got []string
	token := ""
	for pages := 0; ; pages++ {
		topics, next := c.page("maxResults=100&nextToken=" + url.QueryEscape(token))
		got = append(got, topics...)
		if next == "" {
			break
		}
		if pages == 1 { // one that was read goes, one before and one after come
			h.retain(&bridge.Message{Topic: "state/150"})
			h.retain(&bridge.Message{Topic: "state/000a", Payload: []byte("x")})
			h.retain(&bridge.Message{Topic: "state/300a", Payload: []byte("x")})
			want = slices.Insert(want, 301, "state/300a")
		}
		token = next
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d topics, want %d", len(got), len(want))
	}
	if topics, next := c.page(""); len(topics) != 200 || next == "" {
		t.Errorf("a page of %d", len(topics))
	}
	for _, bad := range []string{"maxResults=0", "maxResults=201", "maxResults=x", "nextToken=%25", "nextToken=" + base64.RawURLEncoding.EncodeToString([]byte("other"))} {
		c.do(http.MethodGet, "/retainedMessage?"+bad, nil).refused(t, http.StatusBadRequest, "InvalidRequestException")
	}
	h.rules.deny("iot:ListRetainedMessages ")
	c.do(http.MethodGet, "/retainedMessage", nil).refused(t, http.StatusUnauthorized, "UnauthorizedException")
}

// TestListsOfNothing are empty lists, not null.
func TestListsOfNothing(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	h.join(5, "d")
	c := h.caller(ca)
	for path, want := range map[string]string{
		"/retainedMessage":             `{"retainedTopics":[],"nextToken":null}`,
		"/connections/d/subscriptions": `{"subscriptions":[],"nextToken":null}`,
	} {
		if r := c.do(http.MethodGet, path, nil).ok(t); strings.TrimSpace(r.body) != want {
			t.Errorf("%s: %s", path, r.body)
		}
	}
}

// TestQ47_GetConnection: of a connected client, of one that has left, and of
// one that nobody knows.
func TestQ47_GetConnection(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	c := h.caller(ca)
	d := dial(t, h.addr(), 5)
	d.connect("a/b", persistent(3600))
	get := func(query string) reply { return c.do(http.MethodGet, "/connections/a%2Fb"+query, nil) }
	r := get("").ok(t)
	if r.json["connected"] != true || r.json["clientId"] != "a/b" || r.json["cleanSession"] != false || r.json["keepAliveDuration"] != 60.0 || r.json["sessionExpiry"] != 3600.0 || r.json["connectedSince"] == nil || r.json["sourceIp"] != nil {
		t.Errorf("answer %s", r.body)
	}
	r = get("?includeSocketInformation=true").ok(t)
	if r.json["sourceIp"] != "127.0.0.1" || r.json["targetIp"] != "127.0.0.1" || fmt.Sprint(r.json["sourcePort"]) == fmt.Sprint(r.json["targetPort"]) {
		t.Errorf("answer %s", r.body)
	}
	h.leave(d, "a/b")
	eventually(t, "the departure", func() bool { return get("").json["disconnectReason"] == "CONNECTION_LOST" })
	r = get("").ok(t)
	if r.json["connected"] != false || r.json["disconnectedSince"] == nil || r.json["connectedSince"] != nil {
		t.Errorf("answer %s", r.body)
	}
	h.clock.advance(31 * time.Minute) // its session is still there
	if r = get("").ok(t); r.json["connected"] != false || r.json["disconnectedSince"] != nil {
		t.Errorf("answer %s", r.body)
	}
	c.do(http.MethodGet, "/connections/nobody", nil).refused(t, http.StatusNotFound, "ResourceNotFoundException")
	c.do(http.MethodGet, "/connections/$x", nil).refused(t, http.StatusBadRequest, "InvalidRequestException")
	c.do(http.MethodGet, "/connections/"+strings.Repeat("x", 129), nil).refused(t, http.StatusBadRequest, "InvalidRequestException")
	c.do(http.MethodGet, "/connections/", nil).refused(t, http.StatusBadRequest, "InvalidRequestException")
	h.rules.deny("iot:GetConnection d")
	c.do(http.MethodGet, "/connections/d", nil).refused(t, http.StatusForbidden, "ForbiddenException") // before it is looked for
}

// TestQ48_ListSubscriptions: of present and absent clients, in pages.
func TestQ48_ListSubscriptions(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	c := h.caller(ca)
	d := dial(t, h.addr(), 4)
	d.connect("d", persistent(600))
	d.subscribe(1, "b/#", "$share/g/a", "c/+")
	d.subscribe(0, "a")
	h.leave(d, "d")
	r := c.do(http.MethodGet, "/connections/d/subscriptions", nil).ok(t)
	want := `{"subscriptions":[{"topicFilter":"$share/g/a","qos":1},{"topicFilter":"a","qos":0},{"topicFilter":"b/#","qos":1},{"topicFilter":"c/+","qos":1}],"nextToken":null}`
	if strings.TrimSpace(r.body) != want {
		t.Errorf("answer %s", r.body)
	}
	r = c.do(http.MethodGet, "/connections/d/subscriptions?maxResults=3", nil).ok(t)
	token, _ := r.json["nextToken"].(string)
	r = c.do(http.MethodGet, "/connections/d/subscriptions?maxResults=3&nextToken="+token, nil).ok(t)
	if list := r.json["subscriptions"].([]any); len(list) != 1 || r.json["nextToken"] != nil {
		t.Errorf("answer %s", r.body)
	}
	c.do(http.MethodGet, "/connections/e/subscriptions", nil).refused(t, http.StatusNotFound, "ResourceNotFoundException")
	h.rules.deny("iot:ListSubscriptions d")
	c.do(http.MethodGet, "/connections/d/subscriptions", nil).refused(t, http.StatusForbidden, "ForbiddenException")
}

// TestB211_PolicyActions: each operation asks for its own permission, with
// AWS's resource, and asks again at every request.
func TestB211_PolicyActions(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	h.join(5, "d")
	c := h.caller(ca)
	for _, x := range []struct {
		method, path string
		want         []bridge.Request
	}{
		{http.MethodPost, "/topics/t?retain=true", []bridge.Request{{Action: bridge.ActionPublish, Name: "t"}, {Action: bridge.ActionRetainPublish, Name: "t"}}},
		{http.MethodPost, "/topics/t", []bridge.Request{{Action: bridge.ActionPublish, Name: "t"}}},
		{http.MethodGet, "/retainedMessage/t", []bridge.Request{{Action: bridge.ActionGetRetained, Name: "t"}}},
		{http.MethodGet, "/retainedMessage", []bridge.Request{{Action: bridge.ActionListRetained}}},
		{http.MethodGet, "/connections/d", []bridge.Request{{Action: bridge.ActionGetConnection, Name: "d"}}},
		{http.MethodGet, "/connections/d/subscriptions", []bridge.Request{{Action: bridge.ActionListSubscriptions, Name: "d"}}},
		{http.MethodPost, "/connections/d/messages?topic=cmd/x", []bridge.Request{{Action: bridge.ActionSendDirect, Name: "d", Topic: "cmd/x"}, {Action: bridge.ActionReceive, Name: "cmd/x"}}},
		{http.MethodDelete, "/connections/d", []bridge.Request{{Action: bridge.ActionDeleteConnection, Name: "d"}}},
	} {
		h.rules.mu.Lock()
		h.rules.asked = nil
		h.rules.mu.Unlock()
		c.do(x.method, x.path, nil)
		h.rules.mu.Lock()
		asked := slices.Clone(h.rules.asked)
		h.rules.mu.Unlock()
		if !slices.Equal(asked, x.want) {
			t.Errorf("%s %s asked %+v", x.method, x.path, asked)
		}
	}
}

// TestWhoSpeaksHTTP: certificates as MQTT has them; anonymous on loopback.
func TestWhoSpeaksHTTP(t *testing.T) {
	ca, foreign := peers.CA(t), peers.CA(t)
	known := people{known: map[string]bool{"dev": true}}
	for name, tt := range map[string]struct {
		auth   string
		cert   *peers.Cert
		status int // 0: no handshake
	}{
		"registered":                  {clientFingerprint, ca.Client("dev", peers.Validity{}), 200},
		"registered, foreign CA":      {clientFingerprint, foreign.Client("dev", peers.Validity{}), 200},
		"not registered":              {clientFingerprint, ca.Client("stranger", peers.Validity{}), 403},
		"expired":                     {clientFingerprint, ca.Client("dev", peers.Validity{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}), 403},
		"chain":                       {clientChain, ca.Client("stranger", peers.Validity{}), 200},
		"chain, foreign CA":           {clientChain, foreign.Client("dev", peers.Validity{}), 0},
		"both, but not registered":    {clientBoth, ca.Client("stranger", peers.Validity{}), 403},
		"fingerprint, no certificate": {clientFingerprint, &peers.Cert{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := secure(ca, profileAWSEdge, tt.auth)
			o.Name, o.Type = "web", typeHTTPS
			h := open(t, known, o)
			r, err := h.callerWith(ca, tt.cert).try(http.MethodPost, "/topics/t", strings.NewReader("x"))
			if (err != nil) != (tt.status == 0) || err == nil && r.status != tt.status {
				t.Errorf("%d, %v", r.status, err)
			}
			if tt.status == 403 {
				r.refused(t, 403, "ForbiddenException")
			}
		})
	}
	t.Run("anonymous", func(t *testing.T) {
		o := web(ca, profileAWSEdge)
		o.Auth, o.TLS.ClientAuth = authAnonymous, ""
		h := open(t, known, o)
		h.callerWith(ca, &peers.Cert{}).publish("t", "x").ok(t)
	})
}

// TestHTTPPassword: a listener that should ask for passwords lets nobody in.
func TestHTTPPassword(t *testing.T) {
	ca := peers.CA(t)
	o := web(ca, profileAWSEdge)
	o.Auth, o.TLS.ClientAuth, o.Users = authPassword, "", usersFile(t, "ann", "right")
	if ps := (Options{Listeners: []ListenerOptions{o}}).Validate(); len(ps) != 1 || !strings.Contains(ps[0].Text, "is password") {
		t.Errorf("problems %+v", ps)
	}
	h := open(t, people{}, o)
	h.caller(ca).publish("t", "x", "Authorization", "Basic "+encoded("ann:right")).refused(t, http.StatusForbidden, "ForbiddenException")
}

// TestHTTPCertificateEnds: a certificate is looked at for every request.
func TestHTTPCertificateEnds(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	c.publish("t", "x").ok(t)
	h.clock.advance(25 * time.Hour)
	c.publish("t", "x").refused(t, http.StatusForbidden, "ForbiddenException")
}

// TestHTTPFollowsTheListener: who is named by a chain has the listener's
// policies as they are now, on a connection that is open already.
func TestHTTPFollowsTheListener(t *testing.T) {
	ca := peers.CA(t)
	o := secure(ca, profileAWSEdge, clientChain)
	o.Name, o.Type, o.Policies = "web", typeHTTPS, []string{"local"}
	s := &spy{}
	h := openWith(t, people{}, func(d *Deps) { s.Authorizer, d.Authorizer = d.Authorizer, s }, o)
	c := h.caller(ca)
	c.publish("t", "x").ok(t)
	first := s.who.Load()
	c.publish("t", "x").ok(t)
	if s.who.Load() != first {
		t.Error("who it is was worked out again for nothing")
	}
	o.Policies = []string{"other"}
	if err := h.Reload(Options{Listeners: []ListenerOptions{o}}); err != nil {
		t.Fatal(err)
	}
	c.publish("t", "x").ok(t)
	if p := s.who.Load(); p.User != "dev" || !slices.Equal(p.Policies, []string{"other"}) {
		t.Errorf("principal %+v", p)
	}
	o.Policies = []string{"missing"}
	if err := h.Reload(Options{Listeners: []ListenerOptions{o}}); err != nil {
		t.Fatal(err)
	}
	c.publish("t", "x").refused(t, http.StatusForbidden, "ForbiddenException")
}

// TestRequestQuotas (Q30, Q31, Q46-Q49): AWS's requests a second, of the account
// and about one client id.
func TestRequestQuotas(t *testing.T) {
	now := time.Now()
	for action, most := range map[bridge.Action]int{
		bridge.ActionGetRetained: 500, bridge.ActionListRetained: 10, bridge.ActionDeleteConnection: 100,
		bridge.ActionGetConnection: 100, bridge.ActionListSubscriptions: 100, bridge.ActionSendDirect: 20_000,
	} {
		q := newQuotas(DefaultAccountQuotas(), func() time.Time { return now })
		k := requestQuotas[action]
		for i := range most {
			if !q.takes(k, q.account[k], paceBites, quotaExample{}) {
				t.Fatalf("%s: refused number %d", action, i)
			}
		}
		if q.takes(k, q.account[k], paceBites, quotaExample{}) {
			t.Errorf("%s: takes more than %d", action, most)
		}
	}
}

// pacedHouse is webHouse at one moment, with the profile's own pace.
func pacedHouse(t *testing.T, profile string, now time.Time) (*house, *peers.Authority) {
	t.Helper()
	h, ca := webHouse(t, profile, func(d *Deps) { d.Now = func() time.Time { return now } })
	o := h.listeners[1].settings.Load().ListenerOptions
	o.Quotas.Pace = DefaultQuotas(profile).Pace
	if err := h.Reload(Options{Listeners: []ListenerOptions{h.listeners[0].settings.Load().ListenerOptions, o}}); err != nil {
		t.Fatal(err)
	}
	return h, ca
}

// TestRequestQuotasByProfile: one a second about a client id; profile aws
// refuses what is above, aws-edge tells, mqtt does not count.
func TestRequestQuotasByProfile(t *testing.T) {
	for profile, want := range map[string]int{profileAWS: http.StatusTooManyRequests, profileAWSEdge: http.StatusOK, profileMQTT: http.StatusOK} {
		fixed := time.Now()
		h, ca := pacedHouse(t, profile, fixed)
		h.join(5, "d")
		c := h.caller(ca)
		c.do(http.MethodGet, "/connections/d", nil).ok(t)
		r := c.do(http.MethodGet, "/connections/d", nil)
		if r.status != want || want == http.StatusTooManyRequests && r.header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d", profile, r.status)
		}
		c.do(http.MethodGet, "/connections/e", nil).refused(t, http.StatusNotFound, "ResourceNotFoundException") // another's
		for _, n := range h.Status().Quotas {
			told := profile == profileAWS && n.Enforced == 1 || profile == profileAWSEdge && n.Warned == 1 || profile == profileMQTT && n.Warned+n.Enforced == 0
			if n.Quota == "Q47" && !told {
				t.Errorf("%s: %+v", profile, n)
			}
		}
	}
}

// TestAccountQuotasOverHTTP (Q20, Q28, Q29): a publish over HTTP counts with
// those of devices.
func TestAccountQuotasOverHTTP(t *testing.T) {
	fixed := time.Now()
	h, ca := pacedHouse(t, profileAWS, fixed)
	c := h.caller(ca)
	c.publish("t?retain=true", "x").ok(t)
	c.publish("t?retain=true", "x").refused(t, http.StatusTooManyRequests, "ThrottlingException")
	c.publish("u?retain=true", "x").ok(t)
	c.publish("t", "x").ok(t)
	if h.dropped("retained-rate") != 1 {
		t.Errorf("drop log %+v", h.drops.All())
	}
}
