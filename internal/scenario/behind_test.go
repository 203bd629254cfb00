package scenario

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// waits is what a gateway's spool says of one message.
type waits struct {
	ID, Device, Thing, Topic string
}

// waitingIn lists what waits in a gateway, in its order.
func waitingIn(t *testing.T, g *gateway) (out []waits) {
	t.Helper()
	code, text, errs := cli(t, g.dir, g.command("spool", "ls", "up/cloud/telemetry", "--limit", "0", "--json")...)
	if code != exitOK {
		t.Fatalf("spool ls: exit %d: %s", code, errs)
	}
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var line struct{ Record *waits }
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.Record != nil {
			out = append(out, *line.Record)
		}
	}
	return out
}

// dmz makes a gateway that others stand behind, and one that does, with a certificate
// of its authority: two processes, and the link between them is mutual TLS. The far
// one's cloud is away, so that its spool shows what it has taken. registry is its things,
// to which others may be added.
func dmz(t *testing.T) (near, far *policyGateway, registry string) {
	t.Helper()
	far = newPolicyGateway(t, "mqtt://"+peers.FreeAddr(t))
	_, port, err := net.SplitHostPort(far.Listen)
	if err != nil {
		t.Fatal(err)
	}
	near = newPolicyGateway(t, "mqtts://localhost:"+port)
	link := far.ca.Client("plant7", peers.Validity{})
	near.Set = []string{"gateway.id=plant7", "upstreams.cloud.tls.ca=" + far.ca.File, "upstreams.cloud.tls.cert=" + link.CertFile, "upstreams.cloud.tls.key=" + link.KeyFile}
	far.Set = []string{"gateway.id=dmz", "gateway.behind=[" + link.Fingerprint + "]"}
	far.policy("gateway", statement("Allow", "iot:Connect", "client/*"), statement("Allow", "iot:Publish", "topic/dt/*"))
	far.policy("device", statement("Allow", "iot:Connect", "client/${iot:Connection.Thing.ThingName}"), statement("Allow", "iot:Publish", "topic/dt/*"))
	return near, far, fmt.Sprintf("things:\n  plant7: {certificates: [%s], policies: [gateway]}\n", link.Fingerprint)
}

func (g *policyGateway) device(t *testing.T, name string, cert *peers.Cert) *lan5 {
	t.Helper()
	d := newLAN(t, g, 5, lanOptions{id: name, cert: cert}).(*lan5)
	if got := d.connect(t.Context()); !strings.HasPrefix(got, "CONNACK 0x0") {
		t.Fatalf("%s: %s", name, got)
	}
	return d
}

// TestIdentityThroughTwoGateways follows devices through a gateway behind another.
// What each may publish is decided where it is known, by its certificate; the far
// gateway knows each message by its device, thing and id, in the device's order. A
// device of the far one that says it is somebody else's gets nothing by it, and a
// gateway whose certificate is not registered is not let in.
func TestIdentityThroughTwoGateways(t *testing.T) {
	t.Parallel()
	near, far, registry := dmz(t)
	near.policy("device", statement("Allow", "iot:Connect", "client/${iot:Connection.Thing.ThingName}"),
		statement("Allow", "iot:Publish", "topic/dt/${iot:Connection.Thing.ThingName}"))
	things, certs := "things:\n", map[string]*peers.Cert{}
	for _, name := range []string{"press-1", "press-2"} {
		certs[name] = near.ca.Client(name, peers.Validity{})
		things += fmt.Sprintf("  %s: {certificates: [%s], policies: [device]}\n", name, certs[name].Fingerprint)
	}
	near.write("things.yaml", things)
	near.start()
	for _, name := range []string{"press-1", "press-2"} {
		d := near.device(t, name, certs[name])
		for n := range 5 {
			if got := d.publish(t.Context(), "dt/"+name, 1, false, fmt.Sprint(n)); !strings.HasPrefix(got, "PUBACK 0x0") {
				t.Fatalf("%s %d: %s", name, n, got)
			}
		}
		if got := d.publish(t.Context(), "dt/press-3", 1, false, "forged"); got != "PUBACK 0x87" {
			t.Errorf("%s on another's topic: %s", name, got)
		}
		d.cut()
	}
	sent := waitingIn(t, near.gateway)
	if len(sent) != 10 {
		t.Fatalf("%d messages wait in the near gateway", len(sent))
	}

	forger, stranger := far.ca.Client("forger", peers.Validity{}), far.ca.Client("stranger", peers.Validity{})
	far.write("things.yaml", registry+fmt.Sprintf("  forger: {certificates: [%s], policies: [device]}\n", forger.Fingerprint))
	far.start()
	if !until(30*time.Second, func() bool { return len(waitingIn(t, far.gateway)) == len(sent) }) {
		t.Fatalf("%d of %d messages are with the far gateway", len(waitingIn(t, far.gateway)), len(sent))
	}
	got := waitingIn(t, far.gateway)
	for _, name := range []string{"press-1", "press-2"} {
		of := func(all []waits) []waits {
			return slices.DeleteFunc(slices.Clone(all), func(x waits) bool { return x.Device != name || x.Thing != name })
		}
		if a, b := of(sent), of(got); len(a) != 5 || !slices.Equal(a, b) {
			t.Errorf("%s: the near gateway sent %v, the far one has %v", name, a, b)
		}
	}

	d := far.device(t, "forger", forger)
	defer d.cut()
	p := &paho.Publish{Topic: "dt/press-1", QoS: 1, Payload: []byte("forged"), Properties: &paho.PublishProperties{}}
	for k, v := range map[string]string{"ebb-device": "press-1", "ebb-thing": "press-1", "ebb-id": sent[0].ID, "ebb-accepted": "2026-03-01T12:00:00.000000001Z", "ebb-clock": "synchronised", "ebb-hops": "1"} {
		p.Properties.User.Add(k, v)
	}
	if answer := d.send(t.Context(), p); !strings.HasPrefix(answer, "PUBACK 0x0") {
		t.Fatalf("the forger: %s", answer)
	}
	last := waitingIn(t, far.gateway)
	if x := last[len(last)-1]; len(last) != len(sent)+1 || x.Device != "forger" || x.Thing != "forger" || x.ID == sent[0].ID {
		t.Errorf("the forged message is taken for %+v", x)
	}
	other := newLAN(t, far, 5, lanOptions{id: "plant7", cert: stranger})
	if answer := other.connect(t.Context()); strings.HasPrefix(answer, "CONNACK 0x0") {
		t.Errorf("a gateway that nobody knows is let in: %s", answer)
	}
	other.cut()
	for _, g := range []*policyGateway{near, far} {
		if code := g.stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}
