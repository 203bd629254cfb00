package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// policyConfig is a gateway whose devices come with certificates.
var policyConfig = template.Must(template.New("policy").Parse(`gateway:
  id: site-1
spool:
  dir: {{.Data}}
policy:
  things: things.yaml
  policies: policies
  log_sample: 1
  {{- range .Policy}}
  {{.}}
  {{- end}}
listeners:
  - name: lan
    type: tls
    address: {{.Listen}}
    profile: aws-edge
    auth: certificate
    tls: {cert: {{.Cert}}, key: {{.Key}}}
    limits: {connections: 20000, connect_timeout: 2m}
routes:
  up:
    - {name: telemetry, from: "#", upstream: cloud, topic: "${topic}"}
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

// policyGateway is a gateway of devices with certificates, and their authority.
type policyGateway struct {
	*gateway
	ca *peers.Authority
}

// newPolicyGateway writes one whose policies the test writes. extra are lines of
// the policy section.
func newPolicyGateway(t testing.TB, endpoint string, extra ...string) *policyGateway {
	t.Helper()
	g := &policyGateway{gateway: newGateway(t, site{Endpoint: endpoint}), ca: peers.CA(t)}
	server := g.ca.Server("gateway")
	g.Cert, g.Key = server.CertFile, server.KeyFile
	var text strings.Builder
	if err := policyConfig.Execute(&text, struct {
		site
		Policy []string
	}{g.site, extra}); err != nil {
		t.Fatal(err)
	}
	g.write("ebbgate.yaml", text.String())
	if err := os.Remove(g.dir + "/policies/fleet.json"); err != nil {
		t.Fatal(err)
	}
	return g
}

// policy writes a document with these statements.
func (g *policyGateway) policy(name string, statements ...string) {
	g.tb.Helper()
	g.write("policies/"+name+".json", `{"Version": "2012-10-17", "Statement": [`+"\n  "+strings.Join(statements, ",\n  ")+"\n]}\n")
}

// statement is one of a document; resources are what stands behind the account.
func statement(effect, action string, resources ...string) string {
	var list []string
	for _, r := range resources {
		list = append(list, `"arn:aws:iot:eu-central-1:123456789012:`+r+`"`)
	}
	return fmt.Sprintf(`{"Effect": %q, "Action": %q, "Resource": [%s]}`, effect, action, strings.Join(list, ", "))
}

// reload tells the gateway to read its files again.
func (g *policyGateway) reload() { g.signal(syscall.SIGHUP) }

// lanOptions are what a device connects with.
type lanOptions struct {
	id         string
	cert       *peers.Cert
	will       string // topic; empty: none
	willRetain bool
	persistent bool
}

// lan is a device: MQTT 3.1.1 or 5, over TLS with a certificate. Answers are
// words, the same for all: "PUBACK 0x87", "DISCONNECT 0x87", "closed".
type lan interface {
	// connect returns "CONNACK" and its code.
	connect(ctx context.Context) string
	// publish returns the answer, or how the connection ended. QoS 0 that is
	// not refused has the answer of a PINGREQ that follows it: "taken".
	publish(ctx context.Context, topic string, qos byte, retain bool, payload string) string
	// subscribe returns "SUBACK" and its code, or how the connection ended.
	subscribe(ctx context.Context, filter string) string
	// gone returns how the connection ended, once it has.
	gone(ctx context.Context) string
	// got waits for the next message: its topic.
	got(ctx context.Context) string
	cut()
}

func newLAN(t testing.TB, g *policyGateway, version int, o lanOptions) lan {
	t.Helper()
	cfg := &tls.Config{RootCAs: g.ca.Pool, ServerName: "localhost"}
	if o.cert != nil {
		cfg.Certificates = []tls.Certificate{o.cert.TLS}
	}
	conn, err := tls.Dial("tcp", g.Listen, cfg)
	if err != nil {
		t.Fatal(err)
	}
	x := &ending{over: make(chan struct{}), messages: make(chan string, 100)}
	if version == 5 {
		d := &lan5{ending: x, o: o, conn: conn}
		t.Cleanup(d.cut)
		return d
	}
	d := &lan3{ending: x, o: o, conn: conn}
	t.Cleanup(d.cut)
	return d
}

// ending is how a connection ended, and what it received.
type ending struct {
	once     sync.Once
	how      string
	over     chan struct{}
	messages chan string
}

func (x *ending) end(how string) {
	x.once.Do(func() {
		x.how = how
		close(x.over)
	})
}

func (x *ending) gone(ctx context.Context) string {
	select {
	case <-x.over:
		return x.how
	case <-ctx.Done():
		return "nothing"
	}
}

func (x *ending) got(ctx context.Context) string {
	select {
	case topic := <-x.messages:
		return topic
	case <-x.over:
		return x.how
	case <-ctx.Done():
		return "nothing"
	}
}

// lan3 is a device of MQTT 3.1.1, by paho.mqtt.golang.
type lan3 struct {
	*ending
	o      lanOptions
	conn   net.Conn
	client mqtt.Client
}

func (d *lan3) connect(ctx context.Context) string {
	o := mqtt.NewClientOptions().AddBroker("tcp://gateway").SetClientID(d.o.id).SetProtocolVersion(4).
		SetCleanSession(!d.o.persistent).SetAutoReconnect(false).SetKeepAlive(10 * time.Minute).
		SetCustomOpenConnectionFn(func(_ *url.URL, _ mqtt.ClientOptions) (net.Conn, error) { return d.conn, nil }).
		SetConnectionLostHandler(func(mqtt.Client, error) { d.end("closed") }).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { d.messages <- m.Topic() })
	if d.o.will != "" {
		o.SetWill(d.o.will, "gone", 1, d.o.willRetain)
	}
	d.client = mqtt.NewClient(o)
	tok := d.client.Connect().(*mqtt.ConnectToken)
	select {
	case <-tok.Done():
		if tok.ReturnCode() == 0 && tok.Error() != nil {
			return "closed"
		}
		return fmt.Sprintf("CONNACK %d", tok.ReturnCode())
	case <-ctx.Done():
		return "nothing"
	}
}

func (d *lan3) publish(ctx context.Context, topic string, qos byte, retain bool, payload string) string {
	tok := d.client.Publish(topic, qos, retain, payload)
	if qos == 0 {
		return d.alive(ctx)
	}
	select {
	case <-tok.Done():
		if tok.Error() != nil {
			return d.gone(ctx)
		}
		return "PUBACK"
	case <-d.over:
		return d.how
	case <-ctx.Done():
		return "nothing"
	}
}

// alive subscribes to what nobody publishes: the answer shows that what went
// before has been taken.
func (d *lan3) alive(ctx context.Context) string {
	if got := d.subscribe(ctx, "alive/"+d.o.id); strings.HasPrefix(got, "SUBACK") {
		return "taken"
	}
	return d.gone(ctx)
}

func (d *lan3) subscribe(ctx context.Context, filter string) string {
	tok := d.client.Subscribe(filter, 1, nil).(*mqtt.SubscribeToken)
	select {
	case <-tok.Done():
		for _, code := range tok.Result() { // paho leaves $share/g/ out of the keys
			return fmt.Sprintf("SUBACK %#02x", code)
		}
		return d.gone(ctx)
	case <-d.over:
		return d.how
	case <-ctx.Done():
		return "nothing"
	}
}

func (d *lan3) cut() {
	_ = d.conn.Close()
	if d.client != nil {
		d.client.Disconnect(0)
	}
}

// lan5 is a device of MQTT 5, by paho.golang.
type lan5 struct {
	*ending
	o      lanOptions
	conn   net.Conn
	client *paho.Client
	joined bool
}

func (d *lan5) connect(ctx context.Context) string {
	d.client = paho.NewClient(paho.ClientConfig{
		ClientID: d.o.id, Conn: packets.NewThreadSafeConn(d.conn), PacketTimeout: time.Minute,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(m paho.PublishReceived) (bool, error) {
			d.messages <- m.Packet.Topic
			return true, nil
		}},
		OnServerDisconnect: func(x *paho.Disconnect) {
			how := fmt.Sprintf("DISCONNECT %#02x", x.ReasonCode)
			if x.Properties != nil && strings.HasPrefix(x.Properties.ReasonString, "policy changed") {
				how += " " + x.Properties.ReasonString
			}
			d.end(how)
		},
		OnClientError: func(error) { d.end("closed") },
	})
	cp := &paho.Connect{ClientID: d.o.id, KeepAlive: 600, CleanStart: !d.o.persistent}
	if d.o.persistent {
		expiry := uint32(600)
		cp.Properties = &paho.ConnectProperties{SessionExpiryInterval: &expiry}
	}
	if d.o.will != "" {
		cp.WillMessage = &paho.WillMessage{Topic: d.o.will, QoS: 1, Retain: d.o.willRetain, Payload: []byte("gone")}
	}
	ack, err := d.client.Connect(ctx, cp)
	switch {
	case ack != nil:
		d.joined = err == nil
		return fmt.Sprintf("CONNACK %#02x", ack.ReasonCode)
	case errors.Is(err, io.EOF):
		return "closed"
	}
	return fmt.Sprint(err)
}

func (d *lan5) publish(ctx context.Context, topic string, qos byte, retain bool, payload string) string {
	return d.send(ctx, &paho.Publish{Topic: topic, QoS: qos, Retain: retain, Payload: []byte(payload)})
}

// while is ctx until the connection ends: paho would wait for an answer that
// cannot come.
func (x *ending) while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-x.over:
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, cancel
}

func (d *lan5) send(ctx context.Context, p *paho.Publish) string {
	asking, done := d.while(ctx)
	defer done()
	ack, err := d.client.Publish(asking, p)
	switch {
	case ack != nil && p.QoS > 0:
		return fmt.Sprintf("PUBACK %#02x", ack.ReasonCode)
	case err != nil:
		return d.gone(ctx)
	}
	return d.alive(ctx)
}

func (d *lan5) alive(ctx context.Context) string {
	if got := d.subscribe(ctx, "alive/"+d.o.id); strings.HasPrefix(got, "SUBACK") {
		return "taken"
	}
	return d.gone(ctx)
}

func (d *lan5) subscribe(ctx context.Context, filter string) string {
	asking, done := d.while(ctx)
	defer done()
	ack, err := d.client.Subscribe(asking, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	if ack != nil && len(ack.Reasons) == 1 {
		return fmt.Sprintf("SUBACK %#02x", ack.Reasons[0])
	}
	if err == nil {
		return "SUBACK without an answer"
	}
	return d.gone(ctx)
}

func (d *lan5) cut() {
	_ = d.conn.Close()
	if d.joined {
		<-d.client.Done()
	}
}
