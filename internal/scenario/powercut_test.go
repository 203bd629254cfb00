package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/tally"
)

// TestPowerCut takes the power away. The spool is on an ext4 image; under load
// the gateway is stopped where it stands and the image copied, which holds only
// what the file system had written: killing would prove nothing, because the
// kernel's page cache survives it. A gateway started on the copy must deliver
// every message that a device was given a PUBACK for, to the cloud and to a
// device that was away.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	for i := range scaled(24, 3) {
		t.Run(fmt.Sprintf("moment %d", i+1), func(t *testing.T) {
			lost, acked := powerCut(t, rnd, "disk", nil)
			if acked == 0 {
				t.Fatal("nothing was acknowledged before the cut: it proves nothing")
			}
			if lost.Lost > 0 {
				t.Errorf("%d of %d acknowledged messages are gone, such as %v", lost.Lost, acked, lost.Sample)
			}
		})
	}
}

// TestPowerCutWithoutSyncs is the same with durability "os". It must lose: if
// it did not, the test above could not tell a spool that syncs from one that
// does not.
func TestPowerCutWithoutSyncs(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	var lost, acked int64
	for range scaled(5, 2) {
		d, n := powerCut(t, rnd, "os", nil)
		lost, acked = lost+d.Lost, acked+n
	}
	t.Logf("%d acknowledged, %d lost", acked, lost)
	if lost == 0 {
		t.Error("nothing was lost without syncs: the power cut of these tests cuts nothing")
	}
}

// TestPowerCutInOpenBatches is TestPowerCut for a route that makes batches: what
// waited in an open one, or was being written as one, is there again (U8).
func TestPowerCutInOpenBatches(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	for i := range scaled(12, 2) {
		t.Run(fmt.Sprintf("moment %d", i+1), func(t *testing.T) {
			lost, acked := powerCut(t, rnd, "disk", unpackPrefixed, "routes.up[0].batch={format: length_prefixed, age: 400ms}")
			if acked == 0 {
				t.Fatal("nothing was acknowledged before the cut: it proves nothing")
			}
			if lost.Lost > 0 {
				t.Errorf("%d of %d acknowledged messages are gone, such as %v", lost.Lost, acked, lost.Sample)
			}
		})
	}
}

// TestPowerCutLiveFirst is TestPowerCut for a route whose live messages go before its
// backlog: what is released then is not at the queue's head (U8).
func TestPowerCutLiveFirst(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	for i := range scaled(12, 2) {
		t.Run(fmt.Sprintf("moment %d", i+1), func(t *testing.T) {
			lost, acked := powerCut(t, rnd, "disk", nil, liveFirst)
			if acked == 0 {
				t.Fatal("nothing was acknowledged before the cut: it proves nothing")
			}
			if lost.Lost > 0 {
				t.Errorf("%d of %d acknowledged messages are gone, such as %v", lost.Lost, acked, lost.Sample)
			}
		})
	}
}

const liveFirst = "routes.up[0].live_first=true"

// powerCut loads a gateway, cuts its power at a random moment, and tells what
// did not survive. In half of the cases the cloud is there meanwhile, so that
// the cut also hits releases.
func powerCut(t *testing.T, rnd *rand.Rand, durability string, unpack func([]byte) [][]byte, set ...string) (tally.Difference, int64) {
	t.Helper()
	load := time.Duration(100+rnd.IntN(2500)) * time.Millisecond
	online := rnd.IntN(2) == 0
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	consumer := watchUnpacked(t, broker.Addr, unpack)
	proxy := peers.NewProxy(t, broker.Addr)
	if !online {
		proxy.Cut()
	}
	before := ext4(t, 512<<20)
	g := newGateway(t, site{Data: before.Dir + "/data", Endpoint: "mqtt://" + proxy.Addr, Set: append(set, "spool.durability="+durability)})
	g.write("policies/fleet.json", openPolicy)
	g.start()
	goAway(t, g)
	f := &fleet{devices: 20, window: 50, size: 256}
	f.start(t, g.Listen)
	if !until(time.Minute, func() bool { return f.acked.Len() > 0 }) {
		t.Fatal("nothing is acknowledged")
	}
	pass(t, load)

	g.signal(syscall.SIGSTOP)
	proxy.Cut() // what the cloud has not got yet it shall get from the copy
	image := before.copyImage()
	f.stop() // every PUBACK that the stopped gateway had written has been read
	acked := f.acked.Len()
	g.kill()
	before.unmount()

	after := mountImage(t, image)
	g2 := newGateway(t, site{Data: after.Dir + "/data", Endpoint: "mqtt://" + broker.Addr, Set: g.Set})
	g2.write("policies/fleet.json", openPolicy)
	ready := g2.start()
	d := consumer.await(&f.acked, 5*time.Second)
	if durability == "disk" {
		awayHasAll(t, g2, &f.acked)
	}
	if n := consumer.late.Load(); n > 0 && !slices.Contains(set, liveFirst) {
		t.Errorf("%d messages arrived out of order", n)
	}
	t.Logf("%s, cut after %v (cloud there: %v): %d acknowledged, %d lost; ready again in %v",
		durability, load, online, acked, d.Lost, ready.Round(time.Millisecond))
	if code := g2.stop(); code != 0 {
		t.Errorf("exit code %d on the copy, want 0", code)
	}
	after.unmount()
	return d, acked
}

// pass lets time go by under load.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
