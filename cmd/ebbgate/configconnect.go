package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/ebbgate/ebbgate/configs"
)

// connectUpstreams logs in to every upstream, once, as the gateway would, and
// says how it went. The first that refuses is the error.
func connectUpstreams(ctx context.Context, w io.Writer, cfg *configs.Config) error {
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u := cfg.Upstreams[name]
		if u.Type == configs.TypeSandbox {
			continue // it is on this machine and takes everybody
		}
		if err := checkWays(ctx, w, name, u, topicTo(name, cfg)); err != nil {
			return err
		}
		takes := func(id string) { _, _ = fmt.Fprintf(w, "upstream %s takes us as %s\n", name, id) }
		if err := checkThings(ctx, u, takes); err != nil {
			return fmt.Errorf("upstream %s at %s: %w", name, u.MQTT.Endpoint, err)
		}
	}
	return checkFiles(ctx, w, cfg)
}

// checkWays logs in by every way that there is, and fails when none of them leads
// there.
func checkWays(ctx context.Context, w io.Writer, name string, u configs.Upstream, topic string) error {
	var first error
	open := 0
	for _, l := range u.Legs() {
		err := checkLogin(ctx, l, topic)
		if err == nil {
			open++
			_, _ = fmt.Fprintf(w, "upstream %s takes us as %s by %s\n", name, u.MQTT.ClientID, l.MQTT.Endpoint)
			continue
		}
		err = fmt.Errorf("upstream %s at %s: %w%s", name, l.MQTT.Endpoint, err, wayOut(name, err))
		if u.Way == configs.WayAuto {
			_, _ = fmt.Fprintln(w, err)
		}
		if first == nil {
			first = err
		}
	}
	if open == 0 {
		return first
	}
	return nil
}

// topicTo is a filter of topics that the routes send to an upstream, of which its
// policy will allow some: what the templates fill in is a wildcard.
func topicTo(name string, cfg *configs.Config) string {
	for _, r := range cfg.Routes.Up {
		if r.Upstream == name {
			filled := strings.ReplaceAll(r.Topic, "${topic}", strings.TrimSuffix(r.From, "/#"))
			return placeholder.ReplaceAllString(filled, "+")
		}
	}
	return "ebbgate/check"
}

// placeholder is what a template fills in.
var placeholder = regexp.MustCompile(`\$\{[^}]*\}`)

// wayOut is the remedy when there was nobody to refuse us.
func wayOut(upstream string, err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("; correct the host of upstreams.%s.endpoint, or this machine's name server: it does not know %s", upstream, dns.Name)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("; start the broker there, or correct the port of upstreams.%s.endpoint", upstream)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "; check the cable, the route and the firewall between this machine and it"
	}
	return ""
}
