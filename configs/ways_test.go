package configs

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/upstream/aws"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// The ways that a login makes possible, in their order, each with that login alone
// and with AWS's name for it in TLS (B05-B10, B198).
func TestLegs(t *testing.T) {
	const host = "a1-ats.iot.eu-central-1.amazonaws.com"
	for _, c := range []struct {
		name   string
		change func(*Upstream)
		want   []string
	}{
		{"a certificate", func(u *Upstream) { u.MQTT.TLS.Cert = "c" }, []string{
			"mqtts://" + host + " cert []", "mqtts://" + host + ":443 cert [x-amzn-mqtt-ca]",
			"https://" + host + " cert [x-amzn-http-ca]", "https://" + host + ":8443 cert []",
		}},
		{"AWS credentials", func(*Upstream) {}, []string{"wss://" + host + " signed []", "https://" + host + " signed []"}},
		{"both", func(u *Upstream) { u.MQTT.TLS.Cert, u.AWS.Profile = "c", "plant" }, []string{
			"mqtts://" + host + " cert []", "mqtts://" + host + ":443 cert [x-amzn-mqtt-ca]", "wss://" + host + " signed []",
			"https://" + host + " signed []", "https://" + host + " cert [x-amzn-http-ca]", "https://" + host + ":8443 cert []",
		}},
		{"an authorizer", func(u *Upstream) {
			u.MQTT.Username, u.MQTT.Authorizer = "plant", mqtt.AuthorizerOptions{Name: "gateways"}
		}, []string{
			"mqtts://" + host + ":443 custom [mqtt]", "wss://" + host + " custom []", "https://" + host + " custom []",
		}},
		{"never signed", func(u *Upstream) {
			u.MQTT.TLS.Cert, u.AWS.Sign = "c", aws.SignNever
			u.Ways = []string{"mqtts://x", "wss://x"}
		}, []string{
			"mqtts://x cert []", "wss://x cert []",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := DefaultUpstream()
			u.Way, u.MQTT.Endpoint = WayAuto, "mqtts://"+host
			c.change(&u)
			var got []string
			for _, l := range u.Legs() {
				login := ""
				if l.MQTT.TLS.Cert != "" {
					login += "cert"
				}
				if _, signs := l.Signs(); signs {
					login += "signed"
				}
				if l.MQTT.Authorizer.Used() {
					login += "custom"
				}
				got = append(got, fmt.Sprint(l.MQTT.Endpoint, " ", login, " ", l.MQTT.TLS.ALPN))
				if l.Way != WayEndpoint || len(l.Legs()) != 1 {
					t.Errorf("%s chooses again", l.MQTT.Endpoint)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("ways\n%q, want\n%q", got, c.want)
			}
		})
	}
}
