package scenario

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/template"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// webConfig is a gateway with MQTT and HTTP listeners for certificates.
var webConfig = template.Must(template.New("web").Parse(`gateway:
  id: site-1
spool:
  dir: {{.Data}}
policy:
  things: things.yaml
  policies: policies
  log_sample: 1
listeners:
  - name: lan
    type: tls
    address: {{.Listen}}
    profile: aws-edge
    auth: certificate
    tls: {cert: {{.Cert}}, key: {{.Key}}}
  - name: web
    type: https
    address: {{.Web}}
    profile: aws-edge
    auth: certificate
    tls: {cert: {{.Cert}}, key: {{.Key}}}
routes:
  up:
    - {name: telemetry, from: "dt/#", upstream: cloud, topic: "${topic}"}
upstreams:
  cloud:
    type: mqtt
    endpoint: {{.Endpoint}}
    limits: {messages_per_second: 0, bytes_per_second: 0, in_flight: 100}
    backoff: {base: 100ms, max: 500ms, floor: 100ms}
    billing: {region: eu-central-1}
admin:
  address: {{.Admin}}
log: {format: text, level: info}
shutdown_timeout: 3s
`))

// webGateway is one whose devices press-1 and press-2 speak MQTT, and whose
// program, by its own certificate, speaks HTTP.
type webGateway struct {
	*policyGateway
	web     string // host and port
	program *peers.Cert
	press   map[string]*peers.Cert
}

func newWebGateway(t *testing.T, endpoint string) *webGateway {
	t.Helper()
	g := &webGateway{policyGateway: newPolicyGateway(t, endpoint), web: peers.FreeAddr(t), press: map[string]*peers.Cert{}}
	var text strings.Builder
	if err := webConfig.Execute(&text, struct {
		site
		Web string
	}{g.site, g.web}); err != nil {
		t.Fatal(err)
	}
	g.write("ebbgate.yaml", text.String())
	g.program = g.ca.Client("program", peers.Validity{})
	things := "things:\n"
	for _, name := range []string{"press-1", "press-2"} {
		g.press[name] = g.ca.Client(name, peers.Validity{})
		things += "  " + name + ":\n    certificates: [" + g.press[name].Fingerprint + "]\n    policies: [device]\n"
	}
	g.write("things.yaml", things+"certificates:\n  "+g.program.Fingerprint+":\n    status: ACTIVE\n    policies: [program]\n")
	g.policy("device",
		statement("Allow", "iot:Connect", "client/${iot:Connection.Thing.ThingName}"),
		statement("Allow", "iot:Publish", "topic/dt/${iot:Connection.Thing.ThingName}/*"),
		statement("Allow", "iot:Subscribe", "topicfilter/state/*"),
		statement("Allow", "iot:Receive", "topic/cmd/*", "topic/state/*"))
	g.policy("program",
		statement("Allow", "iot:Publish", "topic/dt/site/*", "topic/state/*"),
		statement("Allow", "iot:RetainPublish", "topic/state/*"),
		statement("Allow", "iot:GetRetainedMessage", "topic/state/*"),
		`{"Effect": "Allow", "Action": "iot:ListRetainedMessages", "Resource": "*"}`,
		statement("Allow", "iot:DeleteConnection", "client/press-1"),
		`{"Effect": "Allow", "Action": "iot:SendDirectMessage", "Resource": "arn:aws:iot:*:*:client/press-*", "Condition": {"StringLike": {"iot:Topic": "cmd/*"}}}`)
	return g
}

// ask makes a request as the program does, and returns status and answer.
func (g *webGateway) ask(ctx context.Context, method, path, body string) (int, map[string]any) {
	g.tb.Helper()
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: g.ca.Pool, ServerName: "localhost", Certificates: []tls.Certificate{g.program.TLS}}}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+g.web+path, strings.NewReader(body))
	if err != nil {
		g.tb.Fatal(err)
	}
	res, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		g.tb.Fatal(err)
	}
	defer res.Body.Close()
	answer := map[string]any{}
	if text, err := io.ReadAll(res.Body); err != nil || len(text) > 0 && json.Unmarshal(text, &answer) != nil {
		g.tb.Fatalf("answer %q: %v", text, err)
	}
	return res.StatusCode, answer
}

// TestHTTP is docs/http.md: a program publishes for the cloud and for the site,
// keeps and reads retained messages, commands one device, and cuts it off; its
// policy, and the receivers', decide about all of it.
func TestHTTP(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := peers.Mosquitto(t, peers.MosquittoOptions{})
	arrived := make(chan mqtt.Message, 10)
	hear(t, m.Addr, arrived)
	g := newWebGateway(t, "mqtt://"+m.Addr)
	g.start()

	// What it publishes goes up like a device's, of the certificate's id.
	if status, answer := g.ask(ctx, http.MethodPost, "/topics/dt%2Fsite%2Fshift?qos=1", "early"); status != http.StatusOK || answer["message"] != "OK" {
		t.Fatalf("%d %v", status, answer)
	}
	select {
	case got := <-arrived:
		if got.Topic() != "dt/site/shift" || string(got.Payload()) != "early" {
			t.Errorf("the cloud has %s %q", got.Topic(), got.Payload())
		}
	case <-ctx.Done():
		t.Fatal("nothing arrived")
	}
	if status, answer := g.ask(ctx, http.MethodPost, "/topics/dt%2Fpress-1%2Ft", "x"); status != http.StatusUnauthorized || !strings.Contains(answer["message"].(string), "denied") {
		t.Errorf("%d %v", status, answer)
	}

	// What is retained is there for devices and for HTTP.
	if status, answer := g.ask(ctx, http.MethodPost, "/topics/state/line?retain=true&qos=1", "run"); status != http.StatusOK {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := g.ask(ctx, http.MethodGet, "/retainedMessage/state%2Fline", ""); status != http.StatusOK || answer["payload"] != "cnVu" {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := g.ask(ctx, http.MethodGet, "/retainedMessage?maxResults=1", ""); status != http.StatusOK || len(answer["retainedTopics"].([]any)) != 1 || answer["nextToken"] != nil {
		t.Errorf("%d %v", status, answer)
	}
	d := newLAN(t, g.policyGateway, 5, lanOptions{id: "press-1", cert: g.press["press-1"]})
	other := newLAN(t, g.policyGateway, 4, lanOptions{id: "press-2", cert: g.press["press-2"]})
	if a, b := d.connect(ctx), other.connect(ctx); a != "CONNACK 0x00" || b != "CONNACK 0" {
		t.Fatal(a, b)
	}
	if got := d.subscribe(ctx, "state/line"); got != "SUBACK 0x01" {
		t.Fatal(got)
	}
	if got := d.got(ctx); got != "state/line" {
		t.Errorf("got %s", got)
	}

	// A command goes to one device, which has not subscribed to it, and comes
	// back as acknowledged; only what both policies allow.
	for path, want := range map[string]int{
		"/connections/press-1/messages?topic=cmd%2Fstop&confirmation=true": http.StatusOK,
		"/connections/press-2/messages?topic=cmd/stop&confirmation=true":   http.StatusOK,
		"/connections/press-3/messages?topic=cmd/stop":                     http.StatusNotFound,
		"/connections/press-1/messages?topic=dt/x":                         http.StatusForbidden,
		"/connections/other/messages?topic=cmd/stop":                       http.StatusForbidden,
	} {
		if status, answer := g.ask(ctx, http.MethodPost, path, "now"); status != want {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	if a, b := d.got(ctx), other.got(ctx); a != "cmd/stop" || b != "cmd/stop" {
		t.Errorf("got %s and %s", a, b)
	}

	// curl does the same as the manual says.
	curl := peers.Need(t, "curl")
	out, err := exec.CommandContext(ctx, curl, "--silent", "--show-error", "--cacert", g.ca.File, "--cert", g.program.CertFile, "--key", g.program.KeyFile,
		"--data", `{"temp": 71}`, "https://"+strings.Replace(g.web, "127.0.0.1", "localhost", 1)+"/topics/dt%2Fsite%2Ftemp?qos=1").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), `{"message":"OK","traceId":"`) {
		t.Errorf("curl: %v: %s", err, out)
	}
	if got := receiveMessage(ctx, arrived); got == nil || string(got.Payload()) != `{"temp": 71}` {
		t.Errorf("the cloud has %v", got)
	}

	// A connection is ended for one device and not for the other.
	if status, answer := g.ask(ctx, http.MethodDelete, "/connections/press-2", ""); status != http.StatusForbidden {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := g.ask(ctx, http.MethodDelete, "/connections/press-1?cleanSession=true", ""); status != http.StatusOK {
		t.Errorf("%d %v", status, answer)
	}
	if how := d.gone(ctx); how != "DISCONNECT 0x98" {
		t.Errorf("it ended with %s", how)
	}

	// The operator sees who asked for what.
	_, stdout, stderr := cli(t, g.dir, "policy", "log", "--config", "ebbgate.yaml", "--client", g.program.Fingerprint, "--denied")
	for _, want := range []string{"Publish topic/dt/press-1/t", "SendDirectMessage client/other (cmd/stop)", "DeleteConnection client/press-2"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the log has no %q:\n%s%s", want, stdout, stderr)
		}
	}
	if _, metrics, err := g.get("/metrics"); err != nil || !strings.Contains(metrics, `ebbgate_http_requests_total{operation="SendDirectMessage",status="404"} 1`) {
		t.Errorf("metrics: %v", err)
	}

	// A certificate that is taken away is of no use any more.
	text, err := os.ReadFile(g.dir + "/things.yaml")
	if err != nil {
		t.Fatal(err)
	}
	g.write("things.yaml", strings.Replace(string(text), "ACTIVE", "REVOKED", 1))
	g.reload()
	if !until(10*time.Second, func() bool {
		status, _ := g.ask(ctx, http.MethodGet, "/retainedMessage", "")
		return status == http.StatusForbidden
	}) {
		t.Error("a revoked certificate still reads")
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestHTTPSurvives: what was answered with 200 while the cloud was away is not
// lost when the gateway is killed: it goes up later, and what was retained is
// read again.
func TestHTTPSurvives(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := peers.Mosquitto(t, peers.MosquittoOptions{})
	g := newWebGateway(t, "mqtt://"+m.Addr)
	m.Kill()
	g.start()
	for i := range 20 {
		if status, answer := g.ask(ctx, http.MethodPost, fmt.Sprintf("/topics/dt%%2Fsite%%2F%d", i), "x"); status != http.StatusOK {
			t.Fatalf("%d %v", status, answer)
		}
	}
	if status, answer := g.ask(ctx, http.MethodPost, "/topics/state/line?retain=true", "run"); status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	g.kill()
	m.Start()
	arrived := make(chan mqtt.Message, 100)
	hear(t, m.Addr, arrived)
	g.start()
	for i := range 20 {
		got := receiveMessage(ctx, arrived)
		if got == nil || got.Topic() != fmt.Sprintf("dt/site/%d", i) {
			t.Fatalf("message %d is %v", i, got)
		}
	}
	if status, answer := g.ask(ctx, http.MethodGet, "/retainedMessage/state/line", ""); status != http.StatusOK || answer["payload"] != "cnVu" {
		t.Errorf("%d %v", status, answer)
	}
}

// hear passes on what comes to a broker below dt/.
func hear(t *testing.T, addr string, arrived chan<- mqtt.Message) {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("hearer").SetAutoReconnect(false))
	for _, tok := range []func() mqtt.Token{c.Connect, func() mqtt.Token {
		return c.Subscribe("dt/#", 1, func(_ mqtt.Client, m mqtt.Message) { arrived <- m })
	}} {
		if x := tok(); !x.WaitTimeout(10*time.Second) || x.Error() != nil {
			t.Fatalf("hearer: %v", x.Error())
		}
	}
	t.Cleanup(func() { c.Disconnect(100) })
}

func receiveMessage(ctx context.Context, arrived <-chan mqtt.Message) mqtt.Message {
	select {
	case m := <-arrived:
		return m
	case <-ctx.Done():
		return nil
	}
}
