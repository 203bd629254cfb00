package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// sentFleet is what a route makes of messages of four devices, as it is metered.
type sentFleet struct {
	config string
	cfg    *configs.Config
	fleet  *billing.Fleet
}

// sendThrough sends so many messages of two topics through a route, which is written as in a file, with its
// steps, and meters what comes out.
func sendThrough(t *testing.T, written string, messages int, own func(i int) string) *sentFleet {
	t.Helper()
	return sendMessages(t, `name: telemetry, from: "dt/#", upstream: aws, `+written, messages, func(i int, msg *bridge.Message) {
		switch {
		case i%50 == 0:
			msg.Payload = fmt.Appendf(nil, `{"v":"%s"}`, strings.Repeat("x", 4700+37*i%400))
		case i%5 == 0:
			msg.Topic, msg.Payload = fmt.Sprintf("dt/camera/plant7-pump-%d", i%4), bytes.Repeat([]byte{0xff}, 90+i%7)
		}
		if text := own(i); text != "" {
			msg.User = []bridge.UserProperty{{Key: "trace", Value: text}}
		}
	})
}

// sendMessages sends messages, each of which is changed before, through a route that is
// written as in a file.
func sendMessages(t *testing.T, route string, messages int, change func(i int, msg *bridge.Message)) *sentFleet {
	t.Helper()
	config := filepath.Join(t.TempDir(), "ebbgate.yaml")
	text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" +
		"routes: {up: [{" + route + "}]}\n" +
		"upstreams: {aws: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:443\", username: pump}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(config, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	clock := bridge.NewClock(s.Age, func() bool { return true })
	m, err := billing.NewMeter(s, billingOf(cfg), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	m.Routes(routesOf(cfg, billing.DefaultUnit))
	table, err := rules.Compile(cfg.Routes)
	if err != nil {
		t.Fatal(err)
	}
	var b bridge.Batch
	var line bridge.Line
	if all := table.Shaped(); len(all) > 0 {
		line = all[0].Line(shape.Terms{})
	}
	out := func(p *bridge.Product) {
		for _, r := range p.Records {
			m.Delivered(&b, "aws", &bridge.Stored{Record: r, Receiver: &r.Receivers[0]}, bridge.Outcome{Wire: 1})
		}
	}
	for i := range messages {
		device := bridge.Principal{ClientID: fmt.Sprintf("plant7-pump-%d", i%4), Thing: bridge.Thing{Name: fmt.Sprintf("hall-3-%d", i%4)}}
		msg := bridge.Message{Topic: "dt/pump/state", QoS: 1, Payload: fmt.Appendf(nil, `{"v":"%s"}`, strings.Repeat("x", 40+37*i%160))}
		change(i, &msg)
		to, err := table.Up(&device, &msg)
		if err == nil && len(to) == 0 && cfg.Routes.Up[0].Sample.OneIn > 0 {
			continue
		}
		if err != nil || len(to) != 1 {
			t.Fatalf("%d receivers, %v", len(to), err)
		}
		r := &bridge.Record{Message: msg, Origin: bridge.Origin{Device: device.ClientID, Thing: device.Thing.Name, Instant: clock.Now()}, Receivers: to}
		if _, raw := bridge.IsRaw(to[0].Queue); !raw {
			out(&bridge.Product{Records: []*bridge.Record{r}})
			continue
		}
		line.Take(&bridge.Stored{Record: r, Receiver: &r.Receivers[0]}, out)
	}
	if line != nil {
		line.Ripe(math.MaxInt64, out)
	}
	commit(t, s, &b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Run(ctx); err != nil { // writes the sizes
		t.Fatal(err)
	}
	l, err := billing.NewLedger(s, billingOf(cfg))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	from, to := billing.Month(now)
	f, err := l.Fleet("aws", from, to, now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return &sentFleet{config, cfg, f}
}

func noProperties(int) string { return "" }

// What devices say of their messages keeps those apart that say other things: what batches
// would save is what they do save, and the advice is to put envelopes around them where that
// is more.
func TestWhatIfOfUserProperties(t *testing.T) {
	const messages = 2000
	for _, c := range []struct {
		name    string
		own     func(i int) string
		then    string
		percent int64
		notes   bool
		advice  string
	}{
		{"each has its own", func(i int) string { return fmt.Sprint("id-", i) }, "batch: {format: json, age: 24h}", 1, true, "with origin: envelope"},
		{"each has its own, in envelopes", func(i int) string { return fmt.Sprint("id-", i) }, "origin: envelope, batch: {format: json, age: 24h}", 10, false, "with origin: envelope"},
		{"one in eleven has some", func(i int) string { return strings.Repeat("x", 1/(1+i%11)) }, "batch: {format: json, age: 24h}", 20, true, "with origin: envelope"},
		{"all have the same", func(int) string { return "x" }, "batch: {format: json, age: 24h}", 10, true, ""},
		{"each device has its own", func(i int) string { return fmt.Sprint("site-", i%4) }, "batch: {format: json, age: 24h}", 15, true, "with origin: envelope"},
		{"none has any", noProperties, "batch: {format: json, age: 24h}", 15, false, ""},
	} {
		was, then := sendThrough(t, "qos: 1", messages, c.own), sendThrough(t, c.then, messages, c.own)
		plan, notes, err := (&whatIfOptions{routes: then.config}).plan(was.cfg, was.fleet)
		if err != nil {
			t.Fatal(err)
		}
		got, want := was.fleet.Counted(plan).Messages, then.fleet.Counted(then.fleet.Plan(nil)).Messages
		if off := max(got-want, want-got); 100*off > c.percent*want {
			t.Errorf("%s: %d metered messages, in truth %d", c.name, got, want)
		}
		if said := strings.Contains(strings.Join(notes, "\n"), "have user properties of their own"); said != c.notes {
			t.Errorf("%s: %q", c.name, notes)
		}
		for _, m := range was.fleet.Measures() {
			if strings.HasPrefix(m.Name, "batch ") && strings.Contains(m.Name, "origin: envelope") != (c.advice != "") {
				t.Errorf("%s: %s", c.name, m.Name)
			}
		}
	}
}

// The origin is advised against by what it takes, however short the names are.
func TestAdviceOnOriginsOfShortNames(t *testing.T) {
	const messages = 2000
	was, then := sendThrough(t, "origin: user_properties", messages, noProperties), sendThrough(t, "origin: none", messages, noProperties)
	for _, m := range was.fleet.Measures() {
		if strings.HasPrefix(m.Name, "origin: none") {
			got, want := was.fleet.Counted(was.fleet.Plan([]billing.Measure{m})), then.fleet.Counted(then.fleet.Plan(nil))
			if got != want || got.Messages >= was.fleet.Counted(was.fleet.Plan(nil)).Messages {
				t.Errorf("%+v, in truth %+v", got, want)
			}
			return
		}
	}
	t.Errorf("no such measure in %+v", was.fleet.Measures())
}

// What other topics, and another way to tell the origin, would have cost is what they do
// cost: an envelope around each message is in it, also inside a batch, with the names of the
// devices that there are.
func TestWhatIfOfTopicsAndOrigins(t *testing.T) {
	const messages = 2000
	long := `topic: "` + strings.Repeat("site-1-", 20) + `/${topic}"`
	for _, c := range []struct {
		was, then string
		percent   int64 // that it may be off: sizes are taken to come mixed, and recorded in steps
		note      string
	}{
		{"origin: user_properties", "origin: envelope", 0, ""},
		{"origin: user_properties", "origin: none", 0, ""},
		{"origin: user_properties", "origin: bare", 0, ""},
		{"origin: none", "origin: none", 0, ""},
		{"origin: none", "origin: user_properties", 1, ""},
		{"origin: bare", "origin: envelope", 1, ""},
		{"origin: envelope", "origin: user_properties", 1, ""}, // what is not JSON inside of it is not known
		{"qos: 1", long, 1, ""},
		{long, "qos: 1", 1, ""},
		{long, "origin: envelope", 1, ""},
		{"qos: 1", `topic: "all/${client_id}/${thing_name}/${topic[2]}", batch: {format: json, age: 24h}`, 10, ""},
		{"qos: 1", long + `, batch: {format: json, age: 24h}`, 10, ""},
		{"qos: 1", `topic: all/t, origin: envelope, batch: {format: json, age: 24h}`, 10, ""},
		{"qos: 1", `topic: all/t, origin: envelope, batch: {format: ndjson, size: 20KiB, age: 24h}`, 10, ""},
		{"qos: 1", `basic_ingest: store, topic: "b/${topic}", origin: envelope`, 0, ""},
		{`topic: "all/t"`, "qos: 1", 2, "how long its topics would be is not recorded"},
		{"qos: 1", `topic: "${topic[3]}/x"`, 2, "how long its topics would be is not recorded"},
		{"batch: {format: json}", "batch: {format: json}, origin: envelope", 60, "of what is batched or compressed already is not recorded"},
		{"qos: 1", "split: 2KiB", 60, "what its split sends in parts"},
	} {
		was, then := sendThrough(t, c.was, messages, noProperties), sendThrough(t, c.then, messages, noProperties)
		plan, notes, err := (&whatIfOptions{routes: then.config}).plan(was.cfg, was.fleet)
		if err != nil {
			t.Fatal(err)
		}
		got, want := was.fleet.Counted(plan), then.fleet.Counted(then.fleet.Plan(nil))
		if off := max(got.Messages-want.Messages, want.Messages-got.Messages); 100*off > c.percent*want.Messages {
			t.Errorf("%s instead of %s: %d metered messages, in truth %d", c.then, c.was, got.Messages, want.Messages)
		}
		if off := max(got.Rules-want.Rules, want.Rules-got.Rules); 100*off > c.percent*want.Rules {
			t.Errorf("%s instead of %s: %d rules, in truth %d", c.then, c.was, got.Rules, want.Rules)
		}
		if all := strings.Join(notes, "\n"); c.note == "" && all != "" || !strings.Contains(all, c.note) {
			t.Errorf("%s instead of %s: %q, want %q", c.then, c.was, all, c.note)
		}
	}
}
