package configs

import (
	"net/url"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/aws"
	"github.com/ebbgate/ebbgate/upstream/https"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// The values of Upstream.Way.
const (
	WayEndpoint = "endpoint"
	WayAuto     = "auto"
)

// Legs are the ways to an upstream, the best first, each as an upstream of its own
// that says nothing but what belongs to it: the one that its endpoint names, or
// with way: auto those that its logins make possible.
func (u Upstream) Legs() []Upstream {
	if u.Way != WayAuto {
		return []Upstream{u}
	}
	if len(u.Ways) > 0 {
		var out []Upstream
		for _, endpoint := range u.Ways {
			out = append(out, u.leg(endpoint, !u.signed() || strings.HasPrefix(endpoint, "mqtt")))
		}
		return out
	}
	e, err := url.Parse(u.MQTT.Endpoint)
	if err != nil {
		return nil // said of the endpoint
	}
	host := e.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	var out []Upstream
	cert, custom, signed := u.MQTT.TLS.Cert != "", u.custom(), u.signed()
	if cert {
		out = append(out, u.leg("mqtts://"+host, true))
	}
	if cert || custom {
		l := u.leg("mqtts://"+host+":443", true)
		if len(l.MQTT.TLS.ALPN) == 0 { // custom domains, too
			l.MQTT.TLS.ALPN = []string{mqtt.ProtocolOf443(cert)}
		}
		out = append(out, l)
	}
	if signed || custom {
		out = append(out, u.leg("wss://"+host, !signed))
	}
	if signed {
		out = append(out, u.leg("https://"+host, false))
	}
	if cert {
		for _, port := range []string{"", ":8443"} {
			out = append(out, u.leg("https://"+host+port, true))
		}
	}
	if u.MQTT.Authorizer.Used() && !cert {
		out = append(out, u.leg("https://"+host, true))
	}
	return out
}

// custom reports whether an authorizer is the login where no certificate is.
func (u Upstream) custom() bool {
	return u.MQTT.TLS.Cert == "" && (u.MQTT.Authorizer.Used() || u.MQTT.Username != "")
}

// signed reports whether signatures are a login that was given: by name, or for
// want of another.
func (u Upstream) signed() bool {
	switch u.AWS.Sign {
	case aws.SignAlways:
		return true
	case aws.SignNever:
		return false
	}
	return u.AWS.Profile != "" || u.AWS.AccessKeyID != "" || u.MQTT.TLS.Cert == "" && !u.custom()
}

// leg is one way: own says that it logs in by certificate, password or authorizer,
// else a signature is the login.
func (u Upstream) leg(endpoint string, own bool) Upstream {
	u.Way, u.Ways = WayEndpoint, nil
	u.MQTT.Endpoint = endpoint
	u.AWS.Sign = aws.SignAlways
	if own {
		u.AWS = aws.Options{Sign: aws.SignNever, Region: u.AWS.Region}
	} else {
		u.MQTT.TLS.Cert, u.MQTT.TLS.Key = "", ""
		u.MQTT.Username, u.MQTT.Password, u.MQTT.Authorizer = "", "", mqtt.AuthorizerOptions{}
	}
	switch scheme, _, _ := strings.Cut(endpoint, ":"); scheme {
	case "mqtt", "ws": // inside a site
		u.MQTT.TLS = upstream.TLSOptions{}
	case "wss", "https":
		u.MQTT.TLS.ALPN = nil
	}
	if isHTTPS(u) {
		u.MQTT.Username, u.MQTT.Password = "", ""
	}
	if e, err := url.Parse(endpoint); err == nil && isHTTPS(u) && u.MQTT.TLS.Cert != "" {
		u.MQTT.Authorizer = mqtt.AuthorizerOptions{}
		if e.Port() == "" {
			u.MQTT.TLS.ALPN = []string{https.ProtocolOf443} // custom domains, too
		}
	}
	return u
}

// validateWays finds what is wrong with the ways of an upstream that chooses.
func (u Upstream) validateWays() []bridge.Problem {
	if u.Way != WayAuto {
		if len(u.Ways) > 0 {
			return []bridge.Problem{{Path: "ways", Text: "are given, and only one way is used", Remedy: "set way to auto, or remove them"}}
		}
		return u.validate()
	}
	at := "ways"
	if len(u.Ways) == 0 {
		at = "endpoint"
		e, err := url.Parse(u.MQTT.Endpoint)
		if err != nil || e.Scheme != "mqtts" || e.Hostname() == "" || e.Port() != "" && e.Port() != "8883" {
			return []bridge.Problem{{Path: at, Text: "with way: auto it is mqtts://HOST, and the other ways follow from the host", Remedy: "write it so, or list the endpoints under ways"}}
		}
	}
	legs := u.Legs()
	var out []bridge.Problem
	talks := false
	for i, l := range legs {
		posts := isHTTPS(l)
		if !posts && i > 0 && isHTTPS(legs[i-1]) {
			out = append(out, bridge.Problem{Path: at, Text: l.MQTT.Endpoint + " stands behind a way that is for when MQTT is blocked", Remedy: "put https:// ways last"})
		}
		talks = talks || !posts
		for _, p := range l.validate() {
			if p.Path == "endpoint" {
				p.Path, p.Text = at, l.MQTT.Endpoint+": "+p.Text
			}
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	if !talks {
		out = append(out, bridge.Problem{Path: at, Text: "none of the ways speaks MQTT", Remedy: "give one with mqtts:// or wss://, or set way to endpoint"})
	}
	if len(legs) > maxChain {
		out = append(out, bridge.Problem{Path: at, Text: "are too many", Remedy: "keep the best eight"})
	}
	return out
}

func isHTTPS(u Upstream) bool {
	_, yes := u.HTTPS()
	return yes
}

// signsWithout reports whether a way is signed for a region that nobody names.
func (u Upstream) signsWithout() bool {
	for _, l := range u.Legs() {
		if region, signs := l.Signs(); signs && region == "" && u.AWS.Region == "" {
			return true
		}
	}
	return false
}
