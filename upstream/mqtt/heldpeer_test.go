package mqtt

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// site is a mosquitto, an uplink that publishes to it, and what the downlinks of one
// client id remember.
type site struct {
	t     *testing.T
	b     *peers.Broker
	o     Options
	up    bridge.Link
	notes *notes
}

func newSite(t *testing.T, protocol string) *site {
	t.Helper()
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	s := &site{t: t, b: b, o: quick(b.Addr), up: connect(t, quick(b.Addr), upstream.Hooks{}), notes: &notes{}}
	s.o.Protocol = protocol
	return s
}

// takenBack is how often mosquitto has answered an UNSUBSCRIBE of the downlink.
func (s *site) takenBack() int { return strings.Count(s.b.Log(), "Sending UNSUBACK to gateway-down") }

// run runs a downlink that begins with the notes as they are, until stop. Mosquitto has
// heard all that it said by then: it would let the next one in before, and send again.
func (s *site) run(filters string) (got chan came, subscribed heardOf, stop func()) {
	s.t.Helper()
	got, subscribed = make(chan came, 1000), make(heardOf, 100)
	d := NewDownlink(s.o, "gateway-down", fields(filters), func(m *bridge.Message, wire int, ack func()) {
		got <- came{m, wire, ack}
	}, discard(), upstream.Hooks{Opened: func(string) upstream.Connection { return subscribed }})
	s.notes = &notes{filters: s.notes.filters, known: s.notes.known}
	d.Remember(s.notes)
	end := peers.Run(s.t, d.Run)
	return got, subscribed, func() {
		const goodbye = "Received DISCONNECT from gateway-down"
		before := strings.Count(s.b.Log(), goodbye)
		end()
		await(s.t, "mosquitto hears the end", func() bool { return strings.Count(s.b.Log(), goodbye) > before })
	}
}

// comes publishes to each topic once, and is what of it came.
func (s *site) comes(got chan came, topics string) string {
	s.t.Helper()
	for _, topic := range append(fields(topics), "cmd/end") {
		if o := send(s.t, s.up, delivery(topic, []byte("x"))); o.Result != bridge.ResultAcked {
			s.t.Fatalf("publish: %+v", o)
		}
	}
	var out []string
	for {
		m := receive(s.t, got, "a message")
		m.ack()
		if m.m.Topic == "cmd/end" {
			slices.Sort(out)
			return strings.Join(out, " ")
		}
		out = append(out, m.m.Topic)
	}
}

// Whatever the configuration was before, what comes down comes once, and what is not in
// it does not come: after a reload, after a start, and where a version had made the
// session that kept no notes.
func TestWhatASessionKeptIsTakenBack(t *testing.T) {
	const topics = "cmd/a/ret cmd/b fw/x fw/y"
	for _, protocol := range []string{protocol5, protocol311} {
		for _, c := range []struct {
			name, before, filters, comes string
			forgotten                    bool // nothing is noted
		}{
			{"a wider one came", "cmd/+/ret", "cmd/+/ret cmd/#", "cmd/a/ret cmd/b", false},
			{"one was taken out", "cmd/# fw/#", "cmd/#", "cmd/a/ret cmd/b", false},
			{"one was narrowed", "cmd/# fw/#", "cmd/end cmd/+/ret fw/x", "cmd/a/ret fw/x", false},
			{"a version that kept no notes", "cmd/+/ret cmd/#", "cmd/+/ret cmd/#", "cmd/a/ret cmd/b", true},
		} {
			t.Run(protocol+" "+c.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, protocol)
				if c.forgotten {
					s.subscribed(fields(c.before))
				} else {
					_, subscribed, stop := s.run(c.before)
					receive(t, subscribed, "SUBACK")
					stop()
				}
				got, _, stop := s.run(c.filters)
				await(t, "it is taken back", func() bool { return s.takenBack() == 1 })
				if came := s.comes(got, topics); came != c.comes {
					t.Errorf("after a reload there came %q, want %q", came, c.comes)
				}
				stop()
				got, subscribed, stop := s.run(c.filters)
				receive(t, subscribed, "SUBACK")
				if came := s.comes(got, topics); came != c.comes {
					t.Errorf("after a start there came %q, want %q", came, c.comes)
				}
				stop()
			})
		}
	}
}

// subscribed makes the session of the downlink with these filters, as a version would
// that subscribes to them all and keeps no notes.
func (s *site) subscribed(filters []string) {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.b.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	b := &broker{nc, s.t}
	week := uint32(7 * 24 * 3600)
	b.send(&packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "gateway-down", KeepAlive: 60, Properties: &packets.Properties{SessionExpiryInterval: &week}})
	expect[*packets.Connack](b)
	p := &packets.Subscribe{PacketID: 1, Properties: &packets.Properties{}}
	for _, f := range filters {
		p.Subscriptions = append(p.Subscriptions, packets.SubOptions{Topic: f, QoS: 1})
	}
	b.send(p)
	expect[*packets.Suback](b)
}

// Wherever a kill falls, the next configuration knows of every filter that the session
// has: of those before it, and of those that were about to be subscribed to.
func TestAKillForgetsNoFilter(t *testing.T) {
	const before, killed, after = "cmd/+/ret", "cmd/# fw/#", "cmd/#"
	died := errors.New("killed")
	for _, protocol := range []string{protocol5, protocol311} {
		for _, c := range []struct {
			name string
			die  func(s *site, ended context.CancelFunc) upstream.Hooks
		}{
			{"before it is noted", func(s *site, ended context.CancelFunc) upstream.Hooks {
				s.notes.before = func(context.Context, int) error { ended(); return died }
				return upstream.Hooks{}
			}},
			{"noted", func(s *site, ended context.CancelFunc) upstream.Hooks {
				s.notes.before = func(context.Context, int) error { ended(); return nil }
				return upstream.Hooks{}
			}},
			{"subscribed", func(s *site, ended context.CancelFunc) upstream.Hooks {
				return upstream.Hooks{Opened: func(string) upstream.Connection { return dies(ended) }}
			}},
			{"taken back, and not noted", func(s *site, ended context.CancelFunc) upstream.Hooks {
				s.notes.before = func(_ context.Context, n int) error {
					if n == 1 {
						return nil
					}
					ended()
					return died
				}
				return upstream.Hooks{}
			}},
		} {
			t.Run(protocol+" "+c.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, protocol)
				_, subscribed, stop := s.run(before)
				receive(t, subscribed, "SUBACK")
				stop()

				s.notes = &notes{filters: s.notes.filters, known: s.notes.known}
				ctx, ended := context.WithCancel(t.Context())
				defer ended()
				d := NewDownlink(s.o, "gateway-down", fields(killed), func(*bridge.Message, int, func()) {}, discard(), c.die(s, ended))
				d.Remember(s.notes)
				if err := d.Run(ctx); err != nil || t.Context().Err() != nil {
					t.Fatalf("it ended with %v", err)
				}

				got, _, stop := s.run(after)
				defer stop()
				await(t, "what is needless is taken back", func() bool { return s.notes.String() == "cmd/#" })
				if came := s.comes(got, "cmd/a/ret fw/x"); came != "cmd/a/ret" {
					t.Errorf("there came %q", came)
				}
			})
		}
	}
}

// dies ends everything at the first SUBACK.
type dies context.CancelFunc

func (d dies) Subscribing([]string, []bridge.UserProperty) func() { return func() { d() } }
func (dies) Closed()                                              {}

// Between two filters no message is lost: the wider one is there before the narrower one
// is gone, also while messages come.
func TestNoMessageFallsBetweenTwoFilters(t *testing.T) {
	s := newSite(t, protocol5)
	_, subscribed, stop := s.run("cmd/+/ret")
	receive(t, subscribed, "SUBACK")
	stop()
	const messages = 300
	sent := make(chan error, messages)
	halfway := make(chan struct{})
	go func() {
		for i := range messages {
			if i == messages/3 {
				close(halfway)
			}
			acked := make(chan bridge.Outcome, 1)
			err := s.up.Send(t.Context(), delivery("cmd/a/ret", []byte{byte(i >> 8), byte(i)}), func(o bridge.Outcome) { acked <- o })
			if err == nil {
				<-acked
			}
			sent <- err
		}
	}()
	<-halfway
	got, _, stop := s.run("cmd/#")
	defer stop()
	for range messages {
		if err := receive(t, sent, "a message is sent"); err != nil {
			t.Fatal(err)
		}
	}
	came := map[int]bool{}
	for len(came) < messages {
		m := receive(t, got, "a message")
		m.ack()
		came[int(m.m.Payload[0])<<8|int(m.m.Payload[1])] = true
	}
	await(t, "the narrower one is taken back", func() bool { return s.takenBack() == 1 })
}
