package rules

import (
	"fmt"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// What AWS reserves for itself cannot be routed: who publishes lifecycle events
// to it can be disconnected (B197, B82), and Basic Ingest topics cannot be
// subscribed to (B146).
var (
	lifecycleEvents = mustFilter("$aws/events/#")
	basicIngestAll  = mustFilter(basicIngest + "#")
)

// reserved reports each route that AWS would refuse. Other brokers may do as
// they like: topic_limits says which it is.
func reserved(local [][]level, ups []parsedUp, downs []parsedDown) []bridge.Problem {
	var ps []bridge.Problem
	for _, u := range ups {
		stays := u.topic.verbatim && slices.ContainsFunc(local, func(f []level) bool { return covers(f, lifecycleEvents) })
		if !stays && intersects(u.topic.pattern(u.from), lifecycleEvents) {
			ps = append(ps, bridge.Problem{
				Path:   u.at("topic"),
				Text:   fmt.Sprintf("%s sends to $aws/events/, where only AWS publishes: it would end the connection", named(u.route.Name, u.route.From)),
				Remedy: `give lifecycle events a topic of their own, such as "site1/${topic[4]}/${topic[5]}", or keep them with local_only: [$aws/events/#]`,
			})
		}
	}
	for _, d := range downs {
		if covers(basicIngestAll, d.from) {
			ps = append(ps, bridge.Problem{
				Path:   d.at(),
				Text:   fmt.Sprintf("%s subscribes to Basic Ingest, which AWS does not allow", named(d.route.Name, d.route.From)),
				Remedy: "subscribe to the topic that the rule republishes to",
			})
		}
	}
	return ps
}
