package scenario

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// ledger is what spool stat says became of a queue's messages.
type ledger struct {
	Name                                                      string
	Accepted, Held, Delivered, Dropped, Consumed, Moved, Lost int64
}

// ledgerOf is what became of the messages of the one route, see sumsOf.
func ledgerOf(t *testing.T, g *gateway) ledger {
	t.Helper()
	return sumsOf(t, g)["up/cloud/telemetry"]
}

// sumsOf asks a gateway, or reads its spool when it is not there, and checks that the
// sums hold.
func sumsOf(t *testing.T, g *gateway) sums {
	t.Helper()
	all := sums{}
	code, out, errs := cli(t, g.dir, g.command("spool", "stat", "--json")...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var line struct{ Queue *ledger }
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if l := line.Queue; l != nil {
			all[l.Name] = *l
			if l.Accepted == 0 || l.Accepted != l.Held+l.Delivered+l.Dropped+l.Consumed+l.Moved || l.Lost != 0 {
				t.Errorf("the sum does not hold: %+v", *l)
			}
		}
	}
	return all
}

// U8: the gateway is killed three times while messages expire, are replaced by
// newer ones of their topic, and are sent. After each kill, and at the end, what
// was accepted is delivered, held or dropped, and each that was dropped stands in
// the drop log.
func TestTheSumHoldsAcrossKills(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true})
	proxy := peers.NewProxy(t, broker.TLSAddr)
	consumer := watch(t, broker.Addr)
	g := newGateway(t, site{
		Endpoint: "mqtts://" + proxy.Addr,
		CA:       broker.CA.File, Cert: broker.ClientCert.CertFile, Key: broker.ClientCert.KeyFile,
	})
	g.edit(replace("upstream: cloud,", "upstream: cloud, ttl: 700ms, keep_last: 150,"))
	g.start()
	f := &fleet{devices: 8, messages: scaled(4000, 1000), window: 20, size: 120}
	total := int64(f.devices * f.messages)
	f.start(t, g.Listen)
	for i := range 3 {
		share := (float64(i) + 0.2 + 0.6*rnd.Float64()) / 3
		if !until(time.Minute, func() bool { return f.acked.Len() >= int64(share*float64(total)) }) {
			t.Fatalf("stuck at %d acknowledged", f.acked.Len())
		}
		proxy.Cut()
		mark := f.acked.Len()
		until(2*time.Second, func() bool { return f.acked.Len() >= mark+total/8 })
		g.kill()
		before := ledgerOf(t, g)
		if i == 1 { // what waits goes stale
			until(time.Second, func() bool { return false })
		}
		proxy.Restore()
		g.start()
		if after := ledgerOf(t, g); after.Accepted < before.Accepted || after.Delivered < before.Delivered || after.Dropped < before.Dropped {
			t.Errorf("a start has lost something: %+v, then %+v", before, after)
		}
	}
	if !f.wait(time.Minute) {
		t.Errorf("only %d of %d messages were acknowledged", f.acked.Len(), total)
	}
	var end ledger
	until(time.Minute, func() bool { end = ledgerOf(t, g); return end.Held == 0 })
	diff := consumer.await(&f.acked, 2*time.Second)
	if diff.Lost > end.Dropped {
		t.Errorf("%d acknowledged messages have not arrived, %d were dropped", diff.Lost, end.Dropped)
	}
	if arrived := consumer.arrived.Len(); end.Delivered > consumer.total.Load() || arrived+end.Dropped < f.acked.Len() {
		t.Errorf("%d arrived at all, %d different ones, of %d acknowledged: %+v", consumer.total.Load(), arrived, f.acked.Len(), end)
	}
	reasons := map[string]int64{}
	code, out, errs := cli(t, g.dir, "drops", "ls", "--limit", "0", "--json", "--config", g.configFile())
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var line struct{ Dropped struct{ Reason string } }
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		reasons[line.Dropped.Reason]++
	}
	t.Logf("%+v, dropped: %v", end, reasons)
	if end.Dropped == 0 || reasons["expired"]+reasons["conflated"] != end.Dropped {
		t.Errorf("one by one %v, %d were dropped", reasons, end.Dropped)
	}
}
