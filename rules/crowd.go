package rules

import (
	"fmt"

	"github.com/ebbgate/ebbgate/bridge"
)

// crowded reports the first route of each direction whose every topic more routes
// take than a message may go to. Routes that may leave a message out do not count,
// nor is it seen when filters have topics in common of which none holds the other:
// such a message is refused when it comes.
func (v *validation) crowded(ups []parsedUp, downs []parsedDown) {
	if v.options.Match != "all" {
		return
	}
	for _, u := range ups {
		n := 0
		for _, o := range ups {
			if o.route.Where == "" && !o.route.Sample.on() && covers(o.from, u.from) {
				n++
			}
		}
		if v.crowd(u.at("from"), u.route.From, n) {
			break
		}
	}
	for _, d := range downs {
		n := 0
		for _, o := range downs {
			if o.route.Upstream == d.route.Upstream && covers(o.from, d.from) {
				n++
			}
		}
		if v.crowd(d.at(), d.route.From, n) {
			break
		}
	}
}

func (v *validation) crowd(path, from string, n int) bool {
	if n <= bridge.MaxReceivers {
		return false
	}
	v.add(path, fmt.Sprintf("%s: %d routes take each of its topics, and a message goes to %d at most", quote(from), n, bridge.MaxReceivers),
		"merge routes, or set match: first")
	return true
}
