package localbroker

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Validate lists what is wrong with the options. Zero values stand for their
// defaults. It does not open files; New and Reload do.
func (o Options) Validate() []bridge.Problem {
	var ps problems
	o = o.withDefaults()
	if len(o.Listeners) == 0 {
		ps.add("listeners", "is empty: no device could connect", "add a listener with a name, type and address")
	}
	names, addresses := map[string]bool{}, map[string]bool{}
	for i, l := range o.Listeners {
		at := fmt.Sprintf("listeners[%d].", i)
		l.validate(at, &ps)
		if names[l.Name] {
			ps.add(at+"name", fmt.Sprintf("%q is already the name of another listener", l.Name), "give each listener its own name")
		}
		names[l.Name] = true
		if addresses[l.Address] && !strings.HasSuffix(l.Address, ":0") {
			ps.add(at+"address", fmt.Sprintf("%q is already the address of another listener", l.Address), "give each listener its own port")
		}
		addresses[l.Address] = true
	}
	ps.between("broker.sockets", o.Broker.Sockets, 1, 2_000_000)
	ps.between("broker.sessions", o.Broker.Sessions, 1, 1_000_000)
	ps.between("broker.retained_messages", o.Broker.RetainedMessages, 0, 1_000_000)
	ps.sizeBetween("broker.queue_size", o.Broker.QueueSize, 1<<20, 64<<30)
	ps.oneOf("broker.shared_queue", o.Broker.SharedQueue, sharedQueueOn, sharedQueueOff)
	ps.sizeBetween("broker.memory_queue_size", o.Broker.MemoryQueueSize, 1<<20, 64<<30)
	ps.sizeBetween("broker.retained_size", o.Broker.RetainedSize, 1<<20, 64<<30)
	ps.sizeBetween("broker.subscriptions_size", o.Broker.Subscriptions, 1<<20, 64<<30)
	validateQuotas("broker.quotas.", o.Broker.Quotas, &ps)
	return ps.list
}

type problems struct{ list []bridge.Problem }

func (ps *problems) add(path, text, remedy string) {
	ps.list = append(ps.list, bridge.Problem{Path: path, Text: text, Remedy: remedy})
}

func (ps *problems) oneOf(path, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	ps.add(path, fmt.Sprintf("%q is unknown", value), "write one of "+strings.Join(allowed, ", "))
}

func (ps *problems) between(path string, v, low, high int) {
	if v < low || v > high {
		ps.add(path, fmt.Sprintf("%d is out of range", v), fmt.Sprintf("write a number from %d to %d", low, high))
	}
}

func (ps *problems) sizeBetween(path string, v, low, high bridge.Size) {
	if v < low || v > high {
		ps.add(path, fmt.Sprintf("%v is out of range", v), fmt.Sprintf("write a size from %v to %v", low, high))
	}
}

func (ps *problems) durationBetween(path string, v, low, high time.Duration) {
	if v < low || v > high {
		ps.add(path, fmt.Sprintf("%v is out of range", v), fmt.Sprintf("write a duration from %v to %v", low, high))
	}
}

func (l ListenerOptions) validate(at string, ps *problems) {
	if l.Name == "" || len(l.Name) > 64 {
		ps.add(at+"name", fmt.Sprintf("%q is not a name", l.Name), "write 1 to 64 characters, such as lan")
	}
	ps.oneOf(at+"type", l.Type, typeTCP, typeTLS, typeWS, typeWSS, typeHTTPS)
	ps.oneOf(at+"profile", l.Profile, profileAWSEdge, profileAWS, profileMQTT)
	ps.oneOf(at+"auth", l.Auth, authAnonymous, authPassword, authCertificate)
	ps.oneOf(at+"denied_publish.mqtt5", l.Denied.MQTT5, deniedAck, deniedDisconnect)
	ps.oneOf(at+"denied_publish.mqtt3", l.Denied.MQTT3, deniedClose, deniedAck)
	ps.oneOf(at+"denied_subscribe.mqtt5", l.DeniedSubscribe.MQTT5, deniedAck, deniedDisconnect)
	ps.oneOf(at+"denied_subscribe.mqtt3", l.DeniedSubscribe.MQTT3, deniedAck, deniedClose)
	l.Switches.validate(at+"switches.", ps)
	if l.ResendV3 != 0 {
		ps.durationBetween(at+"resend_mqtt3", l.ResendV3, time.Second, 24*time.Hour)
	}
	ps.durationBetween(at+"hold_timeout", l.HoldTimeout, time.Millisecond, 10*time.Minute)
	l.validateAddress(at, ps)
	l.validateAuth(at, ps)
	l.validateTLS(at, ps)
	l.HTTP.validate(at+"http.", ps)
	l.Limits.validate(at+"limits.", ps)
	l.Quotas.validate(at+"quotas.", ps)
	validateReserved(at, l.Reserved, ps)
	for i, o := range l.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			ps.add(fmt.Sprintf("%sorigins[%d]", at, i), fmt.Sprintf("%q is not a web origin", o), "write scheme and host, such as https://console.example")
		}
	}
}

func (l ListenerOptions) validateAddress(at string, ps *problems) {
	_, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		ps.add(at+"address", fmt.Sprintf("%q is not a host and port", l.Address), "write host:port, such as 127.0.0.1:1883")
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		ps.add(at+"address", fmt.Sprintf("%q is not a port", port), "write a number from 1 to 65535, or 0 for a free port")
	}
}

func (l ListenerOptions) validateAuth(at string, ps *problems) {
	switch l.Auth {
	case authAnonymous:
		if !loopback(l.Address) {
			ps.add(at+"auth", fmt.Sprintf("is anonymous, and %s can be reached from the network", l.Address), "listen on 127.0.0.1, or use auth: password or certificate")
		}
	case authPassword:
		if l.Type == typeHTTPS {
			ps.add(at+"auth", "is password, which a listener of type https does not ask for", "use auth: certificate")
		}
		if l.Users == "" {
			ps.add(at+"users", "is missing for auth: password", "name the YAML file with user names and bcrypt hashes")
		}
	case authCertificate:
		if !l.secure() {
			ps.add(at+"auth", "is certificate, but a listener of type "+l.Type+" has no TLS", "use type: tls, wss or https")
		}
		if len(l.Policies) > 0 && l.TLS.ClientAuth != clientChain {
			ps.add(at+"policies", "has no effect on registered certificates, whose policies the things file attaches", "remove it, or use client_auth: chain")
		}
	}
	if l.Users != "" && l.Auth != authPassword {
		ps.add(at+"users", "has no effect with auth: "+l.Auth, "remove it, or use auth: password")
	}
}

func (l ListenerOptions) validateTLS(at string, ps *problems) {
	ps.oneOf(at+"tls.client_auth", l.TLS.ClientAuth, clientFingerprint, clientChain, clientBoth)
	if !l.secure() {
		if l.TLS.Cert != "" || l.TLS.Key != "" || l.TLS.ClientCA != "" || l.TLS.RequireSNI {
			ps.add(at+"tls", "has no effect on a listener of type "+l.Type, "use type: tls, wss or https, or remove it")
		}
		return
	}
	if l.TLS.Cert == "" {
		ps.add(at+"tls.cert", "is missing", "name the PEM file with the server's certificate")
	}
	if l.TLS.Key == "" {
		ps.add(at+"tls.key", "is missing", "name the PEM file with the server's private key")
	}
	needsCA := l.Auth == authCertificate && l.TLS.ClientAuth != clientFingerprint
	if needsCA && l.TLS.ClientCA == "" {
		ps.add(at+"tls.client_ca", "is missing for client_auth: "+l.TLS.ClientAuth, "name the PEM file with the CAs of the device certificates, or use client_auth: fingerprint")
	}
	if !needsCA && l.TLS.ClientCA != "" {
		ps.add(at+"tls.client_ca", "has no effect unless auth is certificate and client_auth is chain or both", "remove it, or set them")
	}
}

func (l LimitOptions) validate(at string, ps *problems) {
	ps.between(at+"connections", l.Connections, 1, 1_000_000)
	ps.between(at+"unfinished", l.Unfinished, 1, 1_000_000)
	ps.between(at+"queue_messages", l.QueueMessages, 1, 10_000_000)
	ps.between(at+"publishes_per_second", l.PublishesPerSec, 0, 1_000_000)
	ps.durationBetween(at+"connect_timeout", l.ConnectTimeout, time.Second, 5*time.Minute)
	ps.durationBetween(at+"write_timeout", l.WriteTimeout, time.Second, 10*time.Minute)
	if l.BytesPerSec != 0 {
		ps.sizeBetween(at+"bytes_per_second", l.BytesPerSec, 1<<10, 16<<30)
	}
	ps.sizeBetween(at+"queue_size", l.QueueSize, 1<<10, 16<<30)
	ps.sizeBetween(at+"subscriptions_size", l.Subscriptions, 1<<10, 1<<30)
}

// secure reports whether the listener speaks TLS.
func (l ListenerOptions) secure() bool {
	return l.Type == typeTLS || l.Type == typeWSS || l.Type == typeHTTPS
}

// loopback reports whether an address can be reached from this host only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
