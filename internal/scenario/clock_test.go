package scenario

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/tally"
)

// stamped is a message at the cloud with what the gateway says of its time.
type stamped struct {
	topic, payload string
	accepted       time.Time
	clock          string
}

// stamps subscribes to everything at a broker, with the user properties.
func stamps(t *testing.T, addr string) <-chan stamped {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan stamped, 1000)
	c := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
		accepted, err := time.Parse(time.RFC3339Nano, r.Packet.Properties.User.Get("ebb-accepted"))
		if err != nil {
			t.Errorf("ebb-accepted: %v", err)
		}
		out <- stamped{r.Packet.Topic, string(r.Packet.Payload), accepted, r.Packet.Properties.User.Get("ebb-clock")}
		return true, nil
	}}})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "consumer", KeepAlive: 60, CleanStart: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	return out
}

// said is the part of the status that tells of clocks.
type said struct {
	Clock     string
	Upstreams []struct {
		Link      string
		LastError string `json:"last_error"`
		Outlook   string
	}
	Warnings []struct{ Code string }
}

func (g *gateway) said() (s said) {
	_, body, err := g.get("/api/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil || len(s.Upstreams) == 0 {
		return said{Upstreams: make([]struct {
			Link      string
			LastError string `json:"last_error"`
			Outlook   string
		}, 1)}
	}
	return s
}

// awaitSaid waits for the status to tell something.
func (g *gateway) awaitSaid(t *testing.T, what string, is func(said) bool) {
	t.Helper()
	if !until(time.Minute, func() bool { return is(g.said()) }) {
		t.Errorf("the status never told that %s: %+v", what, g.said())
	}
}

func (s said) warns(code string) bool {
	for _, w := range s.Warnings {
		if w.Code == code {
			return true
		}
	}
	return false
}

// A machine whose clock has no battery comes up in 1970. Its devices are let in,
// with a warning; what they publish is kept, since TLS to the cloud needs the date.
// When a time server sets the clock 56 years ahead, all of it goes up, in its
// order, marked as stamped by a clock that was not synchronised; what is published
// from then on is not (U7).
func TestAClockThatStartsIn1970(t *testing.T) {
	t.Parallel()
	const messages = 20
	clock := turnable(t)
	clock.set(time.Unix(90, 0), false)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true})
	proxy := peers.NewProxy(t, broker.TLSAddr)
	arrived := stamps(t, broker.Addr)
	g := newPolicyGateway(t, "mqtts://"+proxy.Addr)
	g.clock = clock
	g.Set = []string{
		"upstreams.cloud.tls.ca=" + broker.CA.File, "upstreams.cloud.tls.server_name=localhost",
		"upstreams.cloud.tls.cert=" + broker.ClientCert.CertFile, "upstreams.cloud.tls.key=" + broker.ClientCert.KeyFile,
	}
	g.edit(replace(`from: "#",`, `from: "dt/#", ttl: 1h,`))
	g.policy("device", `{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}`)
	cert := g.ca.Client("dev", peers.Validity{})
	g.write("things.yaml", fmt.Sprintf("things:\n  dev: {certificates: [%s], policies: [device]}\n", cert.Fingerprint))
	g.start()

	device := newLAN(t, g, 5, lanOptions{id: "dev", cert: cert})
	if got := device.connect(t.Context()); got != "CONNACK 0x00" {
		t.Fatalf("a device in 1970: %s", got)
	}
	number := 0
	publish := func(n int) {
		t.Helper()
		for range n {
			number++
			if got := device.publish(t.Context(), "dt/dev", 1, false, fmt.Sprint(number)); !strings.HasPrefix(got, "PUBACK 0x0") {
				t.Fatalf("message %d: %s", number, got)
			}
		}
	}
	publish(messages)
	g.awaitSaid(t, "dates were not looked at, and that the cloud's certificate needs a clock", func(s said) bool {
		return s.Clock == "unsynchronised" && s.warns("certificate-dates-unchecked") && s.Upstreams[0].Link != "up" && strings.Contains(s.Upstreams[0].LastError, "check the clock of this machine")
	})

	clock.set(time.Now(), true)
	g.awaitSaid(t, "the clock is right", func(s said) bool {
		return s.Clock == "synchronised" && s.Upstreams[0].Link == "up" && !s.warns("certificate-dates-unchecked")
	})
	publish(messages)
	take := func(n int, quality string, since time.Time) {
		t.Helper()
		for ; n > 0; n-- {
			select {
			case m := <-arrived:
				want := fmt.Sprint(number - n + 1)
				if m.payload != want || m.clock != quality || m.accepted.Before(since) || m.accepted.After(since.Add(time.Hour)) {
					t.Errorf("message %s arrived in the place of %s, accepted at %v by a clock that was %s", m.payload, want, m.accepted, m.clock)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%d messages have not arrived", n)
			}
		}
	}
	number -= messages
	take(messages, "unsynchronised", time.Unix(0, 0))
	number += messages
	take(messages, "synchronised", time.Now().Add(-10*time.Minute))
	if !until(time.Minute, func() bool { units, unknown := g.unitsToday(t); return units == 2*messages && unknown == 0 }) {
		t.Errorf("not all metered messages belong to today: they went up when the clock was right")
	}

	// A link that is up asks no clock. The next one does, and so do the devices'.
	clock.set(time.Now().Add(25*time.Hour), true)
	publish(1)
	take(1, "synchronised", time.Now().Add(24*time.Hour))
	if got := newLAN(t, g, 5, lanOptions{id: "dev-2", cert: cert}).connect(t.Context()); !strings.HasPrefix(got, "CONNACK 0x8") {
		t.Errorf("a certificate that ended an hour ago: %s", got)
	}
	proxy.Reset()
	g.awaitSaid(t, "the cloud's certificate has ended", func(s said) bool {
		return s.Upstreams[0].Link != "up" && strings.Contains(s.Upstreams[0].LastError, "expired") && strings.Contains(s.Upstreams[0].LastError, "check the clock of this machine")
	})
	publish(1)
	clock.set(time.Now(), true)
	take(1, "synchronised", time.Now().Add(24*time.Hour))
}

// unitsToday are the metered messages that went up today by the gateway's clock,
// and those of no day.
func (g *gateway) unitsToday(t *testing.T) (units, unknown int64) {
	t.Helper()
	_, body, err := g.get("/api/v1/bill?period=today")
	var b struct {
		billed
		Unknown struct {
			Units int64 `json:"units"`
		} `json:"unknown"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &b)
	}
	if err != nil {
		t.Fatalf("the bill: %v", err)
	}
	for _, l := range b.Lines {
		if l.Direction == "up" {
			units += l.Units
		}
	}
	return units, b.Unknown.Units
}

// noon is half past twelve today, by UTC: a test that turns the clock by days from
// there meets neither a midnight nor the end of an hour of its own.
func noon() time.Time { return time.Now().UTC().Truncate(aDay).Add(12*time.Hour + 30*time.Minute) }

const aDay = 24 * time.Hour

// The clock jumps a day ahead and back, and a day back and ahead, while a backlog
// goes up. Nothing of it expires, though it may wait an hour only, no link is lost,
// each device stays in order, and the rate is what it was. The metered messages
// belong to the hours that the clock showed, each to one. A session that may last
// an hour is there when its device comes back (U7).
func TestAClockThatJumpsADay(t *testing.T) {
	t.Parallel()
	clock := turnable(t)
	clock.set(noon(), true)
	r := record(t, sandboxed(t), 0, 0)
	r.make(trouble{kind: linkDown})
	g := newGateway(t, site{Endpoint: "mqtt://" + r.Addr, Set: []string{"upstreams.cloud.limits.messages_per_second=95", "upstreams.cloud.ack_timeout=30s"}})
	g.clock = clock
	g.edit(replace("upstream: cloud,", "upstream: cloud, ttl: 1h,"))
	g.write("policies/fleet.json", openPolicy)
	g.start()
	goAway(t, g)
	f := &fleet{devices: 10, messages: scaled(1000, 100), window: 20, size: 100}
	f.start(t, g.Listen)
	if !f.wait(5 * time.Minute) {
		t.Fatalf("only %d messages were taken", f.acked.Len())
	}
	r.make(trouble{})
	total := f.acked.Len()
	days := []time.Duration{0, aDay, 0, -aDay, 0}
	for i, day := range days {
		clock.set(noon().Add(day), true)
		if share := total * int64(i+1) / int64(len(days)); !until(5*time.Minute, func() bool { return r.arrived.Len() >= share }) {
			t.Fatalf("stuck at %d of %d, %v from the right day", r.arrived.Len(), total, day)
		}
	}
	awayHasAll(t, g, &f.acked)
	billed := map[time.Duration]int64{}
	if !until(time.Minute, func() bool {
		sum := int64(0)
		for _, day := range []time.Duration{-aDay, aDay, 0} {
			clock.set(noon().Add(day), true)
			billed[day], _ = g.unitsToday(t)
			sum += billed[day]
		}
		return sum == total
	}) {
		t.Errorf("%d messages are billed as %v", total, billed)
	}
	for day, n := range billed {
		if n == 0 {
			t.Errorf("nothing is billed %v from today", day)
		}
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	most := 0
	for _, at := range r.crossings {
		most = max(most, busiest(at, time.Second))
	}
	t.Logf("%d messages, %d transmissions, at most %d within a second, billed by day %v", total, r.times, most, billed)
	if d := tally.Compare(&f.acked, &r.arrived); d.Lost > 0 || r.late > 0 {
		t.Errorf("%+v, %d out of order", d, r.late)
	}
	if len(r.connects) != 1 {
		t.Errorf("%d connections, want the first to live through it", len(r.connects))
	}
}

// Where no TLS asks for the date a gateway in 1970 serves its cloud all the same.
// What it drops stands in the drop log at an hour with a question mark, and what it
// sends is billed to no day (U7).
func TestHoursThatNoClockVouchesFor(t *testing.T) {
	t.Parallel()
	clock := turnable(t)
	clock.set(time.Unix(90, 0), false)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	proxy.Cut()
	arrived := stamps(t, broker.Addr)
	g := newGateway(t, site{Endpoint: "mqtt://" + proxy.Addr})
	g.clock = clock
	g.edit(replace("  up:\n", "  up:\n    - {name: news, from: \"dt/news\", upstream: cloud, topic: \"${topic}\", ttl: 10ms}\n"))
	g.start()
	device := talker(t, g.Listen, "dev")
	for _, topic := range []string{"dt/news", "dt/dev"} {
		must(t, topic, device.Publish(topic, 1, false, "x"))
	}
	proxy.Restore()
	select {
	case m := <-arrived:
		if m.topic != "dt/dev" || m.clock != "unsynchronised" || m.accepted.Year() != 1970 {
			t.Errorf("arrived: %+v", m)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing arrives")
	}
	drops := ""
	if !until(time.Minute, func() bool {
		_, drops, _ = cli(t, g.dir, "drops", "stat", "--config", g.configFile())
		return strings.Contains(drops, "1970-01-01 00:00?  expired")
	}) {
		t.Errorf("the drop log says\n%s", drops)
	}
	if !until(time.Minute, func() bool { units, unknown := g.unitsToday(t); return units == 0 && unknown > 0 }) {
		t.Error("the message is billed to a day that it was not")
	}
}

// How long the gateway was off is what the wall clock says. One that has been set
// back, or is in 1970, says nothing: what waits grows no older. One that stands two
// days later says two days, and what may wait an hour has expired; the drop log has
// it at the hour that the clock shows (U7).
func TestAClockThatJumpsWhileTheGatewayIsOff(t *testing.T) {
	t.Parallel()
	clock := turnable(t)
	clock.set(noon(), true)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	proxy.Cut()
	consumer := watch(t, broker.Addr)
	g := newGateway(t, site{Endpoint: "mqtt://" + proxy.Addr})
	g.clock = clock
	g.edit(replace("upstream: cloud,", "upstream: cloud, ttl: 1h,"))
	for i, at := range []time.Time{noon(), time.Unix(90, 0), noon().Add(-aDay)} {
		clock.set(at, i != 1)
		g.start()
		f := &fleet{devices: 5, messages: 20, window: 20, size: 100, name: fmt.Sprintf("start%d", i)}
		f.start(t, g.Listen)
		if !f.wait(time.Minute) {
			t.Fatalf("only %d messages were taken", f.acked.Len())
		}
		if l := ledgerOf(t, g); l.Held != int64(i+1)*100 || l.Dropped != 0 {
			t.Errorf("after a start on %s: %+v", at.UTC().Format(time.DateOnly), l)
		}
		g.kill()
	}
	clock.set(noon().Add(aDay), true)
	g.start()
	proxy.Restore()
	if !until(time.Minute, func() bool { return ledgerOf(t, g).Dropped == 300 }) || consumer.total.Load() > 0 {
		t.Errorf("after a start two days later: %+v, and %d messages went up", ledgerOf(t, g), consumer.total.Load())
	}
	_, drops, _ := cli(t, g.dir, "drops", "stat", "--config", g.configFile())
	if want := noon().Add(aDay).Format("2006-01-02 15") + ":00  expired"; !strings.Contains(drops, want) {
		t.Errorf("the drop log lacks %q:\n%s", want, drops)
	}
}

// A link that is open on one day of the week only goes by the wall clock, at once,
// in both directions (U7).
func TestAMeteredLinkGoesByTheWallClock(t *testing.T) {
	t.Parallel()
	clock := turnable(t)
	clock.set(noon(), true)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	consumer := watch(t, broker.Addr)
	open := strings.ToLower(noon().Add(aDay).Weekday().String()[:3])
	g := newGateway(t, site{Endpoint: "mqtt://" + broker.Addr})
	g.clock = clock
	g.edit(replace("    ack_timeout: 3s\n", "    ack_timeout: 3s\n    metered: {windows: ["+open+" 00:00-24:00], time_zone: UTC}\n"))
	g.start()
	var acked tally.Set
	for round := range 2 {
		f := &fleet{devices: 2, messages: 10, window: 5, size: 100, name: fmt.Sprintf("round%d", round)}
		f.start(t, g.Listen)
		if !f.wait(time.Minute) {
			t.Fatalf("only %d messages were taken", f.acked.Len())
		}
		for name, n := range f.acked.Series() {
			for i := range uint64(n) {
				acked.Add(name, i+1)
			}
		}
		g.awaitSaid(t, "the link is closed until tomorrow", func(s said) bool {
			return strings.HasPrefix(s.Upstreams[0].Outlook, "not before "+noon().Add(aDay).Format(time.DateOnly))
		})
		if n := consumer.total.Load(); n > int64(round)*20 {
			t.Errorf("%d messages went up, also through a closed window", n)
		}
		clock.set(noon().Add(aDay), true)
		if d := consumer.await(&acked, 20*time.Second); d.Lost > 0 {
			t.Errorf("%d messages did not go up on the day of the window", d.Lost)
		}
		clock.set(noon(), true)
	}
}
