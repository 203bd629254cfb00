package mqtt

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// What AWS IoT Core takes of one connection (Q01, Q06, Q07).
const (
	maxClientID     = 128 // bytes
	awsMessages     = 100 // per second
	awsBytes        = 512 << 10
	alpnCertificate = "x-amzn-mqtt-ca" // B06
	alpnAuthorizer  = "mqtt"           // B07
)

// Validate lists everything that is wrong with the options. It reads the files
// that they name.
func (o Options) Validate() []bridge.Problem {
	var out []bridge.Problem
	add := func(path, remedy, format string, args ...any) {
		out = append(out, bridge.Problem{Path: path, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	e, err := parseEndpoint(o.Endpoint)
	if err != nil {
		add("endpoint", "write it as mqtts://host:8883, mqtt://host:1883, or wss://host/mqtt", "%v", err)
	}
	if len(o.ClientID) > maxClientID {
		add("client_id", fmt.Sprintf("use at most %d bytes", maxClientID), "%d bytes are too long", len(o.ClientID))
	}
	if o.Password != "" && o.Username == "" {
		add("username", "set it, or remove the password", "a password is given without a user name")
	}
	between := func(path string, d, low, high time.Duration) {
		if d < low || d > high {
			add(path, fmt.Sprintf("set it between %v and %v", low, high), "%v is out of range", d)
		}
	}
	between("keep_alive", o.KeepAlive, time.Second, 18*time.Hour)
	between("connect_timeout", o.ConnectTimeout, 100*time.Millisecond, 10*time.Minute)
	between("ack_timeout", o.AckTimeout, 100*time.Millisecond, time.Hour)
	between("session_expiry", o.SessionExpiry, 0, 43800*time.Hour)
	out = append(out, under("authorizer", o.Authorizer.validate(o.Username))...)
	out = append(out, o.Proxy.Validate()...)
	out = append(out, under("limits", o.Limits.Validate())...)
	out = append(out, under("backoff", o.Backoff.Validate())...)
	if err == nil {
		out = append(out, under("tls", o.TLS.Validate(e.secure()))...)
		if e.aws() {
			out = append(out, o.validateAWS(e)...)
		}
	}
	return out
}

// validateAWS finds what AWS IoT Core would refuse, or worse, discard.
func (o Options) validateAWS(e endpoint) []bridge.Problem {
	var out []bridge.Problem
	if !e.secure() {
		out = append(out, bridge.Problem{Path: "endpoint", Text: "AWS IoT Core has no listener without TLS", Remedy: "use mqtts://" + e.host + ":8883, or wss://" + e.host})
	}
	if p, bad := o.validateLogin(e); bad {
		out = append(out, p)
	}
	if most := o.Limits.Most(); most == 0 || most > awsMessages {
		out = append(out, bridge.Problem{
			Path: "limits.messages_per_second", Text: "AWS IoT Core discards what is above 100 messages a second",
			Remedy: fmt.Sprintf("set it so that messages_per_second, a 20th of it for late timers, and burst are at most %d; 95 and 1 are the default", awsMessages),
		})
	}
	if most := math.Ceil(float64(o.Limits.BytesPerSecond) * 8 / 7); o.Limits.BytesPerSecond == 0 || most > awsBytes {
		out = append(out, bridge.Problem{
			Path: "limits.bytes_per_second", Text: "AWS IoT Core holds back what is above 512 KiB a second",
			Remedy: "set it to 448KiB or less, which with its burst makes 512 KiB",
		})
	}
	return out
}

// validateLogin finds ways of logging in that AWS IoT Core does not have on that
// port (B05, B06, B07).
func (o Options) validateLogin(e endpoint) (bridge.Problem, bool) {
	if e.webSocket() {
		return o.validateWebSocket(e)
	}
	host443 := "mqtts://" + e.host + ":443"
	custom, alpn := o.Authorizer.Used() || o.TLS.Cert == "" && o.Username != "", o.alpn(e)
	switch {
	case o.TLS.Cert == "" && !custom:
		return bridge.Problem{
			Path: "tls.cert", Text: "AWS IoT Core asks for a client certificate",
			Remedy: "set tls.cert and tls.key, or authorizer for a custom authorizer",
		}, true
	case o.TLS.Cert != "" && o.Authorizer.Used():
		return bridge.Problem{
			Path: "authorizer", Text: "AWS IoT Core takes a client certificate or asks an authorizer, not both",
			Remedy: "remove authorizer, or tls.cert and tls.key",
		}, true
	case e.port != "443" && e.port != "8883":
		return bridge.Problem{
			Path: "endpoint", Text: "AWS IoT Core speaks MQTT on ports 8883 and 443, not on " + e.port,
			Remedy: "use mqtts://" + e.host + ":8883, or " + host443,
		}, true
	case custom && e.port != "443":
		return bridge.Problem{
			Path: "endpoint", Text: "a custom authorizer is asked on port 443 only",
			Remedy: "use " + host443,
		}, true
	case e.port == "443" && custom && !slices.Contains(alpn, alpnAuthorizer):
		return bridge.Problem{
			Path: "tls.alpn", Text: "on port 443 AWS IoT Core asks an authorizer by the protocol name " + alpnAuthorizer,
			Remedy: "leave it out, or set it to [" + alpnAuthorizer + "]",
		}, true
	case e.port == "443" && !custom && !slices.Contains(alpn, alpnCertificate):
		return bridge.Problem{
			Path: "tls.alpn", Text: "on port 443 AWS IoT Core takes a client certificate by the protocol name " + alpnCertificate,
			Remedy: "leave it out, or set it to [" + alpnCertificate + "]",
		}, true
	}
	return bridge.Problem{}, false
}

// validateWebSocket finds what AWS IoT Core does not have behind a WebSocket
// (B09, B10). Who logs in without a name is signed for: that is not our part.
func (o Options) validateWebSocket(e endpoint) (bridge.Problem, bool) {
	right := "wss://" + e.host + webSocketPath
	switch {
	case e.port != "443" || e.path != webSocketPath:
		return bridge.Problem{Path: "endpoint", Text: "AWS IoT Core has its WebSocket on port 443 at " + webSocketPath, Remedy: "use " + right}, true
	case o.TLS.Cert != "":
		return bridge.Problem{
			Path: "tls.cert", Text: "on a WebSocket AWS IoT Core takes AWS credentials or asks an authorizer, and no client certificate",
			Remedy: "remove tls.cert and tls.key, or use mqtts://" + e.host + ":443",
		}, true
	case len(o.TLS.ALPN) > 0:
		return bridge.Problem{Path: "tls.alpn", Text: "a WebSocket needs no protocol name in TLS", Remedy: "remove it"}, true
	}
	return bridge.Problem{}, false
}

// under puts problems below a key.
func under(key string, problems []bridge.Problem) []bridge.Problem {
	for i := range problems {
		problems[i].Path = key + "." + problems[i].Path
	}
	return problems
}
