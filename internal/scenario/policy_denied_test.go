package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// topics are what has arrived somewhere.
type topics struct {
	mu  sync.Mutex
	got map[string]int
}

func (x *topics) add(topic string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.got == nil {
		x.got = map[string]int{}
	}
	x.got[topic]++
}

func (x *topics) count(topic string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.got[topic]
}

// list is what arrived below a prefix, each as often as it did.
func (x *topics) list(prefix string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for _, topic := range slices.Sorted(maps.Keys(x.got)) {
		for range x.got[topic] {
			if strings.HasPrefix(topic, prefix) {
				out = append(out, topic)
			}
		}
	}
	return out
}

// observe collects what a broker delivers to one that may see everything.
func observe(t *testing.T, addr string, tlsOf *lan3) *topics {
	t.Helper()
	x := &topics{}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("observer").SetAutoReconnect(false)
	if tlsOf != nil {
		o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return tlsOf.conn, nil })
	}
	c := mqtt.NewClient(o)
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("observer: %v", tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	if tok := c.Subscribe("#", 1, func(_ mqtt.Client, m mqtt.Message) { x.add(m.Topic()) }); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("observer: %v", tok.Error())
	}
	return x
}

// devicePolicies are those of the test's devices: each may speak below its own
// name, keep one state, hear one command.
func (g *policyGateway) devicePolicies() {
	const thing = "${iot:Connection.Thing.ThingName}"
	g.policy("device",
		statement("Allow", "iot:Connect", "client/"+thing),
		statement("Allow", "iot:Publish", "topic/dt/"+thing+"/*", "topic/$aws/things/"+thing+"/*"),
		statement("Allow", "iot:RetainPublish", "topic/dt/"+thing+"/state", "topic/$aws/things/"+thing+"/*"),
		statement("Allow", "iot:Subscribe", "topicfilter/cmd/"+thing+"/*", "topicfilter/alive/*"),
		statement("Allow", "iot:Receive", "topic/cmd/"+thing+"/ok"),
		statement("Deny", "iot:Publish", "topic/dt/*/secret"),
	)
	g.policy("observer", `{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}`)
}

// denial is one thing that a device may not do, and what it sees (policy §4).
type denial struct {
	name   string
	do     func(ctx context.Context, d lan) string
	v5, v3 string
	ends   bool // the connection of 3.1.1
	ends5  bool
	metric string
}

var denials = []denial{
	{"publish, implicitly (B85, B86)", func(ctx context.Context, d lan) string { return d.publish(ctx, "denied/q1", 1, false, "x") },
		"PUBACK 0x87", "closed", true, false, "PublishIn.AuthError"},
	{"publish, by a Deny", func(ctx context.Context, d lan) string { return d.publish(ctx, "dt/dev/secret", 1, false, "x") },
		"PUBACK 0x87", "closed", true, false, "PublishIn.AuthError"},
	{"publish at QoS 0", func(ctx context.Context, d lan) string { return d.publish(ctx, "denied/q0", 0, false, "x") },
		"DISCONNECT 0x87", "closed", true, true, "PublishIn.AuthError"},
	{"retain where only publish is allowed (B211)", func(ctx context.Context, d lan) string { return d.publish(ctx, "dt/dev/kept", 1, true, "x") },
		"PUBACK 0x87", "closed", true, false, "PublishRetained.AuthError"},
	{"delete what is retained", func(ctx context.Context, d lan) string { return d.publish(ctx, "dt/dev/kept", 1, true, "") },
		"PUBACK 0x87", "closed", true, false, "PublishRetained.AuthError"},
	{"retain to a $ topic, whatever the policy says (B83)", func(ctx context.Context, d lan) string { return d.publish(ctx, "$aws/things/dev/x", 1, true, "x") },
		"PUBACK 0x90", "closed", true, false, ""},
	{"subscribe (B129, B130)", func(ctx context.Context, d lan) string { return d.subscribe(ctx, "dt/#") },
		"SUBACK 0x87", "SUBACK 0x80", false, false, "Subscribe.AuthError"},
	{"subscribe through $share", func(ctx context.Context, d lan) string { return d.subscribe(ctx, "$share/g/cmd/dev/ok") },
		"SUBACK 0x87", "SUBACK 0x80", false, false, "Subscribe.AuthError"},
}

// TestPolicyDenials: over real connections with certificates, a denial of each
// kind shows the reason code or the close of policy §4; a denied message reaches
// nobody, is not retained, spooled nor metered; and the log says why.
func TestPolicyDenials(t *testing.T) {
	t.Parallel()
	for _, version := range []int{5, 3} {
		t.Run(fmt.Sprintf("MQTT %d", version), func(t *testing.T) { testPolicyDenials(t, version) })
	}
}

func testPolicyDenials(t *testing.T, version int) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	cloud := observe(t, broker.Addr, nil)
	g := newPolicyGateway(t, "mqtt://"+broker.Addr)
	g.devicePolicies()
	dev, observer, stranger := g.ca.Client("dev", peers.Validity{}), g.ca.Client("observer", peers.Validity{}), g.ca.Client("stranger", peers.Validity{})
	inactive := g.ca.Client("inactive", peers.Validity{})
	g.write("things.yaml", fmt.Sprintf(`things:
  dev: {certificates: [%s], policies: [device]}
  observer: {certificates: [%s], policies: [observer]}
  inactive: {certificates: [%s], policies: [device]}
certificates:
  %[3]s: {status: INACTIVE}
`, dev.Fingerprint, observer.Fingerprint, inactive.Fingerprint))
	g.start()

	lanSide := observe(t, "gateway", newLAN(t, g, 3, lanOptions{id: "observer", cert: observer}).(*lan3))
	refused := map[int]string{5: "CONNACK 0x87", 3: "CONNACK 5"}[version]
	for name, o := range map[string]lanOptions{
		"another client id":                 {id: "intruder", cert: dev},
		"a will that may not be published":  {id: "dev", cert: dev, will: "denied/will"},
		"a will that may not be retained":   {id: "dev", cert: dev, will: "dt/dev/will", willRetain: true},
		"a certificate of nobody":           {id: "dev", cert: stranger},
		"a certificate that is not active ": {id: "inactive", cert: inactive},
	} {
		if got := newLAN(t, g, version, o).connect(ctx); got != refused {
			t.Errorf("CONNECT, %s: %s, want %s", name, got, refused)
		}
	}

	// Somebody has left a state that the device may not delete.
	keeper := newLAN(t, g, 5, lanOptions{id: "keeper", cert: observer})
	if got := keeper.connect(ctx); got != "CONNACK 0x00" {
		t.Fatal(got)
	}
	if got := keeper.publish(ctx, "dt/dev/kept", 1, true, "state"); got != "PUBACK 0x00" {
		t.Fatal(got)
	}
	joined := func(o lanOptions) lan {
		t.Helper()
		o.id, o.cert = "dev", dev
		d := newLAN(t, g, version, o)
		if got := d.connect(ctx); !strings.HasSuffix(strings.TrimSuffix(got, "0x00"), "CONNACK ") && got != "CONNACK 0" {
			t.Fatalf("let in: %s", got)
		}
		return d
	}
	d := joined(lanOptions{})
	counted := map[string]int64{"Connect.AuthError": 5}
	for _, x := range denials {
		want, ends := x.v5, x.ends5
		if version == 3 {
			want, ends = x.v3, x.ends
		}
		if got := x.do(ctx, d); got != want {
			t.Errorf("%s: %s, want %s", x.name, got, want)
		}
		if x.metric != "" {
			counted[x.metric]++
		}
		if ends {
			d = joined(lanOptions{})
		}
	}
	if five, ok := d.(*lan5); ok { // an alias is resolved before the policy is asked
		alias := uint16(1)
		for _, topic := range []string{"denied/alias", ""} {
			p := &paho.Publish{Topic: topic, QoS: 1, Payload: []byte("x"), Properties: &paho.PublishProperties{TopicAlias: &alias}}
			if got := five.send(ctx, p); got != "PUBACK 0x87" {
				t.Errorf("alias: %s", got)
			}
			counted["PublishIn.AuthError"]++
		}
	}
	// iot:Receive: what may not be received is withheld, and nothing is said.
	if got := d.subscribe(ctx, "cmd/dev/#"); !strings.HasPrefix(got, "SUBACK 0x01") && got != "SUBACK 0x1" {
		t.Fatalf("subscribe: %s", got)
	}
	for _, topic := range []string{"cmd/dev/not", "cmd/dev/ok"} {
		keeper.publish(ctx, topic, 1, false, "x")
	}
	counted["PublishOut.AuthError"]++
	if got := d.got(ctx); got != "cmd/dev/ok" {
		t.Errorf("received %s", got)
	}
	// A denial that disconnects fires the will (AUTH_ERROR).
	d.cut()
	d = joined(lanOptions{will: "dt/dev/will"})
	d.publish(ctx, "denied/with-will", 0, false, "x")
	d.gone(ctx)
	counted["PublishIn.AuthError"]++
	if !until(time.Minute, func() bool { return lanSide.count("dt/dev/will") == 1 }) {
		t.Error("the will was not published")
	}
	d = joined(lanOptions{})
	if got := d.publish(ctx, "dt/dev/last", 1, false, "x"); got != "PUBACK" && got != "PUBACK 0x00" {
		t.Errorf("what is allowed: %s", got)
	}

	// Who saw what: everybody that which was allowed, nobody the rest.
	want := []string{"cmd/dev/not", "cmd/dev/ok", "dt/dev/kept", "dt/dev/last", "dt/dev/will"}
	for who, x := range map[string]*topics{"the observer": lanSide, "the cloud": cloud} {
		until(time.Minute, func() bool { return x.count("dt/dev/last") == 1 && x.count("dt/dev/will") == 1 })
		if got := x.list(""); !slices.Equal(got, want) {
			t.Errorf("%s got %q, want %q", who, got, want)
		}
	}
	late := newLAN(t, g, version, lanOptions{id: "late", cert: observer})
	late.connect(ctx)
	for _, filter := range []string{"denied/q1", "dt/dev/secret", "dt/dev/kept"} {
		late.subscribe(ctx, filter)
	}
	if got := late.got(ctx); got != "dt/dev/kept" { // not deleted, and the only one retained
		t.Errorf("retained: %s", got)
	}
	g.expectRefusals(t, counted, int64(len(want)))
}

// expectRefusals compares the counters, the bill and the log with what happened.
func (g *policyGateway) expectRefusals(t *testing.T, counted map[string]int64, forwarded int64) {
	t.Helper()
	var s struct {
		Policy struct {
			AuthErrors map[string]int64 `json:"auth_errors"`
		} `json:"policy"`
		Spool struct {
			Depth int64 `json:"depth"`
		} `json:"spool"`
		Bill struct {
			Units int64 `json:"units_today"`
		} `json:"bill"`
	}
	const connects = 1 // the uplink's CONNECT is metered as well (M04)
	settled := func() bool {
		_, body, err := g.get("/api/v1/status")
		return err == nil && json.Unmarshal([]byte(body), &s) == nil && s.Spool.Depth == 0 && s.Bill.Units == forwarded+connects
	}
	if !until(time.Minute, settled) {
		t.Errorf("%d spooled, %d metered messages, want none and %d", s.Spool.Depth, s.Bill.Units, forwarded+connects)
	}
	if !maps.Equal(s.Policy.AuthErrors, counted) {
		t.Errorf("counted %v, want %v", s.Policy.AuthErrors, counted)
	}
	_, log, err := g.get("/api/v1/policy/log?denied=true")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"client_id":"intruder","principal"`, `"action":"iot:Connect"`, `"resource":"topic/denied/q1"`,
		`"resource":"topic/dt/dev/secret","outcome":"EXPLICIT_DENY","policy":"device","statement":5`,
		`"action":"iot:RetainPublish","resource":"topic/dt/dev/kept","outcome":"IMPLICIT_DENY"`,
		`"resource":"topicfilter/dt/#"`, `"action":"iot:Receive","resource":"topic/cmd/dev/not"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the decision log lacks %s", want)
		}
	}
	if strings.Contains(log, `"payload"`) || strings.Contains(log, "ALLOWED") {
		t.Error("the log of denials holds more than denials")
	}
}
