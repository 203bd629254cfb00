package conformance

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/localbroker"
)

// caller is a program with a certificate that speaks HTTP to a gate.
type caller struct {
	g    *gate
	ca   *peers.Authority
	http http.Client
	base string
}

// overHTTP adds a listener for HTTP in profile aws. The test gets its caller
// with called.
func overHTTP(ca *peers.Authority) func(*setup) {
	return func(s *setup) {
		server := ca.Server("gateway")
		web := localbroker.DefaultListenerOf("aws")
		web.Name, web.Type, web.Address, web.Auth, web.Policies = "web", "https", "127.0.0.1:0", "certificate", []string{"device"}
		web.TLS = localbroker.TLSOptions{Cert: server.CertFile, Key: server.KeyFile, ClientCA: ca.File, ClientAuth: "chain"}
		s.broker.Listeners = append(s.broker.Listeners, web)
	}
}

func (g *gate) caller(ca *peers.Authority) *caller {
	g.tb.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: ca.Pool, ServerName: "localhost", Certificates: []tls.Certificate{ca.Client("program", peers.Validity{}).TLS},
	}}
	g.tb.Cleanup(tr.CloseIdleConnections)
	return &caller{g, ca, http.Client{Transport: tr}, "https://" + g.Addrs()["web"].String()}
}

// ask makes a request and returns status and JSON members of the answer.
func (c *caller) ask(method, path, body string, headers ...string) (int, map[string]any) {
	c.g.tb.Helper()
	status, members, err := c.try(method, path, body, headers...)
	if err != nil {
		c.g.tb.Fatal(err)
	}
	return status, members
}

func (c *caller) try(method, path, body string, headers ...string) (int, map[string]any, error) {
	r, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	members := map[string]any{}
	if len(text) > 0 && err == nil {
		err = json.Unmarshal(text, &members)
	}
	return res.StatusCode, members, err
}

// want makes a request and compares the status.
func (c *caller) want(status int, method, path, body string, headers ...string) map[string]any {
	c.g.tb.Helper()
	got, members := c.ask(method, path, body, headers...)
	if got != status {
		c.g.tb.Errorf("%s %s: %d %v, want %d", method, path, got, members, status)
	}
	return members
}

// bothCalled is both with a caller.
func bothCalled(t *testing.T, test func(t *testing.T, g *gate, c *caller, version byte), changes ...func(*setup)) {
	t.Helper()
	ca := peers.CA(t)
	both(t, func(t *testing.T, g *gate, version byte) { test(t, g, g.caller(ca), version) }, append(changes, overHTTP(ca))...)
}

func TestB71_DeleteConnection(t *testing.T) {
	t.Parallel()
	bothCalled(t, func(t *testing.T, g *gate, c *caller, version byte) {
		watch := g.join(version, "watch")
		watch.listen(1, "gone/#", "t")
		for _, x := range []struct {
			id, query     string
			session, will bool
		}{
			{"a", "", true, true},
			{"b", "?cleanSession=true", false, true},
			{"c", "?preventWillMessage=true", true, false},
		} {
			d := g.join(version, x.id, persistent(600), leaving("gone/"+x.id, "bye"))
			d.listen(1, "t")
			c.want(http.StatusOK, http.MethodDelete, "/connections/"+x.id+x.query, "")
			if version == 5 {
				d.expectGoodbye(0x98)
			} else {
				d.expectEnd()
			}
			g.wantEnd("kicked")
			if x.will {
				watch.expectMessage("gone/"+x.id, "bye")
			}
			watch.expectNothing()
			if again := g.dial(version).connect(x.id, persistent(600)); again.SessionPresent != x.session {
				t.Errorf("%s: session present %v", x.id, again.SessionPresent)
			}
		}
		c.want(http.StatusNotFound, http.MethodDelete, "/connections/nobody", "")
	})
}

func TestB160_ReadRetained(t *testing.T) {
	t.Parallel()
	bothCalled(t, func(t *testing.T, g *gate, c *caller, version byte) {
		d := g.join(version, "pub")
		d.send(publish(1, "state/a", "\x00on", retain))
		d.expectAck(1, 0)
		m := c.want(http.StatusOK, http.MethodGet, "/retainedMessage/state%2Fa", "")
		if m["topic"] != "state/a" || m["payload"] != base64.StdEncoding.EncodeToString([]byte("\x00on")) || m["qos"] != 1.0 || m["lastModifiedTime"] == nil || m["userProperties"] != nil {
			t.Errorf("answer %v", m)
		}
		c.want(http.StatusNotFound, http.MethodGet, "/retainedMessage/state/b", "")
		c.want(http.StatusBadRequest, http.MethodGet, "/retainedMessage/state/%23", "")
		c.want(http.StatusMethodNotAllowed, http.MethodPost, "/retainedMessage/state/a", "")
	})
}

func TestB161_ListRetained(t *testing.T) {
	t.Parallel()
	bothCalled(t, func(t *testing.T, g *gate, c *caller, version byte) {
		d := g.join(version, "pub")
		for i, topic := range []string{"c", "a", "b"} {
			d.send(publish(uint16(i+1), topic, "on", retain))
			d.expectAck(uint16(i+1), 0)
		}
		var got []string
		path := "/retainedMessage?maxResults=2"
		for range 2 {
			m := c.want(http.StatusOK, http.MethodGet, path, "")
			for _, one := range m["retainedTopics"].([]any) {
				r := one.(map[string]any)
				if r["payloadSize"] != 2.0 || r["qos"] != 1.0 || r["lastModifiedTime"] == nil {
					t.Errorf("answer %v", r)
				}
				got = append(got, r["topic"].(string))
			}
			next, _ := m["nextToken"].(string)
			path = "/retainedMessage?maxResults=2&nextToken=" + next
		}
		if strings.Join(got, " ") != "a b c" {
			t.Errorf("topics %q", got)
		}
		c.want(http.StatusBadRequest, http.MethodGet, "/retainedMessage?maxResults=201", "")
	})
}

func TestB198_Publish(t *testing.T) {
	t.Parallel()
	bothCalled(t, func(t *testing.T, g *gate, c *caller, version byte) {
		sub := g.join(version, "sub")
		sub.listen(1, "dt/a")
		for query, qos := range map[string]byte{"": 0, "?qos=0": 0, "?qos=1": 1} {
			if m := c.want(http.StatusOK, http.MethodPost, "/topics/dt%2Fa"+query, "x"); m["message"] != "OK" || m["traceId"] == nil {
				t.Errorf("answer %v", m)
			}
			if pk := sub.expectMessage("dt/a", "x"); pk.FixedHeader.Qos != qos {
				t.Errorf("%q: QoS %d", query, pk.FixedHeader.Qos)
			}
		}
		c.want(http.StatusBadRequest, http.MethodPost, "/topics/dt/a?qos=2", "x")
	})
}

func TestB199_PublishRetained(t *testing.T) {
	t.Parallel()
	bothCalled(t, func(t *testing.T, g *gate, c *caller, version byte) {
		c.want(http.StatusOK, http.MethodPost, "/topics/state/a?retain=true&qos=1", "on")
		sub := g.join(version, "sub")
		sub.listen(1, "state/a")
		if pk := sub.expectMessage("state/a", "on"); !pk.FixedHeader.Retain {
			t.Error("no RETAIN")
		}
		c.want(http.StatusOK, http.MethodPost, "/topics/state/a", "off")
		sub.expectMessage("state/a", "off")
		c.want(http.StatusOK, http.MethodGet, "/retainedMessage/state/a", "")
		g.clock.advance(time.Second) // Q29
		c.want(http.StatusOK, http.MethodPost, "/topics/state/a?retain=true", "")
		c.want(http.StatusNotFound, http.MethodGet, "/retainedMessage/state/a", "")
		c.want(http.StatusUnauthorized, http.MethodPost, "/topics/unretained/a?retain=true", "x")
	})
}

func TestB200_Properties(t *testing.T) {
	t.Parallel()
	ca := peers.CA(t)
	g := open(t, overHTTP(ca))
	c := g.caller(ca)
	sub := g.join(5, "sub")
	sub.listen(1, "t")
	user := base64.StdEncoding.EncodeToString([]byte(`[{"b": "1"}, {"a": "2"}, {"b": "3"}]`))
	c.want(http.StatusOK, http.MethodPost, "/topics/t?messageExpiry=100&contentType=text%2Fplain&responseTopic=r%2F1", "x",
		"x-amz-mqtt5-user-properties", user, "x-amz-mqtt5-payload-format-indicator", "UTF8_DATA",
		"x-amz-mqtt5-correlation-data", base64.StdEncoding.EncodeToString([]byte{0, 255}))
	p := sub.expectMessage("t", "x").Properties
	names := ""
	for _, u := range p.User {
		names += u.Key + u.Val
	}
	if p.ContentType != "text/plain" || p.ResponseTopic != "r/1" || string(p.CorrelationData) != "\x00\xff" || p.PayloadFormat != 1 || names != "b1a2b3" || p.MessageExpiryInterval == 0 || p.MessageExpiryInterval > 100 {
		t.Errorf("properties %+v", p)
	}
	old := g.join(4, "old")
	old.listen(0, "t")
	c.want(http.StatusOK, http.MethodPost, "/topics/t", "y", "x-amz-mqtt5-user-properties", user)
	old.expectMessage("t", "y")
	c.want(http.StatusBadRequest, http.MethodPost, "/topics/t", "x", "x-amz-mqtt5-user-properties", "no base64")
}

func TestB201_Errors(t *testing.T) {
	t.Parallel()
	ca := peers.CA(t)
	one := func(s *setup) { s.broker.Broker.RetainedMessages = 1 }
	g := open(t, overHTTP(ca), one)
	c := g.caller(ca)
	for _, x := range []struct {
		status             int
		method, path, body string
	}{
		{http.StatusBadRequest, http.MethodPost, "/topics/a/%23", "x"},
		{http.StatusBadRequest, http.MethodPost, "/topics/$other", "x"},
		{http.StatusBadRequest, http.MethodPost, "/topics/a?messageExpiry=x", "x"},
		{http.StatusUnauthorized, http.MethodPost, "/topics/forbidden/a", "x"},
		{http.StatusNotFound, http.MethodPost, "/nothing", "x"},
		{http.StatusMethodNotAllowed, http.MethodPut, "/topics/a", "x"},
		{http.StatusRequestEntityTooLarge, http.MethodPost, "/topics/a", strings.Repeat("x", 128<<10+1)},
		{http.StatusOK, http.MethodPost, "/topics/a?retain=true", "x"},
		{http.StatusTooManyRequests, http.MethodPost, "/topics/b?retain=true", "x"},
	} {
		m := c.want(x.status, x.method, x.path, x.body)
		if m["message"] == nil || m["traceId"] == nil {
			t.Errorf("%s: answer %v", x.path, m)
		}
	}
}

func TestB202_PublishOnly(t *testing.T) {
	t.Parallel()
	ca := peers.CA(t)
	g := open(t, overHTTP(ca))
	c := g.caller(ca)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, "SUBSCRIBE"} {
		c.want(http.StatusMethodNotAllowed, method, "/topics/a", "")
	}
}

func TestB203_DirectMessage(t *testing.T) {
	t.Parallel()
	bothCalled(t, func(t *testing.T, g *gate, c *caller, version byte) {
		const path = "/connections/d/messages?topic=cmd%2Fgo"
		c.want(http.StatusNotFound, http.MethodPost, path, "x")
		d, other := g.join(version, "d"), g.join(version, "other")
		other.listen(1, "cmd/#")
		d.settle() // CONNACK leaves a moment before the connection is open
		c.want(http.StatusOK, http.MethodPost, path, "x")
		if pk := d.expectMessage("cmd/go", "x"); pk.FixedHeader.Qos != 0 {
			t.Errorf("QoS %d", pk.FixedHeader.Qos)
		}
		answered := make(chan int, 1)
		go func() {
			status, _, err := c.try(http.MethodPost, path+"&confirmation=true&timeout=15", "y")
			if err != nil {
				t.Error(err)
			}
			answered <- status
		}()
		pk := d.expect(packets.Publish)
		if len(answered) > 0 || pk.FixedHeader.Qos != 1 || string(pk.Payload) != "y" {
			t.Errorf("answered %d times, got %+v", len(answered), pk)
		}
		d.puback(pk.PacketID)
		if status := receive(t, "the answer", answered); status != http.StatusOK {
			t.Errorf("answered %d", status)
		}
		c.want(http.StatusGatewayTimeout, http.MethodPost, path+"&confirmation=true&timeout=1", "z")
		c.want(http.StatusForbidden, http.MethodPost, "/connections/d/messages?topic=forbidden/x", "x")
		other.expectNothing()
		c.want(http.StatusNotFound, http.MethodGet, "/retainedMessage/cmd/go", "")
	})
}
