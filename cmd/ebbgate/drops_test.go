package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
)

// spoolRun runs a command on the spool of a configuration.
func spoolRun(t *testing.T, config string, args ...string) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = execute(append(args, "--config", config), &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

// opened opens a gateway that does not run yet: without an admin port, and on any
// port for its devices.
func opened(t *testing.T, cfg *configs.Config) *gateway {
	t.Helper()
	cfg.Admin.Address, cfg.Broker.Listeners[0].Address = "", "127.0.0.1:0"
	g, err := openGateway(cfg, newLogger(cfg.Log, t.Output()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// firstID is the id of the first message that ls lists.
func firstID(t *testing.T, config string) string {
	t.Helper()
	_, out := spoolRun(t, config, "spool", "ls", "--json")
	var l spoolLine
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&l); err != nil || l.Record == nil {
		t.Fatalf("%q: %v", out, err)
	}
	return l.Record.ID
}

// A message is followed from the queue to the drop log, without a gateway.
func TestWhyAndDropsOffline(t *testing.T) {
	config, cfg := spooled(t)
	id := firstID(t, config)
	want := func(text string, args ...string) {
		t.Helper()
		if code, out := spoolRun(t, config, args...); code != exitOK || !strings.Contains(out, text) {
			t.Errorf("%v: exit %d, %q, want %q", args, code, out, text)
		}
	}
	want("held in up/cloud/old, place 1, 0 before it; from pump, topic dt/a", "spool", "why", id)
	want("the gateway, which does not run", "spool", "why", id)
	want("1 messages dropped", "spool", "drop", "up/cloud/old", "--yes")
	want("given up by up/cloud/old at ", "spool", "why", id)
	want("operator", "drops", "stat")
	want(id, "drops", "ls", "--reason", "operator", "--device", "pump", "--topic", "dt/", "--since", "1h")
	for _, filter := range [][]string{{"--reason", "expired"}, {"--device", "fan"}, {"--topic", "other"}, {"--since", "1ns"}, {"--queue", "up/cloud/all"}} {
		if code, out := spoolRun(t, config, append([]string{"drops", "ls"}, filter...)...); code != exitOK || strings.Contains(out, id) {
			t.Errorf("%v: exit %d, %q", filter, code, out)
		}
	}
	if code, out := spoolRun(t, config, "spool", "stat", "--json"); code != exitOK ||
		!strings.Contains(out, `"accepted":1,"held":0,"delivered":0,"dropped":1,"consumed":0,"moved":0,"lost":0`) {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, out := spoolRun(t, config, "spool", "why", "42"); code != exitInvalid || !strings.Contains(out, "is not a message id") {
		t.Errorf("exit %d, %q", code, out)
	}

	// What the id itself tells, when a start of the gateway is known.
	s := openSpool(t, cfg)
	clock := bridge.NewClock(s.Age, nil)
	if err := clock.Note(s); err != nil {
		t.Fatal(err)
	}
	born := clock.NewID().String()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want("it would be message 1 of the start of 20", "spool", "why", born)
	want("no start of this gateway that it remembers", "spool", "why", strings.Repeat("ab", 16))
}

// A running gateway answers the same, with what it knows of the future, and
// tells apart what it never accepted.
func TestWhyAndDropsOfARunningGateway(t *testing.T) {
	_, cfg := spooled(t)
	g := opened(t, cfg)
	var b bridge.Batch
	id := g.clock.NewID()
	b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt/b"}, Origin: bridge.Origin{Device: "fan", ID: id, Instant: g.clock.Now()},
		Receivers: []bridge.Receiver{{Queue: "up/cloud/all", Topic: "dt/b"}, {Queue: "up/cloud/old", Topic: "dt/b"}}})
	commit(t, g.spool, &b)
	g.drops.Count("not-authorized", "fan", "dt/forbidden")
	server := httptest.NewServer(spoolHandler{g})
	defer server.Close()
	ask := func(r spoolRequest) (out []spoolLine) {
		t.Helper()
		if err := askSpool(t.Context(), server.Listener.Addr().String(), r, func(l spoolLine) error { out = append(out, l); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	got := ask(spoolRequest{Op: "why", ID: id.String()})
	if len(got) != 2 || got[0].Why.State != whyHeld || got[0].Why.Ahead != 0 || got[1].Why.Ahead != 1 {
		t.Fatalf("%+v", got)
	}
	for _, l := range got {
		if !strings.HasPrefix(l.Why.Next, "it waits for the link to cloud, which is down since ") {
			t.Errorf("%q", l.Why.Next)
		}
	}
	drains := 0
	for _, l := range ask(spoolRequest{Op: "stat"}) {
		if l.Queue != nil && strings.HasSuffix(l.Queue.Drain, " at the limit of 95/s, once it is back") {
			drains++
		}
	}
	if drains != 2 {
		t.Errorf("%d queues say when they will be empty", drains)
	}
	if n := len(ask(spoolRequest{Op: "drop", Queue: "up/cloud/old"})); n != 1 {
		t.Errorf("%d lines", n)
	}
	got = ask(spoolRequest{Op: "drops"})
	if len(got) != 2 || got[0].Drops == nil || got[0].Drops.Count != 2 || got[1].Refused == nil || got[1].Refused.Reason != "not-authorized" {
		t.Errorf("%+v", got)
	}
	s := g.stats.status()
	for _, q := range s.Queues {
		if q.Accepted != q.Held+q.Delivered+q.Dropped+q.Consumed+q.Moved+q.Lost || q.Accepted == 0 {
			t.Errorf("%+v", q)
		}
		if waits := q.Held > 0; waits != (q.OldestAge > 0) || waits != (q.Drain == -1) { // the link is down
			t.Errorf("%+v", q)
		}
	}
	if s.Spool.Drain != -1 || s.Spool.OldestAge <= 0 {
		t.Errorf("%+v", s.Spool)
	}
	g.drops.Missed("session-queue-full", "fan", "cmd/x")
	keeping, stop := context.WithCancel(t.Context())
	stop()
	g.drops.Keep(keeping)
	if got := ask(spoolRequest{Op: "drops", Queue: bridge.SiteQueue}); len(got) != 1 || got[0].Drops == nil || got[0].Drops.Reason != "session-queue-full" {
		t.Errorf("%+v", got)
	}
	if len(s.Queues) != 2 || len(s.Drops) != 2 || s.Drops[0].Logged == s.Drops[1].Logged {
		t.Errorf("%+v, %+v", s.Queues, s.Drops)
	}
}

func TestDrainEstimate(t *testing.T) {
	for _, c := range []struct {
		flow
		left float64
		text string
	}{
		{flow{up: true}, 0, "0s"},
		{flow{depth: 600, in: 1, out: 11, up: true}, 60, "1m0s"},
		{flow{depth: 600, in: 11, out: 10, limit: 95, up: true}, -1, "never at this rate: 11.0/s come, 10.0/s go"},
		{flow{depth: 9400, in: 1, limit: 95, up: true, fresh: true}, 100, "1m40s at the limit of 95/s"},
		{flow{depth: 9400, in: 1, limit: 95}, -1, "the link is down: 1m40s at the limit of 95/s, once it is back"},
		{flow{depth: 1, in: 200, limit: 95}, -1, "the link is down: never at this rate, once it is back: 200.0/s come, 95.0/s go"},
		{flow{depth: 1}, -1, "the link is down: unknown until it flows"},
		{flow{}, 0, "the link is down: nothing waits for it"},
		// A steady flow in batches, of which one is always open, is no backlog.
		{flow{open: 20, due: 30 * time.Second, in: 2, out: 2, up: true}, 30, "0s; 20 wait in open batches and windows, 30s at most"},
		{flow{depth: 600, open: 20, due: 30 * time.Second, in: 1, out: 11, up: true}, 60, "1m0s; 20 wait in open batches and windows, 30s at most"},
		{flow{open: 20, due: 30 * time.Second}, -1, "the link is down: nothing waits for it; 20 wait in open batches and windows, 30s at most"},
		{flow{depth: 1 << 50, out: 1, up: true}, 1 << 50, "more than a year"},
	} {
		if left, text := c.estimate(); left != c.left || text != c.text {
			t.Errorf("%+v: %v, %q; want %v, %q", c.flow, left, text, c.left, c.text)
		}
	}
}

// What is older than the steps of its route let it be is backlog.
func TestOpenBatchesAreNoBacklog(t *testing.T) {
	var f flow
	f.raw(bridge.Depth{Records: 20, Oldest: 35 * time.Second}, 30*time.Second)
	f.raw(bridge.Depth{Records: 3, Oldest: time.Minute}, 30*time.Second)
	f.raw(bridge.Depth{}, time.Hour)
	if f.open != 20 || f.depth != 3 || f.due != 30*time.Second {
		t.Errorf("%+v", f)
	}
}

func TestOutlookOfAnOpenBatch(t *testing.T) {
	_, cfg := spooled(t)
	r := cfg.Routes.Up[0]
	r.Steps.Batch.Format, r.Steps.Batch.Age, r.Steps.Window.Every = "json", time.Minute, time.Hour
	r.Steps.Window.Fields = []string{"temp"}
	cfg.Routes.Up[0] = r
	g := opened(t, cfg)
	raw := bridge.RawQueue(bridge.QueueName("up", r.Upstream, r.Name))
	if got := g.patience(raw); got != time.Hour+windowGrace+time.Minute {
		t.Errorf("patience %v", got)
	}
	o := g.outlook(raw)
	if !strings.HasPrefix(o.drain, "the link is down: ") || !strings.Contains(o.next, "in an open batch or window") || !strings.Contains(o.next, "which is down since") {
		t.Errorf("%+v", o)
	}
}

// A message that came through a gateway behind this one says when that one accepted
// it, and how long it has been here: the one is not the other ago.
func TestWhyOfAnAdoptedMessage(t *testing.T) {
	config, cfg := spooled(t)
	s := openSpool(t, cfg)
	clock := bridge.NewClock(s.Age, nil)
	if err := clock.Note(s); err != nil {
		t.Fatal(err)
	}
	own := bridge.Origin{Device: "pump", ID: clock.NewID(), Instant: clock.Now()}
	adopted := bridge.Origin{Device: "fan", ID: bridge.MessageID{9}, Instant: clock.Now()}
	adopted.Wall, adopted.Synced = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("there", 3600)), true
	for _, o := range []bridge.Origin{own, adopted} {
		var b bridge.Batch
		b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt/a"}, Origin: o, Receivers: []bridge.Receiver{{Queue: "up/cloud/all", Topic: "dt/a"}}})
		commit(t, s, &b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		adopted.ID.String(): "accepted 2026-01-02T02:04:05Z by the gateway that had it first, and here ",
		own.ID.String():     "accepted " + own.Wall.UTC().Format(time.RFC3339) + "? (",
	} {
		if code, out := spoolRun(t, config, "spool", "why", id); code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, %q, want %q", code, out, want)
		}
	}
}

// A reason that is mistyped is no empty list: what is known is named, and what the manual
// has is known.
func TestDropsOfAReasonThatThereIsNot(t *testing.T) {
	config, _ := spooled(t)
	for _, op := range []string{"ls", "stat"} {
		if code, out := spoolRun(t, config, "drops", op, "--reason", "conflatd"); code == exitOK || !strings.Contains(out, `there is no reason "conflatd"; there are client-packet-size, conflated, corrupt, dead-letter, `) {
			t.Errorf("%s: exit %d, %s", op, code, out)
		}
		if code, out := spoolRun(t, config, "drops", op, "--reason", "conflated"); code != exitOK {
			t.Errorf("%s: exit %d, %s", op, code, out)
		}
	}
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(manual), "\nThe reasons in the drop log are ")
	text, _, _ = strings.Cut(text, "[sums only]")
	for _, reason := range dropReasons {
		if !strings.Contains(text, "`"+reason+"`") {
			t.Errorf("the manual does not have %s: %s", reason, text)
		}
	}
}

// What was moved has a column: the row of a queue adds up.
func TestSpoolStatTellsWhatWasMoved(t *testing.T) {
	config, cfg := spooled(t)
	s := openSpool(t, cfg)
	giveTo(t, s, deadAll, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out := spoolRun(t, config, "spool", "requeue", deadAll); code != exitOK {
		t.Fatal(out)
	}
	_, out := spoolRun(t, config, "spool", "stat")
	text := strings.Join(strings.Fields(out), " ")
	if !strings.Contains(text, "ACCEPTED DELIVERED DROPPED CONSUMED MOVED LOST") || !strings.Contains(text, deadAll+" 0 0 B 0s 2 0 0 0 2 0 -") {
		t.Errorf("%s", out)
	}
}
