package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// refuse answers every CONNECT with a code.
func refuse(code byte, props packets.Properties) func(*broker) {
	return func(b *broker) {
		expect[*packets.Connect](b)
		b.send(&packets.Connack{ReasonCode: code, Properties: &props})
	}
}

func TestConnackRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		play   func(*broker)
		code   byte   // 0: not a RefusedError
		remedy string // part of the error
	}{
		{"bad user name or password", refuse(0x86, packets.Properties{}), 0x86, "correct username and password"},
		{"not authorized", refuse(0x87, packets.Properties{ReasonString: "no iot:Connect"}), 0x87, `let the broker's policy allow the client id "gateway"`},
		{"client id", refuse(0x85, packets.Properties{}), 0x85, "client_id"},
		{"moved", refuse(0x9D, packets.Properties{ServerReference: "there:8883"}), 0x9D, "there:8883"},
		{"unspecified", refuse(0x80, packets.Properties{}), 0x80, "broker's log"},
		{"busy", refuse(0x89, packets.Properties{}), 0, "refused for now with 0x89"},
		{"quota", refuse(0x97, packets.Properties{}), 0, "refused for now with 0x97"},
		{"rate", refuse(0x9F, packets.Properties{}), 0, "refused for now with 0x9F"},
		{"MQTT 3.1.1 only", func(b *broker) { expect[*packets.Connect](b); _, _ = b.Write([]byte{0x20, 2, 0, 1}) }, 0x01, "MQTT 5"},
		{"another protocol", func(b *broker) {
			_, _ = b.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"))
		}, 0, "instead of CONNACK"},
		{"closed without a word", func(b *broker) { expect[*packets.Connect](b) }, 0, "closed the connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.play)
			err := Check(t.Context(), quick(s.addr), "gateway", nil)
			if err == nil || !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("error %v, want %q in it", err, c.remedy)
			}
			e, ok := errors.AsType[*RefusedError](err)
			if ok != (c.code != 0) || ok && e.Code != c.code {
				t.Errorf("error %#v, want a refusal with 0x%02X", err, c.code)
			}
		})
	}
}

func TestConnectSaysWhoWeAre(t *testing.T) {
	got := make(chan *packets.Connect, 1)
	s := serve(t, func(b *broker) { got <- b.accept(packets.Properties{}); b.drain() })
	o := quick(s.addr)
	o.Username, o.Password, o.KeepAlive = "user", "secret", 45*time.Second
	connect(t, o, upstream.Hooks{})
	c := receive(t, got, "CONNECT comes")
	if c.ClientID != "gateway" || !c.CleanStart || c.Properties.SessionExpiryInterval != nil || c.KeepAlive != 45 ||
		c.Username != "user" || string(c.Password) != "secret" || c.WillFlag {
		t.Errorf("CONNECT %v", c)
	}
	if p := c.Properties; p.ReceiveMaximum == nil || *p.ReceiveMaximum != 100 || p.MaximumPacketSize == nil || *p.MaximumPacketSize != maxIncoming {
		t.Errorf("properties %v", p)
	}
}

// M04: each CONNECT is told of before it is written, whether it is answered or
// not; one that is answered is told of again.
func TestEachConnectIsToldOf(t *testing.T) {
	told := make(chan string, 10)
	s := serve(t,
		func(b *broker) { expect[*packets.Connect](b); told <- "cut" },
		func(b *broker) { b.accept(packets.Properties{}); b.drain() })
	connect(t, quick(s.addr), upstream.Hooks{
		Connecting: func(id string) { told <- "connecting " + id },
		Opened:     func(id string) upstream.Connection { told <- "opened " + id; return upstream.Hooks{}.Open(id) },
	})
	for _, want := range []string{"connecting gateway", "cut", "connecting gateway", "opened gateway"} {
		if got := receive(t, told, want); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// tells notes what a connection is told.
type tells chan string

func (c tells) Subscribing(filters []string, _ []bridge.UserProperty) func() {
	c <- fmt.Sprint("subscribing to ", filters)
	return func() { c <- "answered" }
}

func (c tells) Closed() { c <- "closed" }

// M05: so is each SUBSCRIBE, and it was counted for certain when its SUBACK has come.
func TestEachSubscribeIsToldOf(t *testing.T) {
	told := make(tells, 10)
	s := serve(t,
		func(b *broker) { b.accept(packets.Properties{}); expect[*packets.Subscribe](b) },
		func(b *broker) { b.accept(packets.Properties{}); b.grant(granted); b.drain() })
	_, stop := run(t, quick(s.addr), []string{"cmd/#"}, upstream.Hooks{Opened: func(string) upstream.Connection { return told }})
	for _, want := range []string{"subscribing to [cmd/#]", "closed", "subscribing to [cmd/#]", "answered"} {
		if got := receive(t, told, want); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	stop()
}

func TestRefusalsAreWarnedOfAndTriedAgain(t *testing.T) {
	raised := make(chan bridge.Warning, 100)
	var health bridge.Health
	next := make(chan struct{})
	wait := func(play func(*broker)) func(*broker) {
		return func(b *broker) { <-next; play(b) }
	}
	s := serve(t, wait(refuse(0x86, packets.Properties{})), wait(refuse(0x89, packets.Properties{})), func(b *broker) {
		b.accept(packets.Properties{})
		b.drain()
	})
	u := NewUplink(quick(s.addr), "gateway", discard(), upstream.Hooks{
		Raise: func(w bridge.Warning) { health.Raise(w); raised <- w },
		Clear: func(code string) { health.Clear(code) },
	})
	link := make(chan bridge.Link)
	go func() {
		l, err := u.Connect(t.Context())
		if err != nil {
			t.Error(err)
		}
		link <- l
	}()
	next <- struct{}{}
	if w := receive(t, raised, "a warning"); w.Code != "uplink-refused" || w.Severity != bridge.Critical || !strings.Contains(w.Text, "username and password") {
		t.Errorf("warning %+v", w)
	}
	next <- struct{}{}
	if w := receive(t, raised, "a warning"); w.Code != "uplink-down" || w.Severity != bridge.Degraded {
		t.Errorf("warning %+v", w)
	}
	if u.Rest(); len(health.Warnings()) != 0 {
		t.Errorf("warnings of one that nobody asks for: %v", health.Warnings())
	}
	l := receive(t, link, "a link")
	if w := health.Warnings(); len(w) != 0 {
		t.Errorf("warnings while up: %v", w)
	}
	if st := u.Status(); !st.Up || st.Connects != 1 || st.Err != nil {
		t.Errorf("status %+v", st)
	}
	_ = l.Close()
	receive(t, l.Done(), "the link goes down")
	if st := u.Status(); st.Up {
		t.Errorf("status after close %+v", st)
	}
	if w := health.Warnings(); len(w) != 0 {
		t.Errorf("warnings after our own close: %v", w)
	}
}

func TestTakeOverIsWarnedOf(t *testing.T) {
	raised := make(chan bridge.Warning, 100)
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.send(&packets.Disconnect{ReasonCode: 0x8E, Properties: &packets.Properties{}})
	})
	l := connect(t, quick(s.addr), upstream.Hooks{Raise: func(w bridge.Warning) { raised <- w }})
	receive(t, l.Done(), "the link goes down")
	receive(t, raised, "uplink-down")
	if w := receive(t, raised, "a warning"); w.Code != "uplink-taken-over" || !strings.Contains(w.Text, `"gateway"`) {
		t.Errorf("warning %+v", w)
	}
}

func TestAttemptsEndInTime(t *testing.T) {
	s := serve(t, (*broker).drain) // takes the CONNECT and says nothing
	o := quick(s.addr)
	o.ConnectTimeout = 100 * time.Millisecond
	if err := Check(t.Context(), o, "gateway", nil); err == nil || !strings.Contains(err.Error(), "no CONNACK within") {
		t.Errorf("error %v", err)
	}
	o.ConnectTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Check(ctx, o, "gateway", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// Who ends while it tries a new certificate leaves that to the others.
func TestWhoEndsTriesNothing(t *testing.T) {
	u, gate := NewUplink(quick("127.0.0.1:1"), "gateway", discard(), upstream.Hooks{}), upstream.NewGate()
	u.Share(upstream.Shared{Gate: gate})
	if !gate.MayTry("gateway.crt", upstream.Pair{}, &u.dialer) || gate.MayTry("gateway.crt", upstream.Pair{}, t) {
		t.Fatal("it does not try")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.Connect(ctx); err == nil {
		t.Error("it connects")
	}
	if !gate.MayTry("gateway.crt", upstream.Pair{}, t) {
		t.Error("nobody else may try")
	}
}
