package main

import (
	"testing"

	"github.com/ebbgate/ebbgate/configs"
)

// What a crash may have left on the way goes by what can be: over HTTPS by its own
// window, however many in_flight says, and with ways or other upstreams by the largest.
func TestTheWindowThatACrashIsBilledBy(t *testing.T) {
	up := func(endpoint string, inFlight int, to string) configs.Upstream {
		var u configs.Upstream
		u.MQTT.Endpoint, u.MQTT.Limits.InFlight, u.Failover.To = endpoint, inFlight, to
		return u
	}
	const mqtts, https = "mqtts://cloud.example.com:8883", "https://cloud.example.com:8443"
	auto := up(https, 500, "")
	auto.Way = configs.WayAuto
	for _, c := range []struct {
		name    string
		of, two configs.Upstream
		want    int
	}{
		{"over MQTT", up(mqtts, 500, ""), configs.Upstream{}, 500},
		{"over HTTPS", up(https, 500, ""), configs.Upstream{}, 32},
		{"over HTTPS, with fewer", up(https, 5, ""), configs.Upstream{}, 5},
		{"by the way that is free", auto, configs.Upstream{}, 500},
		{"over HTTPS, and MQTT takes over", up(https, 500, "two"), up(mqtts, 100, ""), 100},
		{"over MQTT, and HTTPS takes over", up(mqtts, 10, "two"), up(https, 100, ""), 32},
	} {
		cfg := configs.Default()
		cfg.Upstreams = map[string]configs.Upstream{"one": c.of, "two": c.two}
		if got := (&gateway{cfg: cfg}).window("one"); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
