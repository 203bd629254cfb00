package scenario

import (
	"encoding/json"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// deafLink is a TCP link whose way back can be closed: what is sent arrives, and
// no acknowledgement comes.
type deafLink struct {
	Addr   string
	listen net.Listener
	all    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	deaf  bool
}

func newDeafLink(t *testing.T, target string) *deafLink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deafLink{Addr: l.Addr().String(), listen: l}
	d.all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			d.mu.Lock()
			d.conns = append(d.conns, in, out)
			d.mu.Unlock()
			d.all.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			d.all.Go(func() { d.back(in, out) })
		}
	})
	t.Cleanup(d.cut)
	return d
}

// back carries what comes back, unless the link is deaf.
func (d *deafLink) back(in, out net.Conn) {
	defer in.Close()
	b := make([]byte, 4096)
	for {
		n, err := out.Read(b)
		if err != nil {
			return
		}
		d.mu.Lock()
		deaf := d.deaf
		d.mu.Unlock()
		if !deaf {
			if _, err := in.Write(b[:n]); err != nil {
				return
			}
		}
	}
}

func (d *deafLink) close(deaf bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf = deaf
}

// cut ends all connections and takes no more.
func (d *deafLink) cut() {
	d.mu.Lock()
	_ = d.listen.Close()
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.all.Wait()
}

// uncertain is what the status says of each upstream's bill.
func uncertain(t *testing.T, g *gateway) map[string]int64 {
	t.Helper()
	_, body, err := g.get("/api/v1/status")
	var s struct {
		Upstreams []struct {
			Name  string `json:"name"`
			Units int64  `json:"uncertain_units_today"`
		} `json:"upstreams"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, u := range s.Upstreams {
		out[u.Name] = u.Units
	}
	return out
}

// A chain of three upstreams, of which the second is never there. The first takes
// messages and its acknowledgements are lost: they are uncertain on its bill, are
// sent again to the third, so each is at one of the two at least, and no more than
// a window is at both. The order of each device is kept at either.
func TestUncertainWhenItFailsOverDownAChain(t *testing.T) {
	t.Parallel()
	first, third := peers.Mosquitto(t, peers.MosquittoOptions{}), peers.Mosquitto(t, peers.MosquittoOptions{})
	link := newDeafLink(t, first.Addr)
	both, atFirst, atThird := watch(t, first.Addr), &cloud{}, &cloud{}
	both.alsoAt(t, third.Addr)
	atFirst.hears(t, first.Addr, "counter")
	atThird.hears(t, third.Addr, "counter")
	g := newGateway(t, site{Endpoint: "mqtt://" + link.Addr, Set: []string{
		"upstreams.cloud.failover.to=second", "upstreams.cloud.failover.after=1s",
		"upstreams.second.endpoint=mqtt://" + peers.FreeAddr(t),
		"upstreams.second.failover.to=third", "upstreams.second.failover.after=1s",
		"upstreams.third.endpoint=mqtt://" + third.Addr,
		"upstreams.third.limits.messages_per_second=0", "upstreams.third.limits.bytes_per_second=0",
	}})
	g.start()
	f := &fleet{devices: 5, window: 40, size: 100}
	f.start(t, g.Listen)
	if !until(time.Minute, func() bool { return atFirst.total.Load() > 200 }) {
		t.Fatal("nothing arrives at the first")
	}
	link.close(true)
	was := atFirst.total.Load()
	if !until(time.Minute, func() bool { return atFirst.total.Load() > was+10 }) {
		t.Fatal("nothing arrives over the deaf link")
	}
	link.cut()
	if !until(time.Minute, func() bool { return atThird.total.Load() > 200 }) {
		t.Error("nothing arrives at the third")
	}
	f.stop()
	if d := both.await(&f.acked, 20*time.Second); d.Lost > 0 {
		t.Errorf("%d acknowledged messages are at neither, such as %v", d.Lost, d.Sample)
	}
	twice := both.duplicates.Load()
	if twice == 0 || twice > uplinkWindow {
		t.Errorf("%d messages are at both, want some and no more than the window of %d", twice, uplinkWindow)
	}
	if n := atFirst.late.Load() + atThird.late.Load(); n > 0 {
		t.Errorf("%d messages out of order", n)
	}
	var u map[string]int64
	if !until(time.Minute, func() bool { u = uncertain(t, g); return u["cloud"] >= twice }) || u["cloud"] > uplinkWindow || u["second"]+u["third"] != 0 {
		t.Errorf("uncertain are %v units, want what is at both (%d) up to the window at the first, and none elsewhere", u, twice)
	}
	t.Logf("%d messages are at both, %d are uncertain on the first's bill", twice, u["cloud"])
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}
