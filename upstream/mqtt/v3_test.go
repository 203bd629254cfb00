package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	v3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/upstreamtest"
)

func TestConformanceIn311(t *testing.T) {
	t.Parallel()
	upstreamtest.Conformance(t, func(t *testing.T, limits upstream.Limits) upstreamtest.Peer {
		b := peers.Mosquitto(t, peers.MosquittoOptions{})
		p := peers.NewProxy(t, b.Addr)
		o := quick(p.Addr)
		o.Protocol, o.Limits = protocol311, limits
		return upstreamtest.Peer{
			Sender:  NewUplink(o, "gateway", discard(), upstream.Hooks{}),
			Arrived: subscribe(t, b.Addr, "dt/#").payloads,
			Hold:    p.BlackHole, Release: p.Restore, Cut: p.Reset,
		}
	})
}

// What travels in 3.1.1 is topic, payload, QoS and retain; the bytes are counted.
func TestAMessageIn311(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	s := subscribe(t, b.Addr, "up/#")
	o := quick(b.Addr)
	o.Protocol = protocol311
	d := delivery("dt/x", []byte("hello"), func(r *bridge.Record) {
		r.Properties = bridge.Properties{ContentType: "text/plain", HasExpiry: true, Expiry: 60}
		r.Receivers[0].Topic, r.Receivers[0].Origin = "up/x", bridge.OriginNone
	})
	if out := send(t, connect(t, o, upstream.Hooks{}), d); out.Result != bridge.ResultAcked || out.Wire != 2+2+4+2+5+4 {
		t.Errorf("outcome %+v", out)
	}
	await(t, "it arrives", func() bool { return len(s.arrived()) == 1 })
	if p := s.arrived()[0]; p.Topic != "up/x" || string(p.Payload) != "hello" || p.QoS != 1 || len(p.Properties.User) != 0 || p.Properties.ContentType != "" {
		t.Errorf("arrived as %v", p)
	}
}

// hello reads a CONNECT of any version and returns its protocol level.
func (b *broker) hello() byte {
	f := frames{r: bufio.NewReader(b)}
	_, body, _, err := f.next()
	if err != nil || len(body) < 7 {
		return 0
	}
	return body[6]
}

// A broker that hears 3.1.1 only, as old ones do: it answers in its own form.
func TestAutoFindsTheProtocol(t *testing.T) {
	only := func(level byte, refuse func(*broker)) func(*broker) {
		return func(b *broker) {
			if hello := b.hello(); hello != level {
				refuse(b)
				return
			}
			_, _ = b.Write([]byte{0x20, 2, 0, 0})
			b.drain()
		}
	}
	for name, refuse := range map[string]func(*broker){
		"it says so":     func(b *broker) { _, _ = b.Write([]byte{0x20, 2, 0, 1}) },
		"it hangs up":    func(*broker) {},
		"it knows of 5":  func(b *broker) { b.send(&packets.Connack{ReasonCode: 0x84, Properties: &packets.Properties{}}) },
		"it is confused": func(b *broker) { _, _ = b.Write([]byte{0xD0, 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, only(level311, refuse))
			o := quick(s.addr)
			if err := Check(t.Context(), o, "gateway", nil); err == nil {
				t.Error("protocol 5 is let in")
			}
			o.Protocol = protocolAuto
			l := connect(t, o, upstream.Hooks{})
			if !l.(eager).Link.(*link).c.server.v3 {
				t.Error("it speaks MQTT 5")
			}
		})
	}
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	o := quick(b.Addr)
	o.Protocol = protocolAuto
	if l := connect(t, o, upstream.Hooks{}); l.(eager).Link.(*link).c.server.v3 {
		t.Error("auto speaks 3.1.1 to a broker that speaks 5")
	}
}

func TestRefusalsIn311(t *testing.T) {
	for code, want := range map[byte]string{1: "protocol", 2: "client_id", 4: "username and password", 5: "iot:Connect", 9: "broker's log"} {
		s := serve(t, func(b *broker) {
			if _, err := v3.ReadPacket(b); err == nil {
				_, _ = b.Write([]byte{0x20, 2, 0, code})
			}
		})
		o := quick(s.addr)
		o.Protocol = protocol311
		err := Check(t.Context(), o, "gateway", nil)
		if e, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(e.Remedy, want) {
			t.Errorf("%d: %v, want %q in the remedy", code, err, want)
		}
	}
}

// The downlink in 3.1.1: a kept session, acknowledged by hand.
func TestDownlinkIn311(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	o := quick(b.Addr)
	o.Protocol = protocol311
	got, stop := run(t, o, []string{"cmd/#"}, upstream.Hooks{})
	up := connect(t, quick(b.Addr), upstream.Hooks{})
	await(t, "it is subscribed", func() bool {
		send(t, up, delivery("cmd/x", []byte("do")))
		return len(got) > 0
	})
	c := receive(t, got, "the command comes")
	if c.m.Topic != "cmd/x" || string(c.m.Payload) != "do" || c.m.QoS != 1 || c.wire == 0 {
		t.Errorf("came as %+v, %d bytes", c.m, c.wire)
	}
	c.ack()
	stop()
}

// An empty payload is one, with which a retained message is cleared: what comes behind it
// comes, too.
func TestEmptyMessagesIn311(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	o := quick(b.Addr)
	o.Protocol = protocol311
	up := connect(t, quick(b.Addr), upstream.Hooks{})
	got, stop := run(t, o, []string{"cmd/#"}, upstream.Hooks{})
	await(t, "it is subscribed", func() bool {
		send(t, up, delivery("cmd/first", []byte("do")))
		return len(got) > 0
	})
	want := []string{"cmd/empty at QoS 1 ", "cmd/empty at QoS 0 ", "cmd/state at QoS 1 on", "cmd/state at QoS 1 ", "cmd/last at QoS 1 do"}
	send(t, up, delivery("cmd/empty", nil))
	send(t, up, delivery("cmd/empty", nil, func(r *bridge.Record) { r.Receivers[0].QoS = 0 }))
	retained := func(r *bridge.Record) { r.Receivers[0].Retain = true }
	send(t, up, delivery("cmd/state", []byte("on"), retained))
	send(t, up, delivery("cmd/state", nil, retained))
	send(t, up, delivery("cmd/last", []byte("do")))
	var came []string
	for len(came) < len(want) {
		c := receive(t, got, "a message comes")
		c.ack()
		if c.m.Topic != "cmd/first" {
			came = append(came, fmt.Sprintf("%s at QoS %d %s", c.m.Topic, c.m.QoS, c.m.Payload))
		}
	}
	if !slices.Equal(came, want) {
		t.Errorf("%q, want %q", came, want)
	}
	stop()
}

func TestWhatMakesNoSenseIn311(t *testing.T) {
	for name, in := range map[string][]byte{
		"QoS 3":              {0x36, 0, 1, 'a', 0, 1},
		"no topic":           {0x30},
		"a topic cut short":  {0x30, 0, 9, 'a'},
		"an unknown packet":  {0x00},
		"a DISCONNECT":       {0xE0},
		"a client's CONNECT": {0x10, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 1, 0, 0},
	} {
		if p, err := decode3(in[0], in[1:]); err == nil {
			t.Errorf("%s is %v", name, p)
		}
	}
}
