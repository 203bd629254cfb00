package localbroker

import (
	"fmt"
	"strings"
	"testing"
)

// TestFilterSize: deep filters, which cost much more memory than bytes on the
// wire, are refused above the bounds of a session and of all sessions, and what
// was refused or removed costs nothing.
func TestFilterSize(t *testing.T) {
	const levels = 100
	const size = 110 << 10 // of three such filters
	deep := func(i int) string { return fmt.Sprint(i) + strings.Repeat("/a", levels-1) }
	session, all := plain(profileMQTT), plain(profileMQTT)
	session.Limits.Subscriptions = size
	for name, l := range map[string]ListenerOptions{"session": session, "all": all} {
		t.Run(name, func(t *testing.T) {
			h := openOptions(t, people{}, func(*Deps) {}, func(o *Options) {
				if name == "all" {
					o.Broker.Subscriptions = size
				}
			}, l)
			d := h.join(5, "d")
			if got := d.subscribe(1, deep(1), deep(2), deep(3), deep(4), deep(1)); string(got) != "\x01\x01\x01\x97\x01" {
				t.Errorf("SUBACK % x", got)
			}
			s := h.sessions.find("d")
			for i := range 4 {
				s.unsubscribe(deep(i + 1))
			}
			if h.indexSize() != 0 || s.filters != 0 {
				t.Errorf("%d and %d bytes of nothing", h.indexSize(), s.filters)
			}
			if got := d.subscribe(1, deep(4)); got[0] != 1 {
				t.Errorf("SUBACK % x", got)
			}
			h.leave(d, "d")
			eventually(t, "nothing is left", func() bool { return h.indexSize() == 0 })
		})
	}
}

func (h *house) indexSize() int64 {
	h.index.mu.RLock()
	defer h.index.mu.RUnlock()
	return h.index.size
}

// TestFilterSizeInCommon: levels that filters have in common count once for all
// sessions.
func TestFilterSizeInCommon(t *testing.T) {
	var x index
	f, other := filter{text: "a/b/c", topic: "a/b/c"}, filter{text: "d/b/c", topic: "d/b/c"}
	bounds := subscriptionBounds{size: f.cost() + f.own()}
	for i, test := range []struct {
		filter
		want bool
	}{{f, true}, {other, false}, {f, true}, {f, false}} {
		if ok := x.tryAdd(&subscription{session: &session{}, filter: test.filter}, bounds); ok != test.want {
			t.Errorf("%d: %v", i, ok)
		}
	}
}

// TestLevelsOfPlainMQTT: a topic has as many levels as Mosquitto takes.
func TestLevelsOfPlainMQTT(t *testing.T) {
	p := profileOf(DefaultListenerOf(profileMQTT))
	for n, ok := range map[int]bool{200: true, 201: false} {
		topic := strings.Repeat("/", n-1)
		if err := p.topicName(topic); (err == nil) != ok {
			t.Errorf("%d levels: %v", n, err)
		}
		if _, err := p.parseFilter(topic); (err == nil) != ok {
			t.Errorf("%d levels: %v", n, err)
		}
	}
}
