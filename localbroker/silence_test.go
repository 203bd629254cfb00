package localbroker

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// logged is a log that a test reads.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

// TestSilentCloses: why MQTT 3.1.1 is closed without a word (B186) is counted
// and logged as MQTT 5 would have been told. MQTT 5 is told, and not counted.
func TestSilentCloses(t *testing.T) {
	tests := []struct {
		reason, said string
		act          func(h *house, version byte)
	}{
		{"not-authorized", "DISCONNECT 0x87", func(h *house, v byte) {
			h.rules.deny("iot:Publish t")
			h.join(v, "d").send(publish(0, "t", "x")) // B86
		}},
		{"topic-invalid", "DISCONNECT 0x90", func(h *house, v byte) {
			h.join(v, "d").send(publish(0, strings.Repeat("x/", 8), "x")) // B81
		}},
		{"too-large", "DISCONNECT 0x97", func(h *house, v byte) {
			d := h.join(v, "d")
			_, _ = d.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}) // B84
		}},
		{"protocol-error", "DISCONNECT 0x82", func(h *house, v byte) { h.join(v, "d").send(hello(v, "d")) }}, // B18
		{"taken-over", "DISCONNECT 0x8E", func(h *house, v byte) { h.join(v, "d"); h.join(v, "d") }},         // B19
		{"filter-count", "DISCONNECT 0x97", func(h *house, v byte) { // B125
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1}
			for range 9 {
				pk.Filters = append(pk.Filters, packets.Subscription{Filter: "a"})
			}
			h.join(v, "d").send(pk)
		}},
		{"connection-count", "CONNACK 0x97", func(h *house, v byte) { // B32
			o := h.listeners[0].settings.Load().ListenerOptions
			o.Limits.Connections = 1
			if err := h.Reload(Options{Listeners: []ListenerOptions{o}}); err != nil {
				h.tb.Fatal(err)
			}
			h.join(v, "first")
			d := dial(h.tb, h.addr(), v)
			d.send(hello(v, "second"))
			_, _ = d.read()
		}},
		{"will-qos", "CONNACK 0x9B", func(h *house, v byte) { // B30
			pk := hello(v, "d")
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillQos = true, "w", []byte("x"), 2
			d := dial(h.tb, h.addr(), v)
			d.send(pk)
			_, _ = d.read()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				log := &logged{}
				h := openWith(t, people{}, func(d *Deps) { d.Log = slog.New(slog.NewTextHandler(log, nil)) }, plain(profileAWS))
				tt.act(h, version)
				line := `mqtt5_would_say="` + tt.said + `"`
				if version == 5 {
					h.stop()
					if got := h.Status().SilentCloses; len(got) != 0 || log.has(line) {
						t.Errorf("counted %+v", got)
					}
					return
				}
				eventually(t, "it is counted and logged", func() bool {
					got := h.Status().SilentCloses
					return len(got) == 1 && got[0].Reason == tt.reason && got[0].Said() == tt.said && got[0].Count == 1 && log.has(line)
				})
			})
		})
	}
	t.Run("a filter of a reserved topic", func(t *testing.T) { // B132; v5 has it in the SUBACK
		h := open(t, people{}, plain(profileAWS))
		h.join(4, "d").send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "$SYS/#"}}})
		eventually(t, "it is counted", func() bool {
			got := h.Status().SilentCloses
			return len(got) == 1 && got[0].Reason == "reserved-filter" && got[0].Code == 0x8F
		})
	})
	t.Run("an end that nobody would be told of", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		d := h.join(4, "d")
		h.leave(d, "d")
		receive(t, "the end", h.ended)
		if got := h.Status().SilentCloses; len(got) != 0 {
			t.Errorf("counted %+v", got)
		}
	})
}
