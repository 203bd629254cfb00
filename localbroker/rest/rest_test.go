package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a Caller that keeps what it is asked for, and answers with err.
type desk struct {
	err      error
	message  *bridge.Message
	client   string
	after    string
	options  DeleteOptions
	confirm  time.Duration
	op       string
	status   int
	panicked any
}

func (d *desk) Admit(*http.Request) error { return nil }

func (d *desk) Publish(m *bridge.Message) error {
	d.message = m
	if m.Topic == "panic" {
		panic("by the test")
	}
	return d.err
}

func (d *desk) Retained(topic string) (*Retained, error) {
	d.client = topic
	return &Retained{Topic: topic}, d.err
}

func (d *desk) ListRetained(after string, _ int) ([]*Retained, bool, error) {
	d.after = after
	return []*Retained{{Topic: "a/b"}}, true, d.err
}

func (d *desk) DeleteConnection(client string, o DeleteOptions) error {
	d.client, d.options = client, o
	return d.err
}

func (d *desk) Connection(client string) (*Connection, error) {
	d.client = client
	return &Connection{ClientID: client}, d.err
}

func (d *desk) Subscriptions(client, after string, _ int) ([]Subscription, bool, error) {
	d.client, d.after = client, after
	return []Subscription{{Filter: after + "+"}}, true, d.err
}

func (d *desk) Direct(_ context.Context, client string, m *bridge.Message, confirm time.Duration) error {
	d.client, d.message, d.confirm = client, m, confirm
	return d.err
}

func (d *desk) Served(op string, status int, _ error) { d.op, d.status = op, status }

func (d *desk) Panicked(v any) { d.panicked = v }

// ask makes a request of a desk.
func ask(d *desk, o Options, method, target, body string) *httptest.ResponseRecorder {
	o.Payload = 1000
	w := httptest.NewRecorder()
	New(d, o).ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w
}

// TestRoutes: each of AWS's operations by its path, with what it is about.
func TestRoutes(t *testing.T) {
	for _, x := range []struct{ method, path, op, client string }{
		{http.MethodPost, "/topics/a/b", "Publish", ""},
		{http.MethodGet, "/retainedMessage/a%2Fb", "GetRetainedMessage", "a/b"},
		{http.MethodGet, "/retainedMessage", "ListRetainedMessages", ""},
		{http.MethodDelete, "/connections/a%2Fmessages", "DeleteConnection", "a/messages"},
		{http.MethodGet, "/connections/c", "GetConnection", "c"},
		{http.MethodGet, "/connections/c/", "GetConnection", "c"},
		{http.MethodGet, "/connections/a%2Fb/subscriptions", "ListSubscriptions", "a/b"},
		{http.MethodPost, "/connections/c/messages?topic=t", "SendDirectMessage", "c"},
	} {
		d := &desk{}
		if w := ask(d, Options{}, x.method, x.path, ""); w.Code != http.StatusOK || d.op != x.op || d.client != x.client || d.status != w.Code {
			t.Errorf("%s %s: %d %s %q", x.method, x.path, w.Code, d.op, d.client)
		}
	}
	for _, path := range []string{"/", "/topics", "/retainedMessages", "/connections", "/connections/a/b", "/connections/a/messages/", "/mqtt", "/topics%2Fa", "//topics/a"} {
		d := &desk{}
		if w := ask(d, Options{}, http.MethodPost, path, ""); w.Code != http.StatusNotFound || d.op != "" {
			t.Errorf("%s: %d %s", path, w.Code, d.op)
		}
	}
}

// TestParameters are taken as AWS's page says, whatever their case.
func TestParameters(t *testing.T) {
	d := &desk{}
	ask(d, Options{}, http.MethodDelete, "/connections/c?cleanSession=TRUE&preventWillMessage=true&X-Amz-Date=1&X-Amz-Date=2", "")
	if d.options != (DeleteOptions{true, true}) {
		t.Errorf("options %+v", d.options)
	}
	ask(d, Options{}, http.MethodPost, "/connections/c/messages?topic=t&confirmation=true", "x")
	if d.confirm != 5*time.Second || d.message.QoS != 1 || string(d.message.Payload) != "x" {
		t.Errorf("confirm %v, %+v", d.confirm, d.message)
	}
	ask(d, Options{}, http.MethodPost, "/connections/c/messages?topic=t&confirmation=false&timeout=7", "x")
	if d.confirm != 0 || d.message.QoS != 0 {
		t.Errorf("confirm %v, %+v", d.confirm, d.message)
	}
}

// TestTokens lead on from where a page ended, whatever the key was.
func TestTokens(t *testing.T) {
	d := &desk{}
	for want := ""; len(want) < 5; want += "+" {
		target := "/connections/c/subscriptions"
		if want != "" {
			target += "?nextToken=" + *nextToken(want, true)
		}
		w := ask(d, Options{}, http.MethodGet, target, "")
		if w.Code != http.StatusOK || d.after != want {
			t.Errorf("%d, after %q, want %q", w.Code, d.after, want)
		}
	}
}

// TestRefusal is the table of answers.
func TestRefusal(t *testing.T) {
	denied := bridge.Errorf("x", bridge.NotAuthorized, "y")
	for name, x := range map[string]struct {
		err       error
		op        *operation
		forbidden bool
		want      int
	}{
		"its own":               {&Refusal{http.StatusTeapot, ""}, publish, false, http.StatusTeapot},
		"denied publish":        {denied, publish, false, http.StatusUnauthorized},
		"denied read":           {denied, getRetained, false, http.StatusUnauthorized},
		"denied list":           {denied, listRetained, false, http.StatusUnauthorized},
		"denied, by the switch": {denied, publish, true, http.StatusForbidden},
		"denied direct":         {denied, sendDirect, false, http.StatusForbidden},
		"nobody":                {denied, nil, false, http.StatusForbidden},
		"unknown":               {errors.New("x"), publish, false, http.StatusInternalServerError},
		"unknown kind":          {bridge.Errorf("x", bridge.Kind(200), "y"), publish, false, http.StatusInternalServerError},
		"gone":                  {context.Canceled, sendDirect, false, http.StatusInternalServerError},
	} {
		if got := refusal(x.err, x.op, Options{Forbidden: x.forbidden}); got.Status != x.want {
			t.Errorf("%s: %d", name, got.Status)
		}
	}
	secret := &Refusal{http.StatusForbidden, "because of policy p"}
	if secret.text(Options{Terse: true}) != "Forbidden" || secret.text(Options{}) != "because of policy p" {
		t.Error("who is terse tells why, or who is not does not")
	}
}

// TestPanic: whatever a request panics with is told, and answered.
func TestPanic(t *testing.T) {
	d := &desk{}
	w := ask(d, Options{Terse: true}, http.MethodPost, "/topics/panic", "x")
	if w.Code != http.StatusInternalServerError || d.panicked != "by the test" || w.Header().Get("Connection") != "close" {
		t.Errorf("%d, %v", w.Code, d.panicked)
	}
}

// FuzzRequest: no request makes the handler panic or accept what MQTT could not
// carry, and every answer is one JSON object or nothing.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/topics/a%2Fb", "qos=1&retain=true&messageExpiry=5&contentType=x&responseTopic=y", "W3siYSI6ICIxIn1d", "AA==", "UTF8_DATA", []byte("x"))
	f.Add("POST", "/connections/c/messages", "topic=t&confirmation=true&timeout=15", "", "", "", []byte{})
	f.Add("GET", "/retainedMessage", "maxResults=200&nextToken=MS5h", "", "", "", []byte{})
	f.Add("DELETE", "/connections/%24x", "cleanSession=1", "W10=", "x", "y", []byte{0})
	f.Fuzz(func(t *testing.T, method, path, query, user, correlation, format string, body []byte) {
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(string(body)))
		r.Method = method
		u, err := r.URL.Parse("https://gateway" + path)
		if err != nil {
			return // net/http answers
		}
		r.URL, u.RawQuery = u, query
		r.Header.Set("x-amz-mqtt5-user-properties", user)
		r.Header.Set("x-amz-mqtt5-correlation-data", correlation)
		r.Header.Set("x-amz-mqtt5-payload-format-indicator", format)
		d, w := &desk{}, httptest.NewRecorder()
		New(d, Options{Payload: 100}).ServeHTTP(w, r)
		if d.panicked != nil && d.panicked != "by the test" {
			t.Fatalf("panic: %v", d.panicked)
		}
		if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer %q", w.Body)
		}
		if m := d.message; m != nil {
			texts := []string{m.Topic, m.ContentType, m.ResponseTopic}
			for _, p := range m.User {
				texts = append(texts, p.Key, p.Value)
			}
			for _, s := range texts {
				if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
					t.Errorf("%q went on", s)
				}
			}
			if m.QoS > 1 || len(m.Payload) > 100 || strings.ContainsAny(m.ResponseTopic, "+#") || m.HasExpiry && m.Expiry == 0 {
				t.Errorf("%+v went on", m)
			}
		}
	})
}

// FuzzUserProperties: what is read is written again as the same.
func FuzzUserProperties(f *testing.F) {
	f.Add([]byte(`[{"a": "1"}, {"b": "", "a": "é"}, {}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		user, err := userProperties(text)
		if err != nil || len(user) == 0 {
			return
		}
		again, err := base64.StdEncoding.DecodeString(*encodeUser(user))
		if err != nil {
			t.Fatal(err)
		}
		back, err := userProperties(again)
		if err != nil || len(back) != len(user) {
			t.Fatalf("%q became %q: %v", text, again, err)
		}
		for i := range user {
			if user[i] != back[i] {
				t.Errorf("%q became %q", user[i], back[i])
			}
		}
	})
}
