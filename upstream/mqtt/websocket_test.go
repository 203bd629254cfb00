package mqtt

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// signed is a Signer that puts a word behind the address.
type signed struct {
	word string
	ends time.Time
	err  error
}

func (s signed) SignURL(_ context.Context, address string) (string, time.Time, error) {
	return address + "?" + s.word, s.ends, s.err
}

func TestWebSocketAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"wss://h": "wss://h/mqtt", "wss://h:443/mqtt": "wss://h/mqtt", "ws://h:8080/": "ws://h:8080/", "ws://h:80/a%20b": "ws://h/a%20b",
		"wss://[::1]:443": "wss://[::1]/mqtt", "wss://h:8084/mqtt": "wss://h:8084/mqtt",
	} {
		if e, err := parseEndpoint(in); err != nil || e.url() != want {
			t.Errorf("%s: %s, %v; want %s", in, e.url(), err, want)
		}
	}
}

// B09: subprotocol mqtt, the signature in the query.
func TestB09_WebSocketIsSignedAndAsksForMQTT(t *testing.T) {
	type request struct{ query, protocol, host string }
	got := make(chan request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- request{r.URL.RawQuery, r.Header.Get("Sec-WebSocket-Protocol"), r.Host}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	o := quick("")
	o.Endpoint = "ws" + strings.TrimPrefix(server.URL, "http")
	err := Check(t.Context(), o, "gateway", signed{word: "X-Amz-Signature=1"})
	if e, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(e.Reason, "403") || !strings.Contains(e.Remedy, "credentials") {
		t.Errorf("error %v, want a refusal with 403", err)
	}
	if r := receive(t, got, "the request comes"); r.query != "X-Amz-Signature=1" || r.protocol != "mqtt" || r.host != strings.TrimPrefix(server.URL, "http://") {
		t.Errorf("asked with %+v", r)
	}
}

func TestWhatIsNoWebSocketOfMQTT(t *testing.T) {
	up := websocket.Upgrader{}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		refused bool
		want    string
	}{
		{"another path", http.NotFound, true, "/mqtt"},
		{"busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, false, "503"},
		{"another protocol", func(w http.ResponseWriter, r *http.Request) {
			if ws, err := up.Upgrade(w, r, nil); err == nil {
				_ = ws.Close()
			}
		}, true, "does not speak MQTT"},
		{"text in place of MQTT", func(w http.ResponseWriter, r *http.Request) {
			ws, err := (&websocket.Upgrader{Subprotocols: []string{"mqtt"}}).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			_ = ws.WriteMessage(websocket.TextMessage, []byte("hello"))
			_, _, _ = ws.ReadMessage()
			_ = ws.Close()
		}, false, "text"},
		{"an answer with escapes", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte("\x1b[31mno\x07\xff"))
		}, true, "[31mno"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			o := quick("")
			o.Endpoint = "ws" + strings.TrimPrefix(server.URL, "http")
			err := Check(t.Context(), o, "gateway", nil)
			if _, ok := errors.AsType[*RefusedError](err); ok != c.refused || err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("error %q, want %q in it", err, c.want)
			}
		})
	}
}

// Credentials that cannot be had are a warning with its remedy, and tried again.
func TestNoCredentialsAreTriedAgain(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{WebSocket: true})
	o := quick("")
	o.Endpoint = "ws://" + b.WSAddr
	raised := make(chan bridge.Warning, 100)
	u := NewUplink(o, "gateway", discard(), upstream.Hooks{Raise: func(w bridge.Warning) { raised <- w }})
	s := &mended{broken: 3}
	u.Sign(s)
	l, err := u.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w := receive(t, raised, "a warning"); w.Code != "uplink-refused" || !strings.Contains(w.Text, "the token has expired") || !strings.Contains(w.Text, "renew them") {
		t.Errorf("warning %+v", w)
	}
	_ = l.Close()
	receive(t, l.Done(), "the link goes down")
}

// mended fails some times before it signs.
type mended struct{ broken int }

func (m *mended) SignURL(_ context.Context, address string) (string, time.Time, error) {
	if m.broken--; m.broken >= 0 {
		return "", time.Time{}, errors.New("the token has expired")
	}
	return address, time.Time{}, nil
}
