package localbroker

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestConnack is B14, B15, B21, B34-B36, B43 and B44 on the wire.
func TestConnack(t *testing.T) {
	t.Run("v3.1.1", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		d := dial(t, h.addr(), 4)
		ack := d.connect("d")
		if ack.ReasonCode != 0 || ack.SessionPresent || ack.FixedHeader.Remaining != 2 {
			t.Errorf("CONNACK %+v", ack)
		}
	})
	t.Run("v5 in profile aws", func(t *testing.T) {
		h := open(t, people{}, plain(profileAWS))
		got := dial(t, h.addr(), 5).connect("d", func(pk *packets.Packet) { pk.Connect.Keepalive = 5 }).Properties
		want := packets.Properties{
			ReceiveMaximum: 100, MaximumQosFlag: true, MaximumQos: 1, RetainAvailableFlag: true, RetainAvailable: 1,
			MaximumPacketSize: 149504, TopicAliasMaximum: 8,
			WildcardSubAvailableFlag: true, WildcardSubAvailable: 1, SubIDAvailableFlag: true,
			SharedSubAvailableFlag: true, SharedSubAvailable: 1, ServerKeepAliveFlag: true, ServerKeepAlive: 30,
		}
		if !sameProperties(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
	t.Run("v5 in profile mqtt", func(t *testing.T) {
		h := open(t, people{}, plain(profileMQTT))
		got := dial(t, h.addr(), 5).connect("", persistent(7*24*3600)).Properties
		if got.ServerKeepAliveFlag || got.SubIDAvailableFlag || got.MaximumQosFlag {
			t.Errorf("got %+v", got)
		}
		if got.AssignedClientID == "" {
			t.Error("no Assigned Client Identifier")
		}
		if !got.SessionExpiryIntervalFlag || got.SessionExpiryInterval != 24*3600 {
			t.Errorf("session expiry %d, want a day", got.SessionExpiryInterval)
		}
	})
}

func sameProperties(a, b packets.Properties) bool {
	return a.ReceiveMaximum == b.ReceiveMaximum && a.MaximumQosFlag == b.MaximumQosFlag && a.MaximumQos == b.MaximumQos &&
		a.RetainAvailableFlag == b.RetainAvailableFlag && a.RetainAvailable == b.RetainAvailable &&
		a.MaximumPacketSize == b.MaximumPacketSize && a.TopicAliasMaximum == b.TopicAliasMaximum &&
		a.WildcardSubAvailable == b.WildcardSubAvailable && a.SubIDAvailableFlag == b.SubIDAvailableFlag && a.SubIDAvailable == b.SubIDAvailable &&
		a.SharedSubAvailable == b.SharedSubAvailable && a.ServerKeepAlive == b.ServerKeepAlive &&
		a.SessionExpiryIntervalFlag == b.SessionExpiryIntervalFlag && a.AssignedClientID == b.AssignedClientID
}

// TestKeepAlive: the clamp of AWS, and no overflow above 43,690 s (M18).
func TestKeepAlive(t *testing.T) {
	aws, mqtt := profiles()[profileAWSEdge], profiles()[profileMQTT]
	for _, tt := range []struct {
		asked     uint16
		aws, mqtt time.Duration
	}{
		{0, 1200 * time.Second, 0},
		{1, 30 * time.Second, time.Second},
		{29, 30 * time.Second, 29 * time.Second},
		{30, 30 * time.Second, 30 * time.Second},
		{1200, 1200 * time.Second, 1200 * time.Second},
		{65535, 1200 * time.Second, 65535 * time.Second},
	} {
		if got := aws.keepAlive(tt.asked); got != tt.aws {
			t.Errorf("aws, %d: %v", tt.asked, got)
		}
		if got := mqtt.keepAlive(tt.asked); got != tt.mqtt {
			t.Errorf("mqtt, %d: %v", tt.asked, got)
		}
	}
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	w := wire{Conn: here}
	if err := w.keepAlive(65535 * time.Second); err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(w.silence.limit.Load()); got != 98302500*time.Millisecond {
		t.Errorf("closed after %v, want 1.5 times the keep-alive", got)
	}
}

func TestKeepAliveTimeout(t *testing.T) {
	h := open(t, people{}, plain(profileMQTT))
	d := h.join(5, "d", func(pk *packets.Packet) { pk.Connect.Keepalive = 1 })
	began := time.Now()
	d.expectGoodbye(0x8D)
	if passed := time.Since(began); passed < 1400*time.Millisecond || passed > 3*time.Second {
		t.Errorf("closed after %v, want 1.5 s", passed)
	}
}

// TestConnectRefused: what a refused CONNECT sees, 0 being a close without
// CONNACK.
func TestConnectRefused(t *testing.T) {
	will := func(topic string, qos byte) func(*packets.Packet) {
		return func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillQos, pk.Connect.WillPayload = true, topic, qos, []byte("w")
		}
	}
	tests := []struct {
		name   string
		id     string
		change func(*packets.Packet)
		deny   string
		v5, v3 byte
	}{
		{name: "policy (B25)", id: "d", deny: "iot:Connect d", v5: 0x87, v3: 5},
		{name: "client id of 129 bytes (B20)", id: strings.Repeat("x", 129), v5: 0x85, v3: 2},
		{name: "will denied (B27)", id: "d", change: will("w", 1), deny: "iot:Publish w", v5: 0x87, v3: 5},
		{name: "retained will denied", id: "d", change: func(pk *packets.Packet) { will("w", 1)(pk); pk.Connect.WillRetain = true }, deny: "iot:RetainPublish w", v5: 0x87, v3: 5},
		{name: "will QoS 2 (B29, B30)", id: "d", change: will("w", 2), v5: 0x9B, v3: 0},
		{name: "will to a wildcard (B28)", id: "d", change: will("w/#", 1), v5: 0x90, v3: 0},
		{name: "will to a reserved topic (B172)", id: "d", change: will("$SYS/x", 1), v5: 0x90, v3: 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, version byte) {
				h := open(t, people{}, plain(profileAWSEdge))
				h.rules.deny(tt.deny)
				d := dial(t, h.addr(), version)
				pk := hello(version, tt.id)
				if tt.change != nil {
					tt.change(&pk)
				}
				d.send(pk)
				want := tt.v3
				if version == 5 {
					want = tt.v5
				}
				if want != 0 {
					if got := d.expect(packets.Connack).ReasonCode; got != want {
						t.Errorf("CONNACK %#x, want %#x", got, want)
					}
				}
				d.expectEnd()
				if len(h.Sessions()) != 0 {
					t.Error("a session was left behind")
				}
				receive(t, "the callback", h.no)
			})
		})
	}
}

func TestConnectRefusedByForm(t *testing.T) {
	tests := []struct {
		name    string
		version byte
		change  func(*packets.Packet)
		want    byte
	}{
		{"enhanced authentication (B47)", 5, func(pk *packets.Packet) { pk.Properties.AuthenticationMethod = "SCRAM" }, 0x8C},
		{"Maximum Packet Size 100 (B40)", 5, func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 100 }, 0x80},
		{"no client id, not clean (B22)", 4, func(pk *packets.Packet) { pk.Connect.ClientIdentifier, pk.Connect.Clean = "", false }, 2},
		{"MQTT 3.1 (B16)", 3, func(pk *packets.Packet) { pk.Connect.ProtocolName = []byte("MQIsdp") }, 1},
		{"protocol level 9", 9, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t, people{}, plain(profileAWS))
			d := dial(t, h.addr(), tt.version)
			pk := hello(tt.version, "d")
			if tt.change != nil {
				tt.change(&pk)
			}
			d.send(pk)
			if got := d.expect(packets.Connack).ReasonCode; got != tt.want {
				t.Errorf("CONNACK %#x, want %#x", got, tt.want)
			}
			d.expectEnd()
		})
	}
}

// TestConnectAsks: the policy is asked about persistence and will.
func TestConnectAsks(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.join(5, "d", persistent(60), func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic = true, "w"
		pk.Connect.WillPayload = []byte{1}
	})
	h.rules.mu.Lock()
	defer h.rules.mu.Unlock()
	want := bridge.Request{Action: bridge.ActionConnect, Name: "d", Persistent: true, Will: true, WillTopic: "w"}
	if !slices.Contains(h.rules.asked, want) {
		t.Errorf("asked %+v", h.rules.asked)
	}
}

// TestHalfOpen: a socket that does not complete its CONNECT in time is closed.
func TestHalfOpen(t *testing.T) {
	o := plain(profileAWS)
	o.Limits.ConnectTimeout = 100 * time.Millisecond
	for name, bytes := range map[string]string{"nothing": "", "half a CONNECT": "\x10\x20\x00\x04MQ"} {
		t.Run(name, func(t *testing.T) {
			h := open(t, people{}, o)
			conn, err := net.Dial("tcp", h.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(bytes)); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("the socket is not closed: %v", err)
			}
			if why := receive(t, "the callback", h.no); why != "connect-timeout" {
				t.Errorf("reason %q", why)
			}
		})
	}
}

// TestConnectionCount: above the limit v5 is told 0x97 (B31), v3 3, where AWS
// would say nothing (B32); far above it the oldest socket that has said nothing
// makes room.
func TestConnectionCount(t *testing.T) {
	o := plain(profileAWSEdge)
	o.Limits.Connections = 1
	h := open(t, people{}, o)
	h.join(4, "first")
	for version, want := range map[byte]byte{5: 0x97, 4: 3} {
		d := dial(t, h.addr(), version)
		if got := d.connect("more").ReasonCode; got != want {
			t.Errorf("version %d: CONNACK %#x, want %#x", version, got, want)
		}
		d.expectEnd()
	}
	eventually(t, "room", func() bool { return h.Status().Sockets == 1 })
	for range 16 {
		dial(t, h.addr(), 4)
	}
	eventually(t, "a socket too many", func() bool {
		dial(t, h.addr(), 4)
		select {
		case why := <-h.no:
			return why == "unfinished-count"
		default:
			return false
		}
	})
}

// TestGreetingsBound: the CONNECTs under way share a bound of memory, taken
// from their headers and given back.
func TestGreetingsBound(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	header := []byte{0x10, 0x80, 0x80, 0x09, 0} // announces 147,456 bytes
	var open []*device
	for range greetings / 147_456 {
		d := dial(t, h.addr(), 5)
		_, _ = d.Write(header)
		open = append(open, d)
	}
	eventually(t, "the bound", func() bool { return h.greetings.Load() > greetings-147_460 })
	d := dial(t, h.addr(), 5)
	_, _ = d.Write(header)
	d.expectEnd()
	if why := receive(t, "the callback", h.no); why != "connect-memory" {
		t.Errorf("reason %q", why)
	}
	h.join(5, "a small one still comes in")
	for _, d := range open {
		_ = d.Close()
	}
	eventually(t, "all of it back", func() bool { return h.greetings.Load() == 0 })
}

// TestStop: v5 devices are told 0x8B (B187), v3 devices are closed, half-open
// ones too, and Run returns.
func TestStop(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	v5, v3 := h.join(5, "five"), h.join(4, "three")
	half := dial(t, h.addr(), 4)
	eventually(t, "three sockets", func() bool { return h.Status().Sockets == 3 })
	h.stop()
	v5.expectGoodbye(0x8B)
	v3.expectEnd()
	half.expectEnd()
	if _, err := net.DialTimeout("tcp", h.addr(), time.Second); err == nil {
		t.Error("the address is still open")
	}
}

// TestPanicClosesOneConnection: a bug behind one connection does not reach the
// others.
func TestPanicClosesOneConnection(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	bad, good := h.join(5, "bad"), h.join(5, "good")
	if _, err := bad.Write([]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}); err != nil {
		t.Fatal(err)
	}
	bad.expectGoodbye(0x81) // mochi's SUBSCRIBE decoder indexes past a truncated packet
	good.expectNothing()
	h.walk.setStep(func(*bridge.Message, func(error)) { panic("in the walk") })
	third := h.join(5, "third")
	third.send(publish(1, "t", "x"))
	third.expect(packets.Disconnect)
	third.expectEnd()
	good.expectNothing()
	eventually(t, "the sessions' end", func() bool { return len(h.Sessions()) == 1 })
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := plain(profileAWS)
	o.Address = taken.Addr().String()
	b, err := New(Options{Listeners: []ListenerOptions{o}}, Deps{Log: nolog()})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Listen()
	if bridge.KindOf(err) != bridge.Unavailable || !strings.Contains(err.Error(), "in use by another process: stop it") {
		t.Errorf("err %v", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Error("more than one line")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Error(err)
	}
}
