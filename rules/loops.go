package rules

import (
	"fmt"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// Loops. What a route sends up comes straight back down when the gateway
// subscribes to it: AWS ignores No Local (B120), MQTT 3.1.1 does not have it,
// and each echo is billed. So a route up whose resulting topics can match the
// filter of a route down of the same upstream is refused before it runs, unless
// local_only keeps those topics on the site anyway. What goes round through
// other gateways is stopped by its hop count.

// parsedUp and parsedDown are routes whose filter and template are sound.
type parsedUp struct {
	i     int
	route UpRoute
	from  []level
	topic *template
}

type parsedDown struct {
	i     int
	route DownRoute
	from  []level
}

// loops reports each route down that hears a route up.
func loops(local [][]level, ups []parsedUp, downs []parsedDown) []bridge.Problem {
	var ps []bridge.Problem
	for _, u := range ups {
		sent := u.topic.pattern(u.from)
		for _, d := range downs {
			stays := u.topic.verbatim && slices.ContainsFunc(local, func(f []level) bool { return covers(f, d.from) })
			if u.route.Upstream == d.route.Upstream && !stays && intersects(sent, d.from) {
				ps = append(ps, bridge.Problem{
					Path:   d.at(),
					Text:   fmt.Sprintf("%s hears what route %s (%s) sends to %s: a loop", named(d.route.Name, d.route.From), quote(u.route.Name), u.at(""), u.route.Upstream),
					Remedy: "let the two use topics that cannot overlap, such as dt/# up and cmd/# down",
				})
			}
		}
	}
	return ps
}

func named(name, from string) string { return fmt.Sprintf("route %s (%q)", quote(name), from) }
