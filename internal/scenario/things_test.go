package scenario

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/tally"
)

// send publishes messages from first to last as a thing of the site, and counts
// those that are acknowledged.
func send(t *testing.T, g *gateway, thing string, first, last uint64, acked *tally.Set) {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + g.Listen).SetClientID(thing).SetUsername(thing).SetPassword("pass").SetCleanSession(true).SetAutoReconnect(false))
	if tok := c.Connect(); !tok.WaitTimeout(20*time.Second) || tok.Error() != nil {
		t.Fatalf("%s: %v", thing, tok.Error())
	}
	defer c.Disconnect(100)
	for n := first; n <= last; n++ {
		tok := c.Publish("dt/"+thing, 1, false, payload(thing, n, 50))
		if !tok.WaitTimeout(20*time.Second) || tok.Error() != nil {
			t.Fatalf("%s %d: %v", thing, n, tok.Error())
		}
		acked.Add(thing, n)
	}
}

// byPassword are the settings of a listener whose devices are users, see logIn.
var byPassword = []string{"listeners[0].auth=password", "listeners[0].users=users.yaml"}

// logIn makes things of the site users of their name, with the password "pass".
func (g *gateway) logIn(t *testing.T, things ...string) {
	t.Helper()
	registry, users, logins := "things:\n", "users:\n", ""
	for _, thing := range things {
		hash := exec.Command(binary(t), "user", "hash", thing)
		hash.Stdin = strings.NewReader("pass\n")
		line, err := hash.Output()
		if err != nil {
			t.Fatal(err)
		}
		logins += string(line)
		registry += fmt.Sprintf("  %s: {}\n", thing)
		users += fmt.Sprintf("  %s: {thing: %s, policies: [fleet]}\n", thing, thing)
	}
	g.write("things.yaml", registry+users)
	g.write("users.yaml", logins)
}

// A thing with a connection of its own is seen as itself, and keeps its order when
// it gets the connection, when the gateway is killed, and when it loses it again.
// One whose certificate is refused keeps nobody back but itself, and is told of.
func TestThingsAreConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true})
	proxy := peers.NewProxy(t, broker.TLSAddr)
	w := watch(t, broker.Addr)
	_, port, err := net.SplitHostPort(proxy.Addr)
	if err != nil {
		t.Fatal(err)
	}
	good, bad := broker.CA.Client("pump-1", peers.Validity{}), peers.CA(t).Client("pump-2", peers.Validity{})
	own := append(slices.Clone(byPassword), fmt.Sprintf(
		"upstreams.cloud.as_things.things=[{name: pump-1, cert: %s, key: %s}, {name: pump-2, cert: %s, key: %s}]", good.CertFile, good.KeyFile, bad.CertFile, bad.KeyFile))
	g := newGateway(t, site{Endpoint: "mqtts://localhost:" + port, CA: broker.CA.File, Cert: broker.ClientCert.CertFile, Key: broker.ClientCert.KeyFile, Set: byPassword})
	g.logIn(t, "pump-1", "pump-2", "pump-3")
	var acked tally.Set

	g.start() // while it is cut off, the things share the gateway's connection
	proxy.Cut()
	for _, thing := range []string{"pump-1", "pump-2", "pump-3"} {
		send(t, g, thing, 1, 100, &acked)
	}
	g.kill()
	g.Set = own // and then they do not
	g.start()
	for _, thing := range []string{"pump-1", "pump-2", "pump-3"} {
		send(t, g, thing, 101, 200, &acked)
	}
	g.kill()
	g.start()
	proxy.Restore()
	expect := func(what string, numbers map[string]int64) {
		t.Helper()
		if !until(40*time.Second, func() bool {
			got := w.arrived.Series()
			for thing, n := range numbers {
				if got[thing] != n {
					return false
				}
			}
			return true
		}) {
			t.Fatalf("%s: arrived %v, want %v", what, w.arrived.Series(), numbers)
		}
	}
	expect("with connections of their own", map[string]int64{"pump-1": 200, "pump-2": 100, "pump-3": 200})
	if log := broker.Log(); !strings.Contains(log, " as pump-1 (") || strings.Contains(log, " as pump-2 (") {
		t.Error("the broker has not seen pump-1 as itself, or has let pump-2 in")
	}
	var status struct {
		Upstreams []struct {
			Things struct {
				Configured, Connected int
				Depth                 int64
				Trouble               []string
			}
		}
	}
	troubled := func() bool {
		_, body, err := g.get("/api/v1/status")
		if err != nil || json.Unmarshal([]byte(body), &status) != nil || len(status.Upstreams) != 1 {
			return false
		}
		x := status.Upstreams[0].Things
		return x.Configured == 2 && x.Connected == 1 && x.Depth == 100 && fmt.Sprint(x.Trouble) == "[pump-2]"
	}
	if !until(20*time.Second, troubled) {
		t.Errorf("the status says %+v", status)
	}

	g.kill()
	g.Set = byPassword
	g.start()
	for _, thing := range []string{"pump-1", "pump-2", "pump-3"} {
		send(t, g, thing, 201, 300, &acked)
	}
	expect("without", map[string]int64{"pump-1": 300, "pump-2": 300, "pump-3": 300})
	if n := w.late.Load(); n != 0 {
		t.Errorf("%d messages came after a later one of their thing", n)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}
