package scenario

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// movers is a site some of whose devices get connections of their own and lose them
// again, at a reload.
type movers struct {
	*gateway
	broker *peers.Broker
	proxy  *peers.Proxy
	cloud  *cloud
	fleet  *fleet
	things string // the lines that give the connections
	own    bool   // they have them
}

const moved = 2 // devices that move; as many stay

func newMovers(t *testing.T, data string) *movers {
	t.Helper()
	binary(t) // to build it may take longer than a consumer stays connected
	m := &movers{broker: peers.Mosquitto(t, peers.MosquittoOptions{TLS: true})}
	m.proxy, m.cloud = peers.NewProxy(t, m.broker.TLSAddr), watch(t, m.broker.Addr)
	m.gateway = newGateway(t, site{Data: data, Endpoint: m.endpoint(t, m.proxy.Addr), CA: m.broker.CA.File, Cert: m.broker.ClientCert.CertFile, Key: m.broker.ClientCert.KeyFile, Set: byPassword})
	var things, names []string
	for i := range 2 * moved {
		name := fmt.Sprintf("device-%02d", i+1)
		names = append(names, name)
		if i < moved {
			c := m.broker.CA.Client(name, peers.Validity{})
			things = append(things, fmt.Sprintf("{name: %s, cert: %s, key: %s}", name, c.CertFile, c.KeyFile))
		}
	}
	m.things = "    as_things: {things: [" + strings.Join(things, ", ") + "]}\n"
	m.logIn(t, names...)
	m.start()
	m.fleet = &fleet{devices: 2 * moved, window: 10, size: 100, every: 2 * time.Millisecond, password: "pass"}
	m.fleet.start(t, m.Listen)
	if !until(2*time.Minute, func() bool { return len(m.fleet.acked.Series()) == 2*moved }) { // a login takes a while on a busy machine
		t.Fatalf("of %d devices only %v are taken", 2*moved, m.fleet.acked.Series())
	}
	return m
}

func (m *movers) endpoint(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return "mqtts://localhost:" + port
}

// move gives the things connections of their own, or takes them away, and tells the
// gateway.
func (m *movers) move() {
	m.tb.Helper()
	const at = "    type: mqtt\n"
	if m.own = !m.own; m.own {
		m.edit(replace(at, at+m.things))
	} else {
		m.edit(replace(m.things, ""))
	}
	m.signal(syscall.SIGHUP)
}

// wander moves the things again and again, with the cloud there and away.
func (m *movers) wander(t *testing.T, rnd *rand.Rand, times int) {
	t.Helper()
	for range times {
		if rnd.IntN(2) == 0 {
			m.proxy.Cut()
		} else {
			m.proxy.Restore()
		}
		pass(t, time.Duration(100+rnd.IntN(900))*time.Millisecond)
		m.move()
		pass(t, time.Duration(rnd.IntN(500))*time.Millisecond)
	}
}

// arrive waits until all that was acknowledged is with the cloud, in order.
func (m *movers) arrive(t *testing.T) {
	t.Helper()
	acked := m.fleet.acked.Len()
	if acked == 0 {
		t.Fatal("nothing was acknowledged: it proves nothing")
	}
	if d := m.cloud.await(&m.fleet.acked, 20*time.Second); d.Lost > 0 {
		t.Errorf("%d of %d acknowledged messages are gone, such as %v", d.Lost, acked, d.Sample)
	}
	if n := m.cloud.late.Load(); n > 0 {
		t.Errorf("%d messages came after a later one of their device: %s", n, m.cloud.disorder())
	}
	t.Logf("%d acknowledged, %d came twice", acked, m.cloud.duplicates.Load())
}

// TestThingsMoveAtAReload gives devices connections of their own and takes them away
// again at reloads, under load, with the cloud there and away: nothing is lost and
// each device stays in order.
func TestThingsMoveAtAReload(t *testing.T) {
	t.Parallel()
	m := newMovers(t, "")
	m.wander(t, dice(t), scaled(60, 6))
	if !m.own {
		m.move()
	}
	m.proxy.Restore()
	// On a busy machine a connection takes seconds, while a back-off runs it isn't made.
	if !until(2*time.Minute, func() bool { return strings.Contains(m.broker.Log(), " as device-01 (") }) {
		t.Error("device-01 has never had its connection")
	}
	pass(t, time.Second)
	m.fleet.stop()
	m.arrive(t)
	if code := m.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestPowerCutWhileThingsMove is TestPowerCut with devices that move between the
// gateway's connection and their own. On the copy they have them, or have not, as the
// configuration says by then (U8).
func TestPowerCutWhileThingsMove(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	for i := range scaled(12, 2) {
		t.Run(fmt.Sprintf("moment %d", i+1), func(t *testing.T) {
			before := ext4(t, 512<<20)
			m := newMovers(t, before.Dir+"/data")
			m.wander(t, rnd, 2+rnd.IntN(3))
			m.signal(syscall.SIGSTOP)
			m.proxy.Cut()
			image := before.copyImage()
			m.fleet.stop()
			m.kill()
			before.unmount()

			after := mountImage(t, image)
			m.edit(replace(before.Dir+"/data", after.Dir+"/data"))
			m.edit(replace(m.Endpoint, m.endpoint(t, m.broker.TLSAddr)))
			m.start()
			if i%2 == 0 || !m.own {
				m.move() // once more, at once
			}
			m.arrive(t)
			if code := m.stop(); code != 0 {
				t.Errorf("exit code %d on the copy", code)
			}
			after.unmount()
		})
	}
}
