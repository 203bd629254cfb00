package scenario

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// sumsSite is a gateway with a route of every kind that the sum of the ledger has to
// do with, the devices that feed them, and a cloud that is sometimes away.
type sumsSite struct {
	*gateway
	cloud  *ledgerCloud
	proxy  *peers.Proxy
	fleets map[string]*fleet
}

// sumsRoutes are the routes by the names of the devices that they take. The first
// leaves out, by its condition, what no other takes.
const sumsRoutes = `    - {name: batches, from: "dt/#", where: 'client_id.startsWith("batches")', upstream: cloud, batch: {format: length_prefixed, age: 400ms}}
    - {name: windows, from: "dt/#", where: 'client_id.startsWith("windows")', upstream: cloud, window: {every: 1s, fields: ["."]}}
    - {name: changes, from: "dt/#", where: 'client_id.startsWith("changes")', upstream: cloud, deadband: {field: ".", absolute: 5}}
    - {name: samples, from: "dt/#", where: 'client_id.startsWith("samples")', upstream: cloud, sample: {one_in: 3}}
    - {name: states, from: "dt/#", where: 'client_id.startsWith("states")', upstream: cloud, ttl: 700ms, keep_last: 20}
    - {name: refused, from: "dt/#", where: 'client_id.startsWith("refused")', upstream: cloud}
    - {name: cheap, from: "dt/#", where: 'client_id.startsWith("cheap")', upstream: cloud, priority: 1}
`

// entrance is the queue that the devices of a name are accepted by.
func entrance(name string) string {
	switch name {
	case "batches", "windows", "changes":
		return "raw/up/cloud/" + name
	case "others":
		return "raw/up/cloud/batches"
	}
	return "up/cloud/" + name
}

func newSumsSite(t *testing.T, data string) *sumsSite {
	t.Helper()
	s := &sumsSite{cloud: newLedgerCloud(t), fleets: map[string]*fleet{}}
	s.proxy = peers.NewProxy(t, s.cloud.Addr)
	s.gateway = newGateway(t, site{Data: data, Endpoint: "mqtt://" + s.proxy.Addr})
	s.edit(replace("    - {name: telemetry, from: \"dt/#\", upstream: cloud, topic: \"${topic}\"}\n", sumsRoutes))
	s.edit(replace("    ack_timeout: 3s\n", "    ack_timeout: 3s\n    billing: {budgets: [{name: tiny, period: day, metered_messages: 1, drop_below: 3}]}\n"))
	s.start()
	number := func(_ string, n uint64, _ int) []byte { return fmt.Append(nil, n%100) }
	for _, name := range []string{"batches", "windows", "changes", "samples", "states", "refused", "cheap", "others"} {
		f := &fleet{name: name, devices: 2, window: 4, size: 100}
		if name == "windows" || name == "changes" {
			f.body = number
		}
		f.start(t, s.Listen)
		s.fleets[name] = f
	}
	return s
}

// acked is what the devices have a PUBACK for, by name.
func (s *sumsSite) acked() map[string]int64 {
	out := map[string]int64{}
	for name, f := range s.fleets {
		out[name] = f.acked.Len()
	}
	return out
}

// sums are the ledgers of a spool.
type sums map[string]ledger

func (s sums) total() (all ledger) {
	for _, l := range s {
		all.Accepted, all.Held, all.Delivered = all.Accepted+l.Accepted, all.Held+l.Held, all.Delivered+l.Delivered
		all.Dropped, all.Consumed, all.Moved, all.Lost = all.Dropped+l.Dropped, all.Consumed+l.Consumed, all.Moved+l.Moved, all.Lost+l.Lost
	}
	return all
}

func (l ledger) String() string {
	return fmt.Sprintf("%d accepted = %d held + %d delivered + %d dropped + %d consumed + %d moved", l.Accepted, l.Held, l.Delivered, l.Dropped, l.Consumed, l.Moved)
}

// books reads a spool that no gateway has open, and checks that every queue's sum
// holds, that what was dropped or moved to the dead letters stands in the drop log
// one by one and by hour, and that nothing is missing that a device has a PUBACK for or
// that the ledger calls delivered and the cloud does not know.
func (s *sumsSite) books(t *testing.T, dir string, acked map[string]int64) sums {
	t.Helper()
	lines := func(each func(*json.Decoder) error, args ...string) {
		args = append(args, "--json", "--config", s.configFile(), "--set", "spool.dir="+dir, "--set", "admin.address=")
		code, out, errs := cli(t, s.dir, args...)
		if code != exitOK {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
		for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
			if err := each(dec); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, one, hours, dead := sums{}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	lines(func(d *json.Decoder) error {
		var line struct {
			Queue   *ledger
			Missing string
		}
		err := d.Decode(&line)
		if line.Queue != nil {
			all[line.Queue.Name] = *line.Queue
		}
		if line.Missing != "" {
			t.Errorf("missing: %s", line.Missing)
		}
		return err
	}, "spool", "stat")
	lines(func(d *json.Decoder) error {
		var line struct {
			Dropped struct{ Queue, Reason string }
		}
		err := d.Decode(&line)
		if one[line.Dropped.Queue]++; line.Dropped.Reason == "dead-letter" {
			dead[line.Dropped.Queue]++
		}
		return err
	}, "drops", "ls", "--limit", "0")
	lines(func(d *json.Decoder) error {
		var line struct {
			Drops *struct {
				Queue string
				Count int64
			}
		}
		err := d.Decode(&line)
		if line.Drops != nil {
			hours[line.Drops.Queue] += line.Drops.Count
		}
		return err
	}, "drops", "stat")
	for name, l := range all {
		if l.Accepted != l.Held+l.Delivered+l.Dropped+l.Consumed+l.Moved || l.Lost != 0 {
			t.Errorf("the sum does not hold: %+v", l)
		}
		letters := l.Moved // what an operator sends again is not given up
		if strings.HasPrefix(name, "dead/") {
			letters = 0
		}
		if one[name] != l.Dropped+letters || dead[name] != letters || hours[name] != one[name] {
			t.Errorf("%s: %d dropped and %d moved, %d in the log, of them %d dead letters, %d by hour", name, l.Dropped, l.Moved, one[name], dead[name], hours[name])
		}
		if route, up := strings.CutPrefix(name, "up/cloud/"); up && l.Delivered > s.cloud.took(route) {
			t.Errorf("%s: %d delivered, the cloud has %d", name, l.Delivered, s.cloud.took(route))
		}
	}
	if l := all["dead/up/cloud/refused"]; l.Accepted != all["up/cloud/refused"].Moved {
		t.Errorf("%d dead letters, %d were moved there", l.Accepted, all["up/cloud/refused"].Moved)
	}
	entered := map[string]int64{}
	for name, n := range acked {
		entered[entrance(name)] += n
	}
	for queue, n := range entered {
		if all[queue].Accepted < n {
			t.Errorf("%s: %d are acknowledged, %d accepted", queue, n, all[queue].Accepted)
		}
	}
	return all
}

// TestSumsAcrossKills kills the gateway at random moments, with the cloud there and
// away: in open batches and windows, between releases, in moves to the dead letters,
// while a sample, a condition and a budget leave messages out, and messages expire
// and replace each other. After each kill every message is accounted for (U8).
func TestSumsAcrossKills(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	s := newSumsSite(t, "")
	for i := range scaled(40, 4) {
		s.weather(t, rnd)
		s.kill()
		all := s.books(t, s.Data, s.acked())
		t.Logf("kill %d: %v", i+1, all.total())
		s.start()
	}
	s.settle(t)
}

// weather lets a random time go by, with the cloud there or away.
func (s *sumsSite) weather(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	if rnd.IntN(3) == 0 {
		s.proxy.Cut()
	} else {
		s.proxy.Restore()
	}
	pass(t, time.Duration(200+rnd.IntN(1500))*time.Millisecond)
	s.meddle(t, rnd)
}

// meddle does what an operator may do meanwhile: drops what waits, which may be on
// its way, and sends dead letters again or gives them up.
func (s *sumsSite) meddle(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	args := [][]string{
		{"drop", "up/cloud/states", "--yes"}, {"drop", "up/cloud/refused", "--yes"}, {"drop", "raw/up/cloud/batches", "--yes"},
		{"drop", "dead/up/cloud/refused", "--yes"}, {"requeue", "dead/up/cloud/refused"}, nil,
	}[rnd.IntN(6)]
	if args == nil {
		return
	}
	args = append([]string{"spool"}, append(args, "--limit", "40")...)
	code, _, errs := cli(t, s.dir, s.command(args...)...)
	if raw := strings.HasPrefix(args[2], "raw/"); raw == (code == exitOK) { // its open batches have it
		t.Errorf("%v: exit %d, %s", args, code, errs)
	} else if code != exitOK && !raw && !strings.Contains(errs, "there is no queue") { // nothing was refused yet
		t.Errorf("%v: exit %d, %s", args, code, errs)
	}
}

// settle brings the cloud back, ends the devices when the budget, which is looked at
// now and then, has met one of them, lets everything drain, and checks that each kind
// of fate was met.
func (s *sumsSite) settle(t *testing.T) {
	t.Helper()
	s.proxy.Restore()
	until(time.Minute, func() bool { return droppedOf(t, s.gateway, "up/cloud/cheap") > 0 })
	for _, f := range s.fleets {
		f.stop()
	}
	acked := s.acked()
	if !until(time.Minute, func() bool { return heldForCloud(t, s.gateway) == 0 }) {
		t.Errorf("%d messages still wait for the cloud", heldForCloud(t, s.gateway))
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	all := s.books(t, s.Data, acked)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Logf("at the end: %s: %v", name, all[name])
	}
	for name, n := range map[string]int64{
		"a batch": all["raw/up/cloud/batches"].Consumed, "a window": all["raw/up/cloud/windows"].Consumed, "a deadband": all["raw/up/cloud/changes"].Consumed,
		"a sample": all["up/cloud/samples"].Consumed, "keep_last or ttl": all["up/cloud/states"].Dropped, "a dead letter": all["up/cloud/refused"].Moved,
		"a budget": all["up/cloud/cheap"].Dropped, "a release": all["up/cloud/batches"].Delivered,
	} {
		if n == 0 {
			t.Errorf("no message met %s", name)
		}
	}
}

// droppedOf is what a queue has given up.
func droppedOf(t *testing.T, g *gateway, queue string) (n int64) {
	t.Helper()
	_, body, err := g.get("/api/v1/status")
	var status struct {
		Queues []struct {
			Name    string
			Dropped int64
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &status)
	}
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for _, q := range status.Queues {
		if q.Name == queue {
			n += q.Dropped
		}
	}
	return n
}

// heldForCloud is what the upstream's queues hold.
func heldForCloud(t *testing.T, g *gateway) (n int64) {
	t.Helper()
	_, body, err := g.get("/api/v1/status")
	var status struct{ Upstreams []struct{ Depth int64 } }
	if err == nil {
		err = json.Unmarshal([]byte(body), &status)
	}
	if err != nil || len(status.Upstreams) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	return status.Upstreams[0].Depth
}

// TestSumsAcrossPowerCuts is the same with the power cut: the gateway is stopped where
// it stands and the image of its disk copied, which holds only what was synced
// (see TestPowerCut). Then it goes on; each image is read by itself, and from the last
// one a gateway goes on to the end (U8).
func TestSumsAcrossPowerCuts(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	for i := range scaled(8, 1) {
		t.Run(fmt.Sprintf("site %d", i+1), func(t *testing.T) { sumsAcrossPowerCuts(t, rnd, scaled(6, 4)) })
	}
}

func sumsAcrossPowerCuts(t *testing.T, rnd *rand.Rand, cuts int) {
	t.Helper()
	before := ext4(t, 512<<20)
	s := newSumsSite(t, before.Dir+"/data")
	for i := range cuts {
		s.weather(t, rnd)
		if i == 1 { // a budget is judged at a start
			s.kill()
			s.start()
		}
		s.signal(syscall.SIGSTOP)
		image := before.copyImage()
		acked := s.acked() // of what the stopped gateway has written, or less
		if i < cuts-1 {
			s.signal(syscall.SIGCONT)
		}
		after := mountImage(t, image)
		all := s.books(t, after.Dir+"/data", acked)
		t.Logf("cut %d: %v", i+1, all.total())
		if i < cuts-1 {
			after.unmount()
			continue
		}
		s.kill()
		before.unmount()
		s.Data = after.Dir + "/data"
		s.Set = append(s.Set, "spool.dir="+s.Data)
		s.start()
		pass(t, time.Second)
		s.settle(t)
		after.unmount()
	}
}

// command is a command line with the gateway's configuration.
func (g *gateway) command(args ...string) []string {
	args = append(args, "--config", g.configFile())
	for _, s := range g.Set {
		args = append(args, "--set", s)
	}
	return args
}
