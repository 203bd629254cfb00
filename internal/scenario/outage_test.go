package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestOutage is the main promise. Fifty devices publish at QoS 1 while the link
// to the cloud is cut three times, by reset or by black hole, and the gateway
// is killed three times without a word, at random moments. Every message that
// got a PUBACK arrives, in order per device by first arrival, and there are no
// more duplicates than what was under way explains.
func TestOutage(t *testing.T) {
	t.Parallel()
	const kills, cuts = 3, 3
	rnd := dice(t)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true})
	proxy := peers.NewProxy(t, broker.TLSAddr)
	consumer := watch(t, broker.Addr)
	g := newGateway(t, site{
		Endpoint: "mqtts://" + proxy.Addr,
		CA:       broker.CA.File, Cert: broker.ClientCert.CertFile, Key: broker.ClientCert.KeyFile,
	})
	g.start()

	f := &fleet{devices: 50, messages: scaled(2000, 200), window: 20, size: 200}
	endure(t, f, g, proxy, consumer, troubles(rnd, kills, cuts))
	limit := int64((cuts+kills)*(uplinkWindow+releaseBatch) + kills*f.devices*f.window)
	got := consumer.duplicates.Load()
	t.Logf("%d sent and acknowledged, %d arrived, %d duplicates (at most %d)", f.acked.Len(), consumer.arrived.Len(), got, limit)
	if got > limit {
		t.Errorf("%d duplicates, at most %d", got, limit)
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}

// endure lets misfortunes happen to a gateway while a fleet publishes through it.
// Then the link is whole again, and every message that got a PUBACK has arrived,
// in order per device.
func endure(t *testing.T, f *fleet, g *gateway, p *peers.Proxy, consumer *cloud, all []misfortune) {
	t.Helper()
	total := int64(f.devices * f.messages)
	f.start(t, g.Listen)
	for _, e := range all {
		if !until(time.Minute, func() bool { return e.due(f, consumer, total) }) {
			t.Errorf("stuck before %v: %d acknowledged, %d arrived", e, f.acked.Len(), consumer.arrived.Len())
			break
		}
		e.happen(t, g, p)
	}
	if !f.wait(scaled(10*time.Minute, 2*time.Minute)) {
		t.Errorf("only %d of %d messages were acknowledged", f.acked.Len(), total)
	}
	p.Restore()
	if diff := consumer.await(&f.acked, 20*time.Second); diff.Lost > 0 {
		t.Errorf("%d acknowledged messages never arrived, such as %v", diff.Lost, diff.Sample)
	}
	if n := consumer.late.Load(); n > 0 {
		t.Errorf("%d messages arrived for the first time after a later one of their device", n)
	}
	if n := consumer.foreign.Load(); n > 0 {
		t.Errorf("%d messages arrived that nobody sent", n)
	}
}

// releaseBatch is how many acknowledged messages the gateway may release in
// one commit; what was acknowledged and not yet released is sent again.
const releaseBatch = 1024

// misfortune is one thing that goes wrong, when a share of the messages has
// been acknowledged or has arrived.
type misfortune struct {
	kind    string // "kill", "reset" or "black hole"
	share   float64
	arrived bool          // of the arrivals, so that replay is hit too
	lasts   time.Duration // of a cut
}

// troubles deals kills and cuts at random shares, in order, and each kind of
// cut at least once.
func troubles(rnd *rand.Rand, kills, cuts int) []misfortune {
	var all []misfortune
	for i := range kills + cuts {
		m := misfortune{kind: "kill", share: 0.02 + 0.9*rnd.Float64(), arrived: rnd.IntN(2) == 0}
		if i >= kills {
			kinds := []string{"reset", "black hole"}
			m.kind = kinds[(i-kills)%len(kinds)]
			m.lasts = time.Duration(200+rnd.IntN(4000)) * time.Millisecond
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b misfortune) int { return int(1000 * (a.share - b.share)) })
	return all
}

func (m misfortune) String() string {
	return fmt.Sprintf("%s at %.0f %%, %v", m.kind, 100*m.share, m.lasts)
}

func (m misfortune) due(f *fleet, c *cloud, total int64) bool {
	n := f.acked.Len()
	if m.arrived {
		n = c.arrived.Len()
	}
	return n >= int64(m.share*float64(total))
}

// happen makes it so. Cuts restore themselves, and a kill may come while the
// link is still cut.
func (m misfortune) happen(t *testing.T, g *gateway, p *peers.Proxy) {
	t.Log(m)
	switch m.kind {
	case "kill":
		g.kill()
		g.start()
	case "reset":
		p.Cut()
		restoreLater(t, p, m.lasts)
	default:
		p.BlackHole()
		restoreLater(t, p, m.lasts)
	}
}

// restoreLater ends a cut in the background.
func restoreLater(t *testing.T, p *peers.Proxy, after time.Duration) {
	var wg sync.WaitGroup
	wg.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			p.Restore()
		case <-t.Context().Done():
		}
	})
	t.Cleanup(wg.Wait)
}
