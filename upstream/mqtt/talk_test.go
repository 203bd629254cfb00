package mqtt

import (
	"context"
	"slices"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// converse starts a conversation and waits until something can be asked.
func converse(t *testing.T, s *script, heard Handler) *Talk {
	t.Helper()
	talk := NewTalk(quick(s.addr), "files", "gateway-files", []string{"$file-response/gateway-files"}, heard, discard(), upstream.Hooks{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- talk.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := receive(t, done, "Run ends"); err != nil {
			t.Error(err)
		}
	})
	await(t, "it is up", talk.Up)
	return talk
}

// A conversation sends at QoS 1, as large as the broker takes it, and tells each
// outcome; what the other side says meanwhile it hears.
func TestTalkSends(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{MaximumPacketSize: of(uint32(1000))})
		b.grant(granted)
		for _, code := range []byte{0, 0x97} {
			p := expect[*packets.Publish](b)
			if p == nil {
				return
			}
			if p.QoS != 1 || p.Properties.ResponseTopic != "$file-response/gateway-files" || string(p.Properties.CorrelationData) != "n" {
				t.Errorf("%v", p)
			}
			b.send(&packets.Puback{PacketID: p.PacketID, ReasonCode: code, Properties: &packets.Properties{}})
			b.publish(9, "$file-response/gateway-files")
			if a := expect[*packets.Puback](b); a == nil || a.PacketID != 9 {
				t.Errorf("acknowledged %v", a)
			}
		}
		if expect[*packets.Publish](b) != nil {
			_ = b.Close()
		}
	})
	heard := make(chan string, 2)
	talk := converse(t, s, func(m *bridge.Message, _ int, ack func()) {
		ack() // before the next is asked for
		heard <- m.Topic
	})
	if talk.Largest() != 1000 || talk.ClientID() != "gateway-files" || !talk.Status().Up {
		t.Errorf("%d, %s, %+v", talk.Largest(), talk.ClientID(), talk.Status())
	}
	down := talk.Down()
	ask := func(size int) bridge.Outcome {
		t.Helper()
		outcome := make(chan bridge.Outcome, 1)
		m := &bridge.Message{Topic: "$file/x/0", Payload: make([]byte, size), Properties: bridge.Properties{ResponseTopic: "$file-response/gateway-files", CorrelationData: []byte("n")}}
		if err := talk.Send(t.Context(), m, func(o bridge.Outcome) { outcome <- o }); err != nil {
			t.Fatal(err)
		}
		return receive(t, outcome, "the outcome comes")
	}
	for _, want := range []bridge.Outcome{{Result: bridge.ResultAcked}, {Result: bridge.ResultRetry, Code: 0x97}} {
		if got := ask(10); got.Result != want.Result || got.Code != want.Code || got.Wire == 0 {
			t.Errorf("%+v, want %+v", got, want)
		}
		receive(t, heard, "the response")
	}
	if got := ask(1000); got.Result != bridge.ResultRefused || got.Wire != 0 {
		t.Errorf("too large: %+v", got)
	}
	if got := ask(10); got.Result != bridge.ResultLost {
		t.Errorf("the connection ended: %+v", got)
	}
	receive(t, down, "it is down")
}

// Without a connection nothing can be asked.
func TestTalkWithoutAConnection(t *testing.T) {
	talk := NewTalk(quick("127.0.0.1:1"), "files", "gateway-files", nil, nil, discard(), upstream.Hooks{})
	if err := talk.Send(t.Context(), &bridge.Message{Topic: "x"}, func(bridge.Outcome) { t.Error("an outcome") }); err != ErrNotConnected { //nolint:errorlint // as it is
		t.Error(err)
	}
	if talk.Down() != nil || talk.Largest() != 0 || talk.Up() {
		t.Error("there is something")
	}
}

// What is refused to a conversation is told under its own name: one whose filters are
// granted says nothing of those that come down.
func TestRefusedFiltersOfATalkAreItsOwn(t *testing.T) {
	s := serve(t, func(b *broker) {
		b.accept(packets.Properties{})
		b.grant(func(string) byte { return 0x87 })
		b.drain()
	})
	var health bridge.Health
	talk := NewTalk(quick(s.addr), "files", "gateway-files", []string{"$file-response/gateway-files"}, func(*bridge.Message, int, func()) {}, discard(), upstream.Hooks{
		Raise: func(w bridge.Warning) { health.Raise(w) },
		Clear: func(code string) { health.Clear(code) },
	})
	health.Raise(bridge.Warning{Code: "downlink-filters-refused"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- talk.Run(ctx) }()
	await(t, "the refusal is told", func() bool { return len(health.Warnings()) == 2 })
	if !slices.ContainsFunc(health.Warnings(), func(w bridge.Warning) bool { return w.Code == "files-filters-refused" }) {
		t.Errorf("warnings %v", health.Warnings())
	}
	cancel()
	if err := receive(t, done, "Run ends"); err != nil {
		t.Error(err)
	}
	if w := health.Warnings(); len(w) != 1 || w[0].Code != "downlink-filters-refused" {
		t.Errorf("warnings %v", w)
	}
}
