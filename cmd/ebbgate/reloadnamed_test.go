package main

import (
	"maps"
	"testing"

	"github.com/ebbgate/ebbgate/configs"
)

// A reload that changes what an upstream is billed by names it.
func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	_, cfg := spooled(t)
	for name, c := range map[string]struct {
		change func(u map[string]configs.Upstream)
		want   string
	}{
		"nothing": {func(map[string]configs.Upstream) {}, ""},
		"another": {func(u map[string]configs.Upstream) { u["second"] = u["cloud"] }, "upstreams.second"},
		"none":    {func(u map[string]configs.Upstream) { delete(u, "cloud") }, "upstreams.cloud"},
		"protocol": {func(u map[string]configs.Upstream) {
			c := u["cloud"]
			c.MQTT.Protocol = "3.1.1"
			u["cloud"] = c
		}, "upstreams.cloud.protocol"},
		"https": {func(u map[string]configs.Upstream) {
			c := u["cloud"]
			c.MQTT.Endpoint = "https://a1b2-ats.iot.eu-central-1.amazonaws.com:8443"
			u["cloud"] = c
		}, "upstreams.cloud.endpoint or .way (to HTTPS, or from it)"},
		"region": {func(u map[string]configs.Upstream) {
			c := u["cloud"]
			c.MQTT.Endpoint = "mqtts://a1b2-ats.iot.eu-central-1.amazonaws.com"
			u["cloud"] = c
		}, "upstreams.cloud.endpoint (another region)"},
		"unit": {func(u map[string]configs.Upstream) {
			c := u["cloud"]
			c.Billing.Unit, c.Billing.Region = 5000, "eu-west-1"
			u["cloud"] = c
		}, "upstreams.cloud.billing.region, upstreams.cloud.billing.unit"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := *cfg
			changed.Upstreams = maps.Clone(cfg.Upstreams)
			c.change(changed.Upstreams)
			if got := needsRestart(cfg, &changed); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
