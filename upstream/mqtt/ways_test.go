package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// hello is what a TLS server is told before anything is decided.
func hello(t *testing.T, o Options) *tls.ClientHelloInfo {
	t.Helper()
	got := make(chan *tls.ClientHelloInfo, 1)
	s := serve(t, func(b *broker) {
		refused := errors.New("seen enough")
		_ = tls.Server(b.Conn, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			got <- h
			return nil, refused
		}}).Handshake()
	})
	d := newDialer(o, "gateway", false, discard())
	d.reach = func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	}
	if _, err := d.open(t.Context()); err == nil {
		t.Fatal("a server that refuses lets us in")
	}
	return receive(t, got, "the ClientHello comes")
}

// B03, B05, B06, B07: the name is always sent, and on port 443 of AWS the
// protocol's name by the way of logging in.
func TestB06_PortChoosesTheProtocolName(t *testing.T) {
	const aws = "a1-ats.iot.eu-central-1.amazonaws.com"
	cert := peers.CA(t).Client("gateway", peers.Validity{})
	with := TLSOptions{Cert: cert.CertFile, Key: cert.KeyFile}
	for _, c := range []struct {
		name, endpoint string
		tls            TLSOptions
		host           string
		want           []string
	}{
		{"8883", "mqtts://" + aws, with, aws, nil},
		{"443 with a certificate", "mqtts://" + aws + ":443", with, aws, []string{"x-amzn-mqtt-ca"}},
		{"443 with an authorizer", "mqtts://" + aws + ":443", TLSOptions{}, aws, []string{"mqtt"}},
		{"443 in China", "mqtts://a1.ats.iot.cn-north-1.amazonaws.com.cn:443", with, "a1.ats.iot.cn-north-1.amazonaws.com.cn", []string{"x-amzn-mqtt-ca"}},
		{"443 elsewhere", "mqtts://broker.example.com:443", with, "broker.example.com", nil},
		{"a custom domain", "mqtts://iot.example.com:443", TLSOptions{ALPN: []string{"x-amzn-mqtt-ca"}, ServerName: "other.example.com"}, "other.example.com", []string{"x-amzn-mqtt-ca"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := quick("")
			o.Endpoint, o.TLS = c.endpoint, c.tls
			h := hello(t, o)
			if h.ServerName != c.host || !slices.Equal(h.SupportedProtos, c.want) {
				t.Errorf("ClientHello for %q with %v, want %q with %v", h.ServerName, h.SupportedProtos, c.host, c.want)
			}
		})
	}
}

// B07: what the authorizer is to know travels in the user name, escaped.
func TestB07_AuthorizerTravelsInTheUserName(t *testing.T) {
	got := make(chan *packets.Connect, 1)
	s := serve(t, func(b *broker) { got <- b.accept(packets.Properties{}); b.drain() })
	o := quick(s.addr)
	o.Username, o.Password = "plant7", "password"
	o.Authorizer = AuthorizerOptions{Name: "gate & way", TokenKey: "token", Token: "a=b", Signature: "x+/="}
	connect(t, o, upstream.Hooks{})
	c := receive(t, got, "CONNECT comes")
	user, query, _ := strings.Cut(c.Username, "?")
	params, err := url.ParseQuery(query)
	if err != nil || user != "plant7" || string(c.Password) != "password" || len(params) != 3 ||
		params.Get("x-amz-customauthorizer-name") != "gate & way" || params.Get("token") != "a=b" || params.Get("x-amz-customauthorizer-signature") != "x+/=" {
		t.Errorf("CONNECT with user name %q: %v", c.Username, err)
	}
}

func TestThroughAProxy(t *testing.T) {
	ca := peers.CA(t)
	b := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true, CA: ca})
	p := peers.NewConnectProxy(t, "ada", "secret")
	o := quick("")
	o.Endpoint = "mqtts://" + b.TLSAddr
	o.TLS = TLSOptions{CA: ca.File, Cert: b.ClientCert.CertFile, Key: b.ClientCert.KeyFile}
	o.Proxy = upstream.ProxyOptions{Proxy: "http://" + p.Addr, Username: "ada", Password: "secret"}
	if out := send(t, connect(t, o, upstream.Hooks{}), delivery("dt/x", nil)); out.Reason != "" {
		t.Errorf("outcome %+v", out)
	}
	if got := p.Tunnels(); !slices.Equal(got, []string{b.TLSAddr}) {
		t.Errorf("tunnels to %v, want one to %s", got, b.TLSAddr)
	}
	o.Proxy.Password = "wrong"
	err := Check(t.Context(), o, "gateway-check", nil)
	e, ok := errors.AsType[*RefusedError](err)
	if !ok || !strings.Contains(e.Remedy, "proxy_password") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("error %v, want a refusal by the proxy", err)
	}
}
