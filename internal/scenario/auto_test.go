package scenario

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// manyWays is a stand-in for AWS that is reached by MQTT, by a signed WebSocket and
// by signed HTTPS, each by a link of its own.
type manyWays struct {
	addr, ca         string // of MQTT over TLS, without the link
	talk, web, posts *peers.Proxy
	mqtt, wss, https string
}

func newManyWays(t *testing.T) *manyWays {
	t.Helper()
	cmd := exec.Command(binary(t), "sandbox", "--anonymous", "--tls", t.TempDir(), "--listen", "127.0.0.1:0", "--sigv4", "127.0.0.1:0", "--no-limits", "--json")
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=AKIATEST", "AWS_SECRET_ACCESS_KEY=secret", "AWS_SESSION_TOKEN=")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var said struct{ Endpoint, Sigv4, CA string }
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		t.Fatal(err)
	}
	m := &manyWays{addr: strings.TrimPrefix(said.Endpoint, "mqtts://"), ca: said.CA}
	signed := strings.TrimPrefix(said.Sigv4, "https://")
	m.talk, m.web, m.posts = peers.NewProxy(t, m.addr), peers.NewProxy(t, signed), peers.NewProxy(t, signed)
	m.mqtt, m.wss, m.https = "mqtts://"+m.talk.Addr, "wss://"+m.web.Addr, "https://"+m.posts.Addr
	return m
}

// watch hears everything that arrives at the stand-in.
func (m *manyWays) watch(t *testing.T) *cloud {
	t.Helper()
	text, err := os.ReadFile(m.ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	w := &cloud{}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + m.addr).SetClientID("consumer").SetCleanSession(true).SetAutoReconnect(false).
		SetTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("consumer: %v", tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	if tok := c.Subscribe("#", 1, w.take); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("consumer: %v", tok.Error())
	}
	return w
}

// wayStatus is what the status says of the way to the cloud.
type wayStatus struct {
	Way  string `json:"way"`
	Ways []struct {
		Endpoint string `json:"endpoint"`
		Error    string `json:"error"`
	} `json:"ways"`
	Uncertain int64 `json:"uncertain_units_today"`
}

func wayOf(t *testing.T, g *gateway) wayStatus {
	t.Helper()
	_, body, err := g.get("/api/v1/status")
	var s struct{ Upstreams []wayStatus }
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil || len(s.Upstreams) != 1 {
		t.Fatalf("status %s: %v", body, err)
	}
	return s.Upstreams[0]
}

// Way after way is closed while devices publish: MQTT, then the WebSocket too, and
// the messages go over HTTPS. When MQTT is open again they go back to it. Nothing
// that was acknowledged is lost, and the order of each device is kept throughout.
func TestTheMessagesFindAWay(t *testing.T) {
	t.Parallel()
	m := newManyWays(t)
	seen := m.watch(t)
	g := newGateway(t, site{Endpoint: m.mqtt, Set: []string{"upstreams.cloud.backoff.max=2s"}})
	text, err := os.ReadFile(g.configFile())
	if err != nil {
		t.Fatal(err)
	}
	g.write("ebbgate.yaml", strings.Replace(string(text), "    endpoint: "+m.mqtt+"\n", `    way: auto
    ways: [`+strings.Join([]string{m.mqtt, m.wss, m.https}, ", ")+`]
    tls: {ca: `+m.ca+`}
    aws: {sign: always, region: eu-central-1, access_key_id: AKIATEST, secret_access_key: "file:secret"}
`, 1))
	g.write("secret", "secret\n")
	g.start()
	// No faster than the consumer: a broker keeps no more than so much for one. And it
	// takes the better part of a minute until MQTT is looked at again.
	f := &fleet{devices: 5, window: 5, size: 100, every: 20 * time.Millisecond}
	f.start(t, g.Listen)
	goes := func(way, what string) {
		t.Helper()
		var s wayStatus
		from, ok := int64(0), false
		arrives := until(2*time.Minute, func() bool {
			if s = wayOf(t, g); s.Way == way && !ok {
				from, ok = seen.total.Load(), true
			}
			return ok && seen.total.Load() > from+100
		})
		if !arrives {
			t.Fatalf("%s: it does not go by %s; status %+v", what, way, s)
		}
		for _, w := range s.Ways {
			t.Logf("%s: %s %s", what, w.Endpoint, w.Error)
			if w.Endpoint == way {
				break
			} else if w.Error == "" {
				t.Errorf("%s: the status does not say why it does not go by %s", what, w.Endpoint)
			}
		}
	}
	goes(m.mqtt, "at the start")
	m.talk.Cut()
	goes(m.wss, "without MQTT")
	m.web.Cut()
	goes(m.https, "without MQTT and WebSocket")
	m.talk.Restore()
	goes(m.mqtt, "with MQTT again")
	f.stop()
	if d := seen.await(&f.acked, 20*time.Second); d.Lost > 0 {
		t.Errorf("%d acknowledged messages are not there, such as %v", d.Lost, d.Sample)
	}
	if n := seen.late.Load(); n > 0 {
		t.Errorf("%d messages out of order", n)
	}
	s := wayOf(t, g)
	t.Logf("%d arrived twice, %d are uncertain", seen.duplicates.Load(), s.Uncertain)
	if twice := seen.duplicates.Load(); twice > s.Uncertain || s.Uncertain > 3*uplinkWindow {
		t.Errorf("%d arrived twice, and %d are uncertain", twice, s.Uncertain)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}
