package scenario

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// downSite is a gateway with routes down, a device that hears all of them, and somebody
// who gives commands at the broker.
type downSite struct {
	*gateway
	broker   *peers.Broker
	operator mqtt.Client
	protocol string

	devices int

	mu    sync.Mutex
	round string // what is given now; what came before it may come again after a kill
	came  []string
}

func newDownSite(t *testing.T, protocol string) *downSite {
	t.Helper()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	s := &downSite{gateway: newGateway(t, site{Endpoint: "mqtt://" + broker.Addr}), broker: broker, protocol: protocol}
	s.write("policies/fleet.json", openPolicy)
	s.edit(replace("routes:\n", "routes:\n  down: []\n"))
	s.edit(replace("    type: mqtt\n", "    type: mqtt\n    protocol: \""+protocol+"\"\n"))
	if protocol == "3.1.1" {
		s.edit(replace(`topic: "${topic}"`, `topic: "${topic}", origin: none`))
	}
	s.operator = talker(t, broker.Addr, "operator")
	return s
}

// routes are the filters of the routes down from now on; it runs with them after a
// reload or a start.
func (s *downSite) routes(filters ...string) {
	s.tb.Helper()
	line := "  down: ["
	for i, f := range filters {
		line += fmt.Sprintf("{name: d%d, from: %q, upstream: cloud},", i, f)
	}
	s.edit(func(text string) string {
		at := strings.Index(text, "  down: [")
		return text[:at] + line + "]" + text[at+strings.Index(text[at:], "\n"):]
	})
}

// hears makes a device that notes what comes on the site; one from before the gateway's
// last start has lost its subscription.
func (s *downSite) hears(t *testing.T) {
	t.Helper()
	s.devices++
	device := talker(t, s.Listen, fmt.Sprint("device-", s.devices))
	if tok := device.Subscribe("#", 1, func(_ mqtt.Client, m mqtt.Message) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if string(m.Payload()) == s.round {
			s.came = append(s.came, m.Topic())
		}
	}); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("subscribe: %v", tok.Error())
	}
}

// said is how often a line is in mosquitto's log.
func (s *downSite) said(line string) int { return strings.Count(s.broker.Log(), line) }

const subacked = "Sending SUBACK to site-1-cloud-down"

// after waits until mosquitto has said a line more often than before.
func (s *downSite) after(t *testing.T, line string, do func()) {
	t.Helper()
	before := s.said(line)
	do()
	if !until(time.Minute, func() bool { return s.said(line) > before }) {
		t.Fatalf("no more %q", line)
	}
}

// comes gives a command on each topic, and is what of them came to the device, sorted.
func (s *downSite) comes(t *testing.T, topics ...string) string {
	t.Helper()
	s.mu.Lock()
	s.came, s.round = nil, s.round+"x"
	round := s.round
	s.mu.Unlock()
	for _, topic := range slices.Concat(topics, []string{"cmd/end"}) {
		if tok := s.operator.Publish(topic, 1, false, round); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
			t.Fatalf("publish: %v", tok.Error())
		}
	}
	var out []string
	if !until(time.Minute, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		out = slices.Clone(s.came)
		return slices.Contains(out, "cmd/end")
	}) {
		t.Fatalf("the last command did not come, but %v", out)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// What is taken out of the file, or covered now, comes no more and is not billed, by a
// reload, a start, and wherever a kill falls into a reload.
func TestFiltersThatAreTakenOut(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"5", "3.1.1"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			rnd := dice(t)
			s := newDownSite(t, protocol)
			s.routes("cmd/+/ret", "cmd/end", "fw/#")
			s.after(t, subacked, func() { s.start() })
			s.hears(t)
			topics := []string{"cmd/a/ret", "cmd/b", "fw/x", "new/x"}
			want := func(when, what string) {
				t.Helper()
				if got := s.comes(t, topics...); got != what {
					t.Errorf("%s there came %q, want %q", when, got, what)
				}
			}
			want("at first", "cmd/a/ret cmd/end fw/x")

			s.routes("cmd/+/ret", "cmd/#")
			s.signal(syscall.SIGHUP)
			if !until(time.Minute, func() bool { return s.held() == "cmd/#" }) {
				t.Fatalf("after a reload the session has %q", s.held())
			}
			want("after a reload", "cmd/a/ret cmd/b cmd/end")
			before, _ := s.bill(t)
			want("a second time", "cmd/a/ret cmd/b cmd/end")
			s.settled(t, func() bool {
				now, _ := s.bill(t)
				return now["down"]-before["down"] >= 6
			})
			if now, _ := s.bill(t); now["down"]-before["down"] != 6 { // each with its PUBACK
				t.Errorf("%d metered messages were billed of 3 that came, and their PUBACKs", now["down"]-before["down"])
			}

			for range scaled(20, 4) {
				s.routes("cmd/+/ret", "cmd/end", "fw/#", "new/#")
				s.signal(syscall.SIGHUP)
				pass(t, time.Duration(rnd.IntN(900))*time.Millisecond)
				s.kill()
				s.routes("cmd/#")
				s.after(t, subacked, func() { s.start() })
				if !until(time.Minute, func() bool { return s.held() == "cmd/#" }) {
					t.Fatalf("after a kill the session has %q", s.held())
				}
				s.hears(t)
				want("after a kill", "cmd/a/ret cmd/b cmd/end")
			}
		})
	}
}

// held are the filters that the downlink's session has by mosquitto's log.
func (s *downSite) held() string {
	var has []string
	for _, line := range strings.Split(s.broker.Log(), "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 4 && words[1] == "site-1-cloud-down": // "time: client qos filter"
			if !slices.Contains(has, words[3]) {
				has = append(has, words[3])
			}
		case len(words) == 3 && words[1] == "site-1-cloud-down": // "time: client filter"
			has = slices.DeleteFunc(has, func(f string) bool { return f == words[2] })
		}
	}
	slices.Sort(has)
	return strings.Join(has, " ")
}
