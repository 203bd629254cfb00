package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// connectUpstreams logs in to every upstream, once, as the gateway would, and
// says how it went. The first that refuses is the error.
func connectUpstreams(ctx context.Context, w io.Writer, cfg *configs.Config) error {
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u := cfg.Upstreams[name]
		if u.Type == configs.TypeSandbox {
			continue // it is on this machine and takes everybody
		}
		if err := mqtt.Check(ctx, u.MQTT, u.MQTT.ClientID); err != nil {
			return fmt.Errorf("upstream %s at %s: %w", name, u.MQTT.Endpoint, err)
		}
		_, _ = fmt.Fprintf(w, "upstream %s takes us as %s\n", name, u.MQTT.ClientID)
	}
	return nil
}
