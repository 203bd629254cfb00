package scenario

import (
	"os"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestStopWithoutAFolder takes a running gateway's data away: it cannot write what it
// has in memory, and ends all the same, in bounded time, with a code that says so.
func TestStopWithoutAFolder(t *testing.T) {
	t.Parallel()
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	g := newGateway(t, site{Endpoint: "mqtt://" + b.Addr})
	g.start()
	f := &fleet{devices: 4, messages: 200, window: 10, size: 100}
	f.start(t, g.Listen)
	if !f.wait(time.Minute) {
		t.Fatal("the devices are not done")
	}
	f.stop()
	if err := os.RemoveAll(g.Data); err != nil {
		t.Fatal(err)
	}
	if code := g.stop(); code == 0 {
		t.Error("it ended as if everything were there")
	}
}
