package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestExactlyOnceAcrossKills: MQTT.js publishes to itself with QoS 2 while the
// gateway is killed again and again: each message is there exactly once, in
// order [MQTT-4.4.0-1].
func TestExactlyOnceAcrossKills(t *testing.T) {
	t.Parallel()
	const messages, rounds = 120, 3 // the program's rounds have 40
	for _, version := range []int{3, 5} {
		t.Run(fmt.Sprintf("MQTT %d", version), func(t *testing.T) {
			t.Parallel()
			g := local(t)
			config, err := os.ReadFile(filepath.Join(g.dir, "ebbgate.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			g.write("ebbgate.yaml", strings.Replace(string(config), "profile: aws-edge", "profile: mqtt", 1))
			g.start()
			n := peers.Node(t, "mqttjs2", peers.NodeOptions{Version: version, URL: "mqtt://" + g.Listen, Client: "device", Topic: "talk", Messages: messages})
			n.Step("subscribed")
			for range rounds {
				n.Step("under way")
				g.kill()
				g.start()
				n.Proceed()
			}
			got := n.Step("received").Messages
			n.End()
			if len(got) != messages+1 {
				t.Fatalf("%d messages, want %d: %v", len(got), messages+1, got)
			}
			for i, m := range got[:messages] {
				if m.Text != fmt.Sprintf("m%d", i) || m.QoS != 2 {
					t.Fatalf("message %d is %+v", i, m)
				}
			}
		})
	}
}
