package scenario

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// servicesConfig is a gateway whose devices reach the cloud's services.
var servicesConfig = template.Must(template.New("services").Parse(`gateway:
  id: site-1
spool:
  dir: {{.Data}}
policy:
  things: things.yaml
  policies: policies
listeners:
  - name: lan
    type: tls
    address: {{.Listen}}
    profile: aws-edge
    auth: certificate
    tls: {cert: {{.Cert}}, key: {{.Key}}}
routes:
  pass_through: {upstream: cloud, answers: subscribe, timeout: 3s, offline: {{.Offline}}}
  up:
    - {name: ingest, from: "$aws/rules/#", upstream: cloud}
    - {name: presence, from: "$aws/events/presence/+/+", upstream: cloud, topic: "site1/${topic[4]}/${topic[5]}"}
upstreams:
  cloud:
    type: mqtt
    endpoint: {{.Endpoint}}
    connect_timeout: 3s
    backoff: {base: 100ms, max: 500ms, floor: 100ms}
    billing: {region: eu-central-1}
admin:
  address: {{.Admin}}
log: {format: text, level: info}
shutdown_timeout: 3s
`))

// servicesGateway is a running one with the things pump and press. The policy
// lets each do everything, so that only the gateway keeps answers apart.
func servicesGateway(t *testing.T, endpoint, offline string) (g *gateway, ca *peers.Authority, certs map[string]*peers.Cert) {
	t.Helper()
	g, ca = newGateway(t, site{Endpoint: endpoint}), peers.CA(t)
	server := ca.Server("gateway")
	g.Cert, g.Key = server.CertFile, server.KeyFile
	var text, things strings.Builder
	if err := servicesConfig.Execute(&text, struct {
		site
		Offline string
	}{g.site, offline}); err != nil {
		t.Fatal(err)
	}
	g.write("ebbgate.yaml", text.String())
	if err := os.Remove(g.dir + "/policies/fleet.json"); err != nil {
		t.Fatal(err)
	}
	g.write("policies/all.json", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}`)
	certs = map[string]*peers.Cert{}
	things.WriteString("things:\n")
	for _, name := range []string{"pump", "press"} {
		certs[name] = ca.Client(name, peers.Validity{})
		fmt.Fprintf(&things, "  %s: {certificates: [%s], policies: [all]}\n", name, certs[name].Fingerprint)
	}
	g.write("things.yaml", things.String())
	g.start()
	return g, ca, certs
}

// appliance is a device that keeps what it hears, subscribed to or not.
type appliance struct {
	mqtt.Client
	t *testing.T

	mu    sync.Mutex
	heard []string // topic and payload
}

func newAppliance(t *testing.T, g *gateway, ca *peers.Authority, name string, cert *peers.Cert, filters ...string) *appliance {
	t.Helper()
	a := &appliance{t: t}
	a.Client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + g.Listen).SetClientID(name).SetAutoReconnect(false).
		SetTLSConfig(&tls.Config{RootCAs: ca.Pool, ServerName: "localhost", Certificates: []tls.Certificate{cert.TLS}}).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.heard = append(a.heard, m.Topic()+" "+string(m.Payload()))
		}))
	must(t, name+": connect", a.Connect())
	t.Cleanup(func() { a.Disconnect(100) })
	for _, f := range filters {
		must(t, name+": subscribe", a.Subscribe(f, 1, nil))
	}
	return a
}

func (a *appliance) ask(topic, payload string) {
	a.t.Helper()
	must(a.t, topic, a.Publish(topic, 1, false, payload))
}

// hears waits for a message on a topic with a part in it.
func (a *appliance) hears(topic, part string) {
	a.t.Helper()
	if !until(20*time.Second, func() bool { return a.count(topic, part) > 0 }) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.t.Fatalf("no %s with %s; heard: %q", topic, part, a.heard)
	}
}

func (a *appliance) count(topic, part string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.heard {
		if strings.HasPrefix(h, topic+" ") && strings.Contains(h, part) {
			n++
		}
	}
	return n
}

// linked waits until the gateway's links to the cloud are up, or down.
func (g *gateway) linked(up bool) {
	g.tb.Helper()
	if !until(30*time.Second, func() bool {
		_, status, err := g.get("/api/v1/status")
		down := strings.Contains(status, "uplink-down-cloud") || strings.Contains(status, "downlink-down-cloud") || !strings.Contains(status, `"up"`)
		return err == nil && down != up
	}) {
		_, status, _ := g.get("/api/v1/status")
		g.tb.Fatalf("the link does not become up=%v: %s", up, status)
	}
}

// TestServices: a device uses its shadow and its jobs through the gateway (B107,
// B212). Nobody else hears the answers. While the cloud is away its requests are
// refused, and never carried out later.
func TestServices(t *testing.T) {
	t.Parallel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	cloud := serve(t, broker.Addr)
	g, ca, certs := servicesGateway(t, "mqtt://"+proxy.Addr, "reject")
	const shadow, jobs, create = "$aws/things/pump/shadow/", "$aws/things/pump/jobs/get", "$aws/certificates/create/json"
	pump := newAppliance(t, g, ca, "pump", certs["pump"], shadow+"update/accepted", shadow+"get/+", shadow+"update/delta")
	press := newAppliance(t, g, ca, "press", certs["press"], "$aws/things/+/shadow/+/accepted", "$aws/things/+/jobs/#", "$aws/certificates/#")
	g.linked(true)

	pump.ask(shadow+"update", `{"state":{"reported":{"t":21}},"clientToken":"one"}`)
	pump.hears(shadow+"update/accepted", `"clientToken":"one"`)
	pump.ask(shadow+"get", "")
	pump.hears(shadow+"get/accepted", `"reported":{"t":21}`)
	pump.ask(jobs, `{"clientToken":"two"}`)
	pump.hears(jobs+"/accepted", `"clientToken":"two"`)
	pump.ask(create, "{}")
	pump.hears(create+"/accepted", `"privateKey":"secret"`)
	cloud.answer(shadow+"update", []byte(`{"state":{"desired":{"t":22}}}`)) // somebody in the cloud
	pump.hears(shadow+"update/delta", `"t":22`)

	proxy.Cut()
	g.linked(false)
	pump.ask(shadow+"get", `{"clientToken":"three"}`)
	pump.hears(shadow+"get/rejected", `"code":503`)
	pump.ask(jobs, `{"clientToken":"four"}`)
	pump.hears(jobs+"/rejected", `"code":"InternalError"`)
	proxy.Restore()
	g.linked(true)
	pump.ask(shadow+"get", `{"clientToken":"five"}`)
	pump.hears(shadow+"get/accepted", `"clientToken":"five"`)

	// The link is up but nothing passes: the device is told when the time is over.
	proxy.BlackHole()
	pump.ask(jobs, `{"clientToken":"six"}`)
	pump.hears(jobs+"/rejected", `"clientToken":"six"`)
	proxy.Restore()
	g.linked(true)
	pump.ask(jobs, `{"clientToken":"seven"}`)
	pump.hears(jobs+"/accepted", `"clientToken":"seven"`)

	for _, token := range []string{"three", "four"} {
		if got := cloud.requests(token); len(got) > 0 {
			t.Errorf("a refused request was carried out: %q", got)
		}
	}
	for _, topic := range []string{shadow + "update/accepted", shadow + "get/accepted", jobs + "/accepted", jobs + "/rejected", create + "/accepted"} {
		if n := press.count(topic, ""); n > 0 {
			t.Errorf("another device heard %d of %s", n, topic)
		}
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestServicesQueue: with offline: queue what a device reports while the cloud
// is away is there when it comes back, in order and across a kill of the
// gateway; what it desires is not.
func TestServicesQueue(t *testing.T) {
	t.Parallel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	cloud := serve(t, broker.Addr)
	g, ca, certs := servicesGateway(t, "mqtt://"+proxy.Addr, "queue")
	const update = "$aws/things/pump/shadow/update"
	g.linked(true)
	proxy.Cut()
	g.linked(false)
	pump := newAppliance(t, g, ca, "pump", certs["pump"], update+"/rejected")
	for i := range 3 {
		pump.ask(update, fmt.Sprintf(`{"state":{"reported":{"n":%d}}}`, i))
	}
	pump.ask(update, `{"state":{"desired":{"open":true}},"clientToken":"late"}`)
	pump.hears(update+"/rejected", `"clientToken":"late"`)
	g.kill()
	g.start()
	proxy.Restore()
	if !until(30*time.Second, func() bool { return len(cloud.requests("reported")) >= 3 }) {
		t.Fatalf("the cloud heard %q", cloud.requests(""))
	}
	for i, r := range cloud.requests("reported") {
		if !strings.Contains(r, fmt.Sprintf(`"n":%d`, i)) {
			t.Errorf("report %d is %s", i, r)
		}
	}
	if got := cloud.requests("desired"); len(got) > 0 {
		t.Errorf("a refused update was carried out: %q", got)
	}
	// The link works in both directions again.
	again := newAppliance(t, g, ca, "pump", certs["pump"], update+"/accepted")
	g.linked(true)
	again.ask(update, `{"state":{"desired":{"open":true}},"clientToken":"now"}`)
	again.hears(update+"/accepted", `"clientToken":"now"`)
}

// TestBasicIngestAndPresence: a publish to a rule reaches the cloud under its
// own topic and nobody on the site (B106); a lifecycle event reaches both, the
// cloud under the route's topic (B192, B193).
func TestBasicIngestAndPresence(t *testing.T) {
	t.Parallel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	consumer := &appliance{t: t}
	consumer.Client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker.Addr).SetClientID("consumer").SetAutoReconnect(false).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			consumer.mu.Lock()
			defer consumer.mu.Unlock()
			consumer.heard = append(consumer.heard, m.Topic()+" "+string(m.Payload()))
		}))
	must(t, "consumer: connect", consumer.Connect())
	t.Cleanup(func() { consumer.Disconnect(100) })
	must(t, "consumer: subscribe", consumer.SubscribeMultiple(map[string]byte{"$aws/rules/#": 1, "site1/#": 1}, nil))
	g, ca, certs := servicesGateway(t, "mqtt://"+broker.Addr, "reject")
	g.linked(true)
	press := newAppliance(t, g, ca, "press", certs["press"], "$aws/events/presence/+/pump", "#")
	pump := newAppliance(t, g, ca, "pump", certs["pump"])
	pump.ask("$aws/rules/store/dt/pump", `{"t":21}`)
	consumer.hears("$aws/rules/store/dt/pump", `{"t":21}`)
	pump.Disconnect(100)
	press.hears("$aws/events/presence/connected/pump", `"principalIdentifier":"`+certs["pump"].Fingerprint+`"`)
	press.hears("$aws/events/presence/disconnected/pump", "CLIENT_INITIATED_DISCONNECT")
	consumer.hears("site1/connected/pump", `"eventType":"connected"`)
	consumer.hears("site1/disconnected/pump", `"clientInitiatedDisconnect":true`)
	if n := press.count("$aws/rules/store/dt/pump", ""); n > 0 {
		t.Error("somebody on the site saw a Basic Ingest message")
	}
}
