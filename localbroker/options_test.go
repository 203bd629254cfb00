package localbroker

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDefaultsAreValid(t *testing.T) {
	if ps := DefaultOptions().Validate(); len(ps) > 0 {
		t.Errorf("problems %+v", ps)
	}
	o := Options{Listeners: []ListenerOptions{{Name: "lan", Address: "127.0.0.1:1883"}}}
	if ps := o.Validate(); len(ps) > 0 {
		t.Errorf("a listener that says nothing else: %+v", ps)
	}
	got := o.withDefaults().Listeners[0].Quotas
	if got != DefaultQuotas(profileAWSEdge) || got.PacketSize != 149_504 || got.Subscriptions != 50 {
		t.Errorf("quotas %+v", got)
	}
}

// TestValidate: every problem is found, all of them at once, each with a path
// and a remedy.
func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*ListenerOptions)
		want   []string // path: part of the text
	}{
		{"no name", func(l *ListenerOptions) { l.Name = "" }, []string{"listeners[0].name: not a name"}},
		{"unknown words", func(l *ListenerOptions) {
			l.Type, l.Profile, l.TLS.ClientAuth, l.Denied.MQTT5, l.Denied.MQTT3 = "udp", "azure", "x", "x", "x"
			l.DeniedSubscribe = DeniedSubscribeOptions{"x", "disconnect"}
		}, []string{
			`listeners[0].type: "udp"`, `listeners[0].profile: "azure"`, "listeners[0].tls.client_auth: ",
			"listeners[0].denied_publish.mqtt5: ", "listeners[0].denied_publish.mqtt3: ",
			"listeners[0].denied_subscribe.mqtt5: ", `listeners[0].denied_subscribe.mqtt3: "disconnect"`,
		}},
		{"no port", func(l *ListenerOptions) { l.Address = "127.0.0.1" }, []string{"listeners[0].address: not a host and port", "listeners[0].auth: anonymous"}},
		{"bad port", func(l *ListenerOptions) { l.Address = "127.0.0.1:99999" }, []string{"listeners[0].address: not a port"}},
		{"anonymous on the network", func(l *ListenerOptions) { l.Address = ":1883" }, []string{"listeners[0].auth: can be reached"}},
		{"anonymous on a LAN address", func(l *ListenerOptions) { l.Address = "192.168.1.1:1883" }, []string{"listeners[0].auth: can be reached"}},
		{"anonymous on ::1", func(l *ListenerOptions) { l.Address = "[::1]:1883" }, nil},
		{"password without users", func(l *ListenerOptions) { l.Auth = authPassword }, []string{"listeners[0].users: missing"}},
		{"users without password", func(l *ListenerOptions) { l.Users = "u.yaml" }, []string{"listeners[0].users: no effect"}},
		{"certificate without TLS", func(l *ListenerOptions) { l.Auth = authCertificate }, []string{"listeners[0].auth: no TLS"}},
		{"policies for registered certificates", func(l *ListenerOptions) {
			l.Type, l.Auth, l.Policies = typeTLS, authCertificate, []string{"p"}
			l.TLS.Cert, l.TLS.Key = "c", "k"
		}, []string{"listeners[0].policies: no effect"}},
		{"TLS without files", func(l *ListenerOptions) { l.Type = typeWSS }, []string{"listeners[0].tls.cert: missing", "listeners[0].tls.key: missing"}},
		{"files without TLS", func(l *ListenerOptions) { l.TLS.Cert = "c" }, []string{"listeners[0].tls: no effect"}},
		{"chain without CA", func(l *ListenerOptions) {
			l.Type, l.Auth, l.TLS = typeTLS, authCertificate, TLSOptions{Cert: "c", Key: "k", ClientAuth: clientChain}
		}, []string{"listeners[0].tls.client_ca: missing"}},
		{"CA without chain", func(l *ListenerOptions) {
			l.Type, l.Auth, l.TLS = typeTLS, authCertificate, TLSOptions{Cert: "c", Key: "k", ClientCA: "ca"}
		}, []string{"listeners[0].tls.client_ca: no effect"}},
		{"limits", func(l *ListenerOptions) {
			l.Limits = LimitOptions{Connections: -1, ConnectTimeout: time.Millisecond, WriteTimeout: time.Hour, Unfinished: -1, QueueMessages: -1, QueueSize: 1, PublishesPerSec: -1, BytesPerSec: 1}
		}, []string{
			"listeners[0].limits.connections: ", "listeners[0].limits.unfinished: ", "listeners[0].limits.queue_messages: ",
			"listeners[0].limits.publishes_per_second: ", "listeners[0].limits.connect_timeout: ", "listeners[0].limits.write_timeout: ",
			"listeners[0].limits.bytes_per_second: ", "listeners[0].limits.queue_size: ",
		}},
		{"hold", func(l *ListenerOptions) { l.HoldTimeout = time.Hour }, []string{"listeners[0].hold_timeout: out of range"}},
		{"origin", func(l *ListenerOptions) { l.Origins = []string{"https://a.example", "example.com"} }, []string{"listeners[0].origins[1]: not a web origin"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := DefaultOptions()
			tt.change(&o.Listeners[0])
			var got []string
			for _, p := range o.Validate() {
				got = append(got, p.Path+": "+p.Text)
				if p.Remedy == "" {
					t.Errorf("%s has no remedy", p.Path)
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for _, w := range tt.want {
				path, text, _ := strings.Cut(w, ": ")
				if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, path+": ") && strings.Contains(g, text) }) {
					t.Errorf("got %q, want %q", got, w)
				}
			}
		})
	}
	t.Run("two listeners", func(t *testing.T) {
		o := DefaultOptions()
		o.Listeners = append(o.Listeners, o.Listeners[0])
		if ps := o.Validate(); len(ps) != 2 {
			t.Errorf("problems %+v", ps)
		}
		o.Listeners = nil
		if ps := o.Validate(); len(ps) != 1 {
			t.Errorf("no listeners: %+v", ps)
		}
	})
}

// TestNewRefuses what must not listen, even when nobody has validated.
func TestNewRefuses(t *testing.T) {
	for _, change := range []func(*ListenerOptions){
		func(l *ListenerOptions) { l.Address = "0.0.0.0:0" },
		func(l *ListenerOptions) { l.Profile = "azure" },
		func(l *ListenerOptions) { l.Quotas.Subscriptions = -1 },
		func(l *ListenerOptions) { l.Auth, l.Users = authPassword, "/nowhere/users.yaml" },
	} {
		o := plain(profileAWS)
		change(&o)
		if _, err := New(Options{Listeners: []ListenerOptions{o}}, Deps{Log: nolog()}); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
