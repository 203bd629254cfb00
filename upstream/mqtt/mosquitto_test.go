package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/upstreamtest"
)

func TestConformanceAgainstMosquitto(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			upstreamtest.Conformance(t, func(t *testing.T, limits upstream.Limits) upstreamtest.Peer {
				b := peers.Mosquitto(t, peers.MosquittoOptions{TLS: strings.HasSuffix(scheme, "s") && scheme != "ws", WebSocket: strings.HasPrefix(scheme, "ws")})
				p := peers.NewProxy(t, map[string]string{"mqtt": b.Addr, "mqtts": b.TLSAddr, "ws": b.WSAddr, "wss": b.WSSAddr}[scheme])
				o := quick("")
				o.Endpoint = scheme + "://" + p.Addr
				switch scheme {
				case "mqtts":
					o.TLS = TLSOptions{CA: b.CA.File, Cert: b.ClientCert.CertFile, Key: b.ClientCert.KeyFile}
				case "wss":
					o.TLS = TLSOptions{CA: b.CA.File}
				}
				o.Limits = limits
				return upstreamtest.Peer{
					Sender:  NewUplink(o, "gateway", discard(), upstream.Hooks{}),
					Arrived: subscribe(t, b.Addr, "dt/#").payloads,
					Hold:    p.BlackHole, Release: p.Restore, Cut: p.Reset,
				}
			})
		})
	}
}

func TestMessageArrivesWithAllItsProperties(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	s := subscribe(t, b.Addr, "up/#")
	l := connect(t, quick(b.Addr), upstream.Hooks{})
	d := delivery("dt/x", []byte("hello"), func(r *bridge.Record) {
		r.Properties = bridge.Properties{
			PayloadFormat: 1, HasExpiry: true, Expiry: 100, ContentType: "text/plain", ResponseTopic: "answer/here",
			CorrelationData: []byte{1, 2}, User: []bridge.UserProperty{{Key: "a", Value: "1"}, {Key: "a", Value: "2"}},
		}
		r.Receivers[0].Topic, r.Receivers[0].Origin = "up/x", bridge.OriginUserProperties
		r.Hops = 2
	})
	d.Remaining = 60
	o := send(t, l, d)
	if o.Result != bridge.ResultAcked {
		t.Fatalf("outcome %+v", o)
	}
	await(t, "it arrives", func() bool { return len(s.arrived()) == 1 })
	p := s.arrived()[0]
	props := p.Properties
	if p.Topic != "up/x" || string(p.Payload) != "hello" || p.QoS != 1 {
		t.Errorf("arrived as %v", p)
	}
	if props.ContentType != "text/plain" || props.ResponseTopic != "answer/here" || string(props.CorrelationData) != "\x01\x02" ||
		props.PayloadFormat == nil || *props.PayloadFormat != 1 || props.MessageExpiry == nil || *props.MessageExpiry < 55 || *props.MessageExpiry > 60 {
		t.Errorf("properties arrived as %v", props)
	}
	var user []string
	for _, u := range props.User {
		user = append(user, u.Key)
	}
	if got := strings.Join(user, " "); got != "a a ebb-device ebb-id ebb-accepted ebb-clock ebb-hops" {
		t.Errorf("user properties %s", got)
	}
	if last := props.User[len(props.User)-1]; last.Value != "3" {
		t.Errorf("hops %s, want one more than 2", last.Value)
	}
}

// TestWireCountsWhatCrosses compares with what the packets are by the standard.
func TestWireCountsWhatCrosses(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	subscribe(t, b.Addr, "a/#")
	l := connect(t, quick(b.Addr), upstream.Hooks{})
	// header 2, topic 2+3, id 2, property length 1, ebb-hops=1 1+2+8+2+1, payload
	for _, c := range []struct{ payload, want int }{{10, 2 + 5 + 2 + 1 + 14 + 10 + 4}, {1000, 3 + 5 + 2 + 1 + 14 + 1000 + 4}} {
		if o := send(t, l, delivery("a/b", make([]byte, c.payload))); o.Wire != c.want {
			t.Errorf("%d bytes of payload counted as %d on the wire, want %d", c.payload, o.Wire, c.want)
		}
	}
}

func TestMutualTLS(t *testing.T) {
	ca := peers.CA(t)
	b := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true, CA: ca})
	o := quick("")
	o.Endpoint = "mqtts://" + b.TLSAddr
	o.TLS = TLSOptions{CA: ca.File, Cert: b.ClientCert.CertFile, Key: b.ClientCert.KeyFile}
	if problems := o.Validate(); len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	l := connect(t, o, upstream.Hooks{})
	if out := send(t, l, delivery("dt/x", []byte("secure"))); out.Result != bridge.ResultAcked {
		t.Errorf("outcome %+v", out)
	}

	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no certificate of ours", func(o *Options) { o.TLS.Cert, o.TLS.Key = "", "" }, "tls.cert"},
		{"a certificate of another CA", func(o *Options) {
			c := peers.CA(t).Client("stranger", peers.Validity{})
			o.TLS.Cert, o.TLS.Key = c.CertFile, c.KeyFile
		}, "tls.cert"},
		{"an authority that we do not know", func(o *Options) { o.TLS.CA = peers.CA(t).File }, "tls.ca"},
		{"another name", func(o *Options) { o.TLS.ServerName = "elsewhere.example" }, "tls.server_name"},
		{"a port without TLS", func(o *Options) { o.Endpoint = "mqtts://" + b.Addr }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := o
			c.change(&o)
			err := Check(t.Context(), o, "gateway-check", nil)
			e, ok := errors.AsType[*RefusedError](err)
			if c.want == "" {
				if err == nil {
					t.Error("it connects")
				}
				return
			}
			if !ok || !strings.Contains(e.Remedy, c.want) {
				t.Errorf("error %v, want a refusal whose remedy names %s", err, c.want)
			}
		})
	}
}

func TestCheckSaysWhetherTheLoginIsRight(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{Users: map[string]string{"gw": "right"}})
	o := quick(b.Addr)
	o.Username, o.Password = "gw", "wrong"
	err := Check(t.Context(), o, "gateway", nil)
	if e, ok := errors.AsType[*RefusedError](err); !ok || e.Code != 0x87 && e.Code != 0x86 || !strings.Contains(e.Remedy, "password") {
		t.Fatalf("error %v, want a refusal of the login", err)
	}
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the error shows the password: %v", err)
	}
	o.Password = "right"
	if err := Check(t.Context(), o, "gateway", nil); err != nil {
		t.Errorf("with the right password: %v", err)
	}
}

func TestBlackHoleIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		send   bool
		want   string
	}{
		{"idle, by keep alive", func(o *Options) { o.KeepAlive = time.Second }, false, "PINGREQ"},
		{"busy, by the acknowledgement", func(o *Options) { o.AckTimeout = 300 * time.Millisecond }, true, "acknowledgement"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := peers.Mosquitto(t, peers.MosquittoOptions{})
			p := peers.NewProxy(t, b.Addr)
			o := quick(p.Addr)
			c.change(&o)
			l := connect(t, o, upstream.Hooks{})
			p.BlackHole()
			outcome := make(chan bridge.Outcome, 1)
			if c.send {
				if err := l.Send(t.Context(), delivery("dt/x", nil), func(o bridge.Outcome) { outcome <- o }); err != nil {
					t.Fatal(err)
				}
			}
			receive(t, l.Done(), "the link goes down")
			if err := l.Err(); !strings.Contains(err.Error(), c.want) {
				t.Errorf("ended by %v, want %s", err, c.want)
			}
			if c.send {
				if o := <-outcome; o.Result != bridge.ResultLost {
					t.Errorf("outcome %+v", o)
				}
			}
		})
	}
}

func TestCloseInABlackHoleNeedsNoNetwork(t *testing.T) {
	b := peers.Mosquitto(t, peers.MosquittoOptions{})
	p := peers.NewProxy(t, b.Addr)
	o := quick(p.Addr)
	l := connect(t, o, upstream.Hooks{})
	p.BlackHole()
	big := make([]byte, 1<<20)
	lost := make(chan bridge.Outcome, 100)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	sent := 0
	for ; sent < 100; sent++ { // until the kernel's buffers are full and the writer hangs
		if err := l.Send(ctx, delivery(fmt.Sprint("dt/", sent), big), func(o bridge.Outcome) { lost <- o }); err != nil {
			break
		}
	}
	if sent > 50 {
		t.Errorf("%d MB were taken by a link that writes nothing", sent)
	}
	start := time.Now()
	_ = l.Close()
	receive(t, l.Done(), "the link goes down")
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("closing took %v", d)
	}
	if len(lost) != sent {
		t.Errorf("%d outcomes of %d sends", len(lost), sent)
	}
}
