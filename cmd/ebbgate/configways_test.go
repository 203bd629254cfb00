package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// TestFileWays: a check tries the ways of an upstream by which files go, in their order,
// until one has answered, whatever it says.
func TestFileWays(t *testing.T) {
	const a, b, web = "mqtts://a", "wss://b", "https://c"
	for name, c := range map[string]struct {
		ways   []string
		answer map[string]bridge.Kind // what is not there takes files
		tried  []string
		err    string
	}{
		"the first":          {[]string{a, b}, nil, []string{a}, ""},
		"the second":         {[]string{a, web, b}, map[string]bridge.Kind{a: bridge.Unavailable}, []string{a, b}, ""},
		"refused":            {[]string{a, b}, map[string]bridge.Kind{a: bridge.NotAuthorized}, []string{a}, "by " + a},
		"the second refuses": {[]string{a, b}, map[string]bridge.Kind{a: bridge.Unavailable, b: bridge.TopicInvalid}, []string{a, b}, "by " + b},
		"none":               {[]string{a, b}, map[string]bridge.Kind{a: bridge.Unavailable, b: bridge.Unavailable}, []string{a, b}, "by " + b},
		"no such way":        {[]string{web}, nil, nil, "upstream cloud has no way by MQTT"},
	} {
		t.Run(name, func(t *testing.T) {
			var legs []configs.Upstream
			for _, way := range c.ways {
				legs = append(legs, configs.Upstream{MQTT: mqtt.Options{Endpoint: way}})
			}
			var tried []string
			takes, err := fileWays("cloud", legs, func(l configs.Upstream) error {
				tried = append(tried, l.MQTT.Endpoint)
				if kind, refuses := c.answer[l.MQTT.Endpoint]; refuses {
					return bridge.Errorf(bridge.OpExport, kind, "by %s", l.MQTT.Endpoint)
				}
				return nil
			})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || err == nil && takes != "upstream cloud takes files" || !slices.Equal(tried, c.tried) {
				t.Errorf("tried %q: %q, %v", tried, takes, err)
			}
		})
	}
}
