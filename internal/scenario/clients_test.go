package scenario

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// clientsGateway is a gateway that takes its devices' certificates, with one
// device, its certificate, and an observer who may do everything.
func clientsGateway(t *testing.T) (g *policyGateway, device *peers.Cert, observer lan) {
	g = newPolicyGateway(t, "mqtt://127.0.0.1:1") // the cloud is away all the time
	const thing = "${iot:Connection.Thing.ThingName}"
	g.policy("device",
		statement("Allow", "iot:Connect", "client/"+thing),
		statement("Allow", "iot:Publish", "topic/talk/"+thing+"/*"),
		statement("Allow", "iot:Receive", "topic/talk/"+thing+"/*"),
		statement("Allow", "iot:Subscribe", "topicfilter/talk/"+thing+"/*"),
	)
	g.policy("observer", `{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}`)
	device, other := g.ca.Client("dev", peers.Validity{}), g.ca.Client("observer", peers.Validity{})
	g.write("things.yaml", fmt.Sprintf("things:\n  dev: {certificates: [%s], policies: [device]}\n  observer: {certificates: [%s], policies: [observer]}\n",
		device.Fingerprint, other.Fingerprint))
	g.start()
	observer = newLAN(t, g, 5, lanOptions{id: "observer", cert: other})
	if got := observer.connect(t.Context()); got != "CONNACK 0x0" && got != "CONNACK 0x00" {
		t.Fatal(got)
	}
	return g, device, observer
}

// tell publishes n messages for the device while it is away.
func tell(t *testing.T, observer lan, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range n {
		if got := observer.publish(ctx, "talk/dev/t", 1, false, fmt.Sprintf("q%d", i)); !strings.HasPrefix(got, "PUBACK") {
			t.Fatalf("message %d: %s", i, got)
		}
	}
}

// TestClientsForJavaScript: MQTT.js and AWS's own SDK, the client that devices of
// AWS IoT Core use, meet the broker that they expect: certificates, properties
// in both directions, a refusal with its code (B85), a session that is kept with
// what waits in it (B51, B54, B63).
func TestClientsForJavaScript(t *testing.T) {
	t.Parallel()
	const messages, queued = 50, 5
	for _, c := range []struct {
		program string
		version int
	}{{"mqttjs", 5}, {"mqttjs", 3}, {"awssdk5", 5}, {"awssdk3", 3}} {
		t.Run(fmt.Sprintf("%s MQTT %d", c.program, c.version), func(t *testing.T) {
			t.Parallel()
			g, device, observer := clientsGateway(t)
			_, port, _ := net.SplitHostPort(g.Listen)
			o := peers.NodeOptions{
				Version: c.version, URL: "mqtts://localhost:" + port, Host: "localhost",
				CA: g.ca.File, Cert: device.CertFile, Key: device.KeyFile,
				Client: "dev", Topic: "talk/dev", QoS: 1, Messages: messages, Queued: queued,
			}
			o.Port, _ = strconv.Atoi(port)
			if c.version == 5 {
				o.Denied = "talk/somebody-else"
			}
			n := peers.Node(t, c.program, o)
			if n.Step("connected").Present {
				t.Error("a session was there before the first one")
			}
			if got := n.Step("subscribed").Granted; !slices.Equal(got, []int{1}) {
				t.Errorf("granted %v", got)
			}
			exchanged(t, n.Step("received").Messages, "m", messages, c.version == 5)
			if c.version == 5 {
				if s := n.Step("denied"); s.Code != 0x87 {
					t.Errorf("a denied publish got %#x %s", s.Code, s.Text)
				}
			}
			if kept := n.Step("connected").Present; kept != (c.version == 5) { // whose first session does not end at once
				t.Errorf("Session Present is %v", kept)
			}
			n.Step("away")
			tell(t, observer, queued)
			n.Proceed()
			if !n.Step("connected").Present {
				t.Error("the session was not kept")
			}
			exchanged(t, n.Step("resumed").Messages, "q", queued, false)
			n.End()
		})
	}
}

// exchanged compares what a client got with what was sent.
func exchanged(t *testing.T, got []peers.NodeMessage, prefix string, n int, properties bool) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("%d messages, want %d: %v", len(got), n, got)
	}
	for i, m := range got {
		if m.Topic != "talk/dev/t" || m.Text != prefix+strconv.Itoa(i) || m.QoS != 1 {
			t.Fatalf("message %d is %+v", i, m)
		}
		if properties && (m.ContentType != "text/plain" || m.ResponseTopic != "talk/dev/answers" || m.Correlation != "c-1" || len(m.User) != 1) {
			t.Fatalf("properties of message %d: %+v", i, m) // B100
		}
	}
}

// TestClientsOfMosquitto: mosquitto_sub and mosquitto_pub with certificates, in
// both versions, with a session that waits.
func TestClientsOfMosquitto(t *testing.T) {
	t.Parallel()
	sub, pub := peers.Need(t, "mosquitto_sub"), peers.Need(t, "mosquitto_pub")
	for _, version := range []string{"mqttv5", "mqttv311"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			g, device, observer := clientsGateway(t)
			_, port, _ := net.SplitHostPort(g.Listen)
			args := []string{"-V", version, "-h", "localhost", "-p", port, "--cafile", g.ca.File, "--cert", device.CertFile, "--key", device.KeyFile, "-q", "1", "-t", "talk/dev/t", "-i", "dev"}
			session := []string{"-c"}
			if version == "mqttv5" {
				session = append(session, "-x", "300")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			run := func(program string, more ...string) string {
				t.Helper()
				out, err := exec.CommandContext(ctx, program, append(slices.Clone(args), more...)...).CombinedOutput()
				if err != nil {
					t.Fatalf("%s %v: %v\n%s", program, more, err, out)
				}
				return string(out)
			}
			run(sub, append(session, "-E")...) // subscribe and go
			tell(t, observer, 5)
			if got := run(sub, append(session, "-C", "5")...); got != "q0\nq1\nq2\nq3\nq4\n" {
				t.Errorf("what waited: %q", got)
			}
			run(sub, "-E") // and the session is over

			if got := observer.subscribe(ctx, "talk/dev/+"); !strings.HasPrefix(got, "SUBACK") {
				t.Fatal(got)
			}
			run(pub, "-m", "words")
			run(pub, "-m", "last words")
			for range 2 {
				if got := observer.got(ctx); got != "talk/dev/t" {
					t.Errorf("the observer got %q", got)
				}
			}
		})
	}
}
