package mqtt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestValidate(t *testing.T) {
	ca := peers.CA(t)
	cert, other := ca.Client("gateway", peers.Validity{}), ca.Client("other", peers.Validity{})
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	aws := func(o *Options) {
		o.Endpoint = "mqtts://x-ats.iot.eu-central-1.amazonaws.com"
		o.TLS = TLSOptions{Cert: cert.CertFile, Key: cert.KeyFile}
	}
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string // paths of the problems
	}{
		{"plain", func(*Options) {}, ""},
		{"AWS", aws, ""},
		{"no endpoint", func(o *Options) { o.Endpoint = "" }, "endpoint"},
		{"another scheme", func(o *Options) { o.Endpoint = "ssl://host" }, "endpoint"},
		{"a login in the endpoint", func(o *Options) { o.Endpoint = "mqtt://me:secret@host" }, "endpoint"},
		{"a path", func(o *Options) { o.Endpoint = "mqtt://host/mqtt" }, "endpoint"},
		{"long client id", func(o *Options) { o.ClientID = strings.Repeat("x", 129) }, "client_id"},
		{"a password alone", func(o *Options) { o.Password = "x" }, "username"},
		{"times", func(o *Options) { o.KeepAlive, o.ConnectTimeout, o.AckTimeout, o.SessionExpiry = 0, 0, 0, -1 },
			"keep_alive connect_timeout ack_timeout session_expiry"},
		{"what lies below", func(o *Options) { o.Limits.Burst, o.Backoff.Base = 0, 0 }, "limits.burst backoff.base"},
		{"TLS without mqtts", func(o *Options) { o.TLS.ServerName = "x" }, "tls.server_name"},
		{"a CA that is not there", func(o *Options) { o.Endpoint, o.TLS.CA = "mqtts://h", "/nowhere/ca.pem" }, "tls.ca"},
		{"a CA that is none", func(o *Options) { o.Endpoint, o.TLS.CA = "mqtts://h", junk }, "tls.ca"},
		{"a certificate alone", func(o *Options) { o.Endpoint, o.TLS.Cert = "mqtts://h", cert.CertFile }, "tls.key"},
		{"a key alone", func(o *Options) { o.Endpoint, o.TLS.Key = "mqtts://h", cert.KeyFile }, "tls.cert"},
		{"a certificate that is not there", func(o *Options) {
			o.Endpoint, o.TLS.Cert, o.TLS.Key = "mqtts://h", "/nowhere/cert.pem", cert.KeyFile
		}, "tls.cert"},
		{"a key that is not there", func(o *Options) {
			o.Endpoint, o.TLS.Cert, o.TLS.Key = "mqtts://h", cert.CertFile, "/nowhere/key.pem"
		}, "tls.key"},
		{"a key of another certificate", func(o *Options) {
			o.Endpoint, o.TLS.Cert, o.TLS.Key = "mqtts://h", cert.CertFile, other.KeyFile
		}, "tls.cert"},
		{"AWS without TLS", func(o *Options) {
			aws(o)
			o.Endpoint = "mqtt://x-ats.iot.eu-central-1.amazonaws.com"
			o.TLS = TLSOptions{}
		}, "endpoint tls.cert"},
		{"AWS without a certificate", func(o *Options) { aws(o); o.TLS = TLSOptions{} }, "tls.cert"},
		{"AWS on 443", func(o *Options) { aws(o); o.Endpoint += ":443" }, ""},
		{"AWS on 443, the protocol name given", func(o *Options) { aws(o); o.Endpoint += ":443"; o.TLS.ALPN = []string{"x-amzn-mqtt-ca"} }, ""},
		{"AWS on 443, the authorizer's protocol name", func(o *Options) { aws(o); o.Endpoint += ":443"; o.TLS.ALPN = []string{"mqtt"} }, "tls.alpn"},
		{"AWS on another port", func(o *Options) { aws(o); o.Endpoint += ":1883" }, "endpoint"},
		{"AWS by its default authorizer", func(o *Options) { aws(o); o.Endpoint += ":443"; o.TLS = TLSOptions{}; o.Username = "x" }, ""},
		{"AWS by an authorizer", func(o *Options) {
			aws(o)
			o.Endpoint += ":443"
			o.TLS = TLSOptions{}
			o.Authorizer = AuthorizerOptions{Name: "a", TokenKey: "k", Token: "secret", Signature: "secret"}
		}, ""},
		{"AWS by an authorizer on 8883", func(o *Options) { aws(o); o.TLS = TLSOptions{}; o.Authorizer.Name = "a" }, "endpoint"},
		{"AWS by an authorizer under the certificate's name", func(o *Options) {
			aws(o)
			o.Endpoint += ":443"
			o.TLS = TLSOptions{ALPN: []string{"x-amzn-mqtt-ca"}}
			o.Authorizer.Name = "a"
		}, "tls.alpn"},
		{"AWS by an authorizer and a certificate", func(o *Options) { aws(o); o.Endpoint += ":443"; o.Authorizer.Name = "a" }, "authorizer"},
		{"a token without its name", func(o *Options) { o.Authorizer = AuthorizerOptions{Token: "secret", Signature: "secret"} }, "authorizer.token_key"},
		{"a token without its signature", func(o *Options) { o.Authorizer = AuthorizerOptions{TokenKey: "k", Token: "secret"} }, "authorizer.signature"},
		{"a signature of nothing", func(o *Options) { o.Authorizer.Signature = "secret" }, "authorizer.token"},
		{"AWS's name for a token", func(o *Options) {
			o.Authorizer = AuthorizerOptions{TokenKey: "x-amz-customauthorizer-name", Token: "secret", Signature: "secret"}
		}, "authorizer.token_key"},
		{"an authorizer twice", func(o *Options) { o.Username = "u?x-amz-customauthorizer-name=b"; o.Authorizer.Name = "a" }, "authorizer.name"},
		{"a proxy of another kind", func(o *Options) { o.Proxy.Proxy = "socks5://h:1080" }, "proxy"},
		{"a login in the proxy's URL", func(o *Options) { o.Proxy.Proxy = "http://me:secret@h:3128" }, "proxy"},
		{"a login for no proxy", func(o *Options) { o.Proxy.Username = "u" }, "proxy"},
		{"a proxy's password alone", func(o *Options) { o.Proxy.Proxy, o.Proxy.Password = "environment", "secret" }, "proxy_username"},
		{"faster than AWS takes", func(o *Options) { aws(o); o.Limits.MessagesPerSecond = 100; o.Limits.BytesPerSecond = 500 << 10 },
			"limits.messages_per_second limits.bytes_per_second"},
		{"unlimited to AWS", func(o *Options) { aws(o); o.Limits.MessagesPerSecond = 0; o.Limits.BytesPerSecond = 0 },
			"limits.messages_per_second limits.bytes_per_second"},
		{"a burst beyond AWS", func(o *Options) { aws(o); o.Limits.Burst = 6 }, "limits.messages_per_second"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			o.Endpoint = "mqtt://localhost"
			c.change(&o)
			var got []string
			for _, p := range o.Validate() {
				got = append(got, p.Path)
				if p.Text == "" || p.Remedy == "" {
					t.Errorf("problem %+v lacks words", p)
				}
				if strings.Contains(p.Text+p.Remedy, "secret") {
					t.Errorf("problem %+v shows the password", p)
				}
			}
			if want := strings.Fields(c.want); !slices.Equal(got, want) {
				t.Errorf("problems at %v, want %v", got, want)
			}
		})
	}
}

func TestFloorFollowsTheHost(t *testing.T) {
	for endpoint, want := range map[string]time.Duration{
		"mqtts://x-ats.iot.eu-central-1.amazonaws.com:8883": 10 * time.Second,
		"mqtts://x.ats.iot.cn-north-1.amazonaws.com.cn":     10 * time.Second,
		"mqtt://192.168.1.2":                                200 * time.Millisecond,
		"mqtt://[::1]:1883":                                 200 * time.Millisecond,
		"mqtts://amazonaws.com.evil.example:8883":           200 * time.Millisecond,
	} {
		o := DefaultOptions()
		o.Endpoint = endpoint
		if got := o.backoff().Floor; got != want {
			t.Errorf("%s: floor %v, want %v", endpoint, got, want)
		}
		o.Backoff.Floor = time.Second
		if got := o.backoff().Floor; got != time.Second {
			t.Errorf("%s: floor %v although it was set", endpoint, got)
		}
	}
}

func TestEndpointPorts(t *testing.T) {
	for in, want := range map[string]string{
		"mqtt://h": "h:1883", "mqtts://h": "h:8883", "mqtts://h:443/": "h:443", "mqtt://[::1]:7": "[::1]:7",
	} {
		if e, err := parseEndpoint(in); err != nil || e.address() != want {
			t.Errorf("%s: %s, %v; want %s", in, e.address(), err, want)
		}
	}
}
