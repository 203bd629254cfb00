package mqtt

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// TestDownlinkBearsABrokerThatSendsTooMuch: what comes beyond the 100 (Q09) that
// we announced waits in the network, for as long as it takes, and so does the
// SUBACK behind it; the connection lives on, and nothing beyond is in memory.
func TestDownlinkBearsABrokerThatSendsTooMuch(t *testing.T) {
	const messages = 350
	synctest.Test(t, func(t *testing.T) {
		acks := make(chan uint16, messages)
		subscribed := make(chan struct{})
		var log bytes.Buffer // read when all has ended
		var health bridge.Health
		var mu sync.Mutex
		var got []came
		count := func() int { mu.Lock(); defer mu.Unlock(); return len(got) }
		d := NewDownlink(quick("pipe"), "gateway-down", []string{"cmd/#"}, func(m *bridge.Message, wire int, ack func()) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, came{m, wire, ack})
		}, slog.New(slog.NewTextHandler(&log, nil)), upstream.Hooks{
			Raise: func(w bridge.Warning) { health.Raise(w) },
		})
		piped(t, &d.dialer, func(b *broker) {
			b.accept(packets.Properties{})
			s := expect[*packets.Subscribe](b)
			var writing sync.WaitGroup
			defer writing.Wait()
			out := make(chan packets.Packet, 2*messages)
			defer close(out)
			writing.Go(func() {
				for p := range out {
					b.send(p)
				}
			})
			for id := range uint16(messages) {
				out <- &packets.Publish{Topic: fmt.Sprint("cmd/", id+1), QoS: 1, PacketID: id + 1, Properties: &packets.Properties{}}
			}
			out <- &packets.Suback{PacketID: s.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}}
			for cp := b.next(); cp != nil; cp = b.next() {
				switch p := cp.Content.(type) {
				case *packets.Pingreq:
					out <- &packets.Pingresp{}
				case *packets.Puback:
					if acks <- p.PacketID; p.PacketID == messages {
						close(subscribed)
					}
				}
			}
		})
		stop := peers.Run(t, d.Run)
		for taken := 0; taken < messages; taken += receiveMaximum {
			time.Sleep(time.Hour) // many times keep_alive and ack_timeout
			if n, want := count(), min(taken+receiveMaximum, messages); n != want {
				t.Fatalf("%d messages are in memory or were, want %d", n, want)
			}
			for i := taken; i < min(taken+receiveMaximum, messages); i++ {
				mu.Lock()
				m := got[i]
				mu.Unlock()
				if want := fmt.Sprint("cmd/", i+1); m.m.Topic != want {
					t.Fatalf("got %s, want %s", m.m.Topic, want)
				}
				m.ack()
			}
		}
		<-subscribed
		time.Sleep(time.Hour)
		if st := d.Status(); !st.Up || st.Connects != 1 || len(health.Warnings()) != 0 {
			t.Errorf("%+v, warnings %v", st, health.Warnings())
		}
		if n := len(acks); n != messages {
			t.Errorf("%d acknowledged", n)
		}
		stop()
		if n := strings.Count(log.String(), "more unacknowledged messages than our Receive Maximum"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
	})
}

// TestStandingReaderEndsWithItsDownlink: a reader that waits for room does not
// keep the downlink from ending.
func TestStandingReaderEndsWithItsDownlink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDownlink(quick("pipe"), "gateway-down", []string{"cmd/#"}, func(*bridge.Message, int, func()) {}, discard(), upstream.Hooks{})
		piped(t, &d.dialer, func(b *broker) {
			b.accept(packets.Properties{})
			b.grant(granted)
			for id := range uint16(receiveMaximum + 1) {
				b.publish(id+1, "cmd/x")
			}
			b.drain()
		})
		stop := peers.Run(t, d.Run)
		time.Sleep(time.Minute)
		if !d.Status().Up {
			t.Errorf("%+v", d.Status())
		}
		stop()
	})
}

// TestDownlinkEmptiesABacklogOfMosquitto: the broker has a backlog, sends more of
// it than it may, and all of it arrives in order, each once, on one connection.
func TestDownlinkEmptiesABacklogOfMosquitto(t *testing.T) {
	for _, n := range []int{1000, 4000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			b := peers.Mosquitto(t, peers.MosquittoOptions{Config: []string{"log_type error"}})
			filters := []string{"cmd/#"}
			first := make(chan struct{}, 1)
			away := NewDownlink(quick(b.Addr), "gateway-down", filters, func(_ *bridge.Message, _ int, ack func()) {
				ack()
				select {
				case first <- struct{}{}:
				default:
				}
			}, discard(), upstream.Hooks{})
			stop := start(t, away)
			up := connect(t, quick(b.Addr), upstream.Hooks{})
			await(t, "it is subscribed", func() bool {
				send(t, up, delivery("cmd/first", nil))
				select {
				case <-first:
					return true
				default:
					return false
				}
			})
			stop()
			sent := make(chan bridge.Outcome, n)
			for i := range n {
				if err := up.Send(t.Context(), delivery("cmd/x", []byte(fmt.Sprint(i))), func(o bridge.Outcome) { sent <- o }); err != nil {
					t.Fatal(err)
				}
			}
			for range n {
				if o := receive(t, sent, "an acknowledgement"); o.Result != bridge.ResultAcked {
					t.Fatalf("publish: %+v", o)
				}
			}

			got := make(chan came, n)
			d := NewDownlink(quick(b.Addr), "gateway-down", filters, func(m *bridge.Message, wire int, ack func()) {
				if m.Topic == "cmd/first" { // of those that came before it went
					ack()
					return
				}
				got <- came{m, wire, ack}
			}, discard(), upstream.Hooks{})
			start(t, d)
			var full []came
			for len(full) < receiveMaximum/2 { // what makes it send too much: the first are acknowledged late
				full = append(full, receive(t, got, "the first messages"))
			}
			for i := range n {
				var m came
				if len(full) > 0 {
					m, full = full[0], full[1:]
				} else {
					m = receive(t, got, fmt.Sprint("message ", i))
				}
				if string(m.m.Payload) != fmt.Sprint(i) {
					t.Fatalf("got %s, want %d; %+v", m.m.Payload, i, d.Status())
				}
				m.ack()
			}
			if st := d.Status(); st.Connects != 1 {
				t.Errorf("%+v", st)
			}
			t.Logf("it sent more than it may: %v", d.exceeded.Load()) // 2.0.11 does
			if len(got) > 0 {
				t.Errorf("%d more came", len(got))
			}
		})
	}
}
