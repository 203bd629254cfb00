package mqtt

import (
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

func TestFiltersThatOthersCover(t *testing.T) {
	for _, c := range []struct {
		by, filter string
		want       bool
	}{
		{"#", "a", true}, {"#", "+/#", true}, {"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true},
		{"a/#", "a", false}, {"a/#", "a/#", true}, {"a/#", "a/+/c", true}, {"a/#", "ab", false}, {"a/#", "b/#", false},
		{"a/+", "a/b", true}, {"a/+", "a/+", true}, {"a/+", "a", false}, {"a/+", "a/b/c", false}, {"a/+", "a/#", false},
		{"+/b", "a/+", false}, {"a/+", "+/b", false}, {"a/b", "a/+", false}, {"a//+", "a//b", true}, {"a/+/c", "a//c", true},
		{"a/+/#", "a/b", false}, {"a/+/#", "a/b/c", true}, {"a/+/#", "a/#", false}, {"a/+/#", "a", false}, {"#", "$share/g/a", false}, {"$share/g/#", "a", false},
	} {
		if got := covers(c.by, c.filter); got != c.want {
			t.Errorf("%s covers %s: %v, want %v", c.by, c.filter, got, c.want)
		}
	}
}

// Two filters overlap when there is a topic that both match.
func TestOverlap(t *testing.T) {
	var filters, topics []string
	words := []string{"a", "b", "", "$x", "+", "#"}
	for _, one := range words {
		filters = append(filters, one)
		for _, two := range words {
			filters = append(filters, one+"/"+two)
			for _, three := range words {
				filters = append(filters, one+"/"+two+"/"+three)
			}
		}
	}
	filters = slices.DeleteFunc(filters, func(f string) bool { return f == "" || strings.Contains(f, "#/") })
	for _, f := range filters {
		if !strings.ContainsAny(f, "+#") {
			topics = append(topics, f, f+"/a")
		}
	}
	for _, a := range filters {
		for _, b := range filters {
			want := slices.ContainsFunc(topics, func(topic string) bool { return covers(a, topic) && covers(b, topic) })
			if a+"/#" == b || b+"/#" == a { // by the parent, which AWS does not send and others do
				want = true
			}
			if got := overlap(a, b); got != want && !(got && strings.Count(a, "/") != strings.Count(b, "/")) {
				t.Errorf("%s and %s overlap: %v, want %v", a, b, got, want)
			}
		}
	}
	for _, c := range [][2]string{{"a", "a/b"}, {"a/+", "a"}, {"a/b/#", "a/c"}, {"+/b/c", "a/b"}} {
		if overlap(c[0], c[1]) || overlap(c[1], c[0]) {
			t.Errorf("%q overlap", c)
		}
	}
	if !overlap("$share/g/a", "b") {
		t.Error("what is shared may overlap")
	}
}

// Only what no other filter covers is subscribed to; what a refused one covers is, once
// that is known.
func TestDownlinkSubscribesToWhatIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name, filters, refused, want string
	}{
		{"all apart", "a/+ +/b c", "", "a/+ +/b c"},
		{"one in another", "cmd/+/ret cmd/#", "", "cmd/#"},
		{"in one in another", "a/b/c a/+/c a/# b", "", "a/# b"},
		{"the widest is refused", "a/b/c a/+/c a/# b", "a/#", "a/# b | a/+/c"},
		{"so is the next", "a/b/c a/+/c a/# b", "a/# a/+/c", "a/# b | a/+/c | a/b/c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := make(chan string, 10)
			s := serve(t, func(b *broker) {
				b.accept(packets.Properties{})
				for range strings.Count(c.want, "|") + 1 {
					asked <- strings.Join(b.grant(func(f string) byte {
						if slices.Contains(strings.Fields(c.refused), f) {
							return 0x87
						}
						return 1
					}), " ")
				}
				b.publish(1, "done")
				b.drain()
			})
			got, _ := run(t, quick(s.addr), strings.Fields(c.filters), upstream.Hooks{})
			receive(t, got, "the end").ack()
			var all []string
			for range strings.Count(c.want, "|") + 1 {
				all = append(all, <-asked)
			}
			if s := strings.Join(all, " | "); s != c.want {
				t.Errorf("subscribed to %q, want %q", s, c.want)
			}
		})
	}
}

// heardOf is told of each SUBACK.
type heardOf chan struct{}

func (h heardOf) Subscribing([]string, []bridge.UserProperty) func() {
	return func() { h <- struct{}{} }
}
func (heardOf) Closed() {}

// Mosquitto sends once for each subscription: what filters cover together comes once.
func TestWhatComesDownComesOnce(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	var health bridge.Health
	d, subscribed := make(chan came, 100), make(heardOf, 10)
	down := NewDownlink(quick(b.Addr), "gateway-down", []string{"cmd/+/ret", "cmd/#"}, func(m *bridge.Message, wire int, ack func()) {
		d <- came{m, wire, ack}
	}, discard(), upstream.Hooks{Raise: func(w bridge.Warning) { health.Raise(w) }, Opened: func(string) upstream.Connection { return subscribed }})
	start(t, down)
	receive(t, subscribed, "SUBACK")
	up := connect(t, quick(b.Addr), upstream.Hooks{})
	const each = 10
	for range each {
		send(t, up, delivery("cmd/a/ret", []byte("x")))
		send(t, up, delivery("cmd/a/other", []byte("x")))
	}
	send(t, up, delivery("cmd/end", []byte("x")))
	n := 0
	for m := receive(t, d, "a message"); m.m.Topic != "cmd/end"; m = receive(t, d, "a message") {
		m.ack()
		n++
	}
	if n != 2*each || len(health.Warnings()) != 0 {
		t.Errorf("%d messages came, want %d; warnings %v", n, 2*each, health.Warnings())
	}
}
