package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// many are n routes with the same filter, each changed by edit.
func many(n int, from string, edit func(i int, r *UpRoute)) (out []UpRoute) {
	for i := range n {
		r := up(fmt.Sprintf("r%d", i), from, "")
		edit(i, &r)
		out = append(out, r)
	}
	return out
}

// A topic that more routes take than a message may go to is a fault of the
// configuration, when that can be told from the filters.
func TestMoreRoutesThanAMessageGoesTo(t *testing.T) {
	as := func(int, *UpRoute) {}
	wider := func(i int, r *UpRoute) {
		if i%2 == 0 {
			r.From = "dt/#"
		}
	}
	for name, tc := range map[string]struct {
		match    string
		up, down int
		edit     func(int, *UpRoute)
		want     string
	}{
		"as many as possible":    {match: "all", up: 64, down: 64, edit: as},
		"one more up":            {match: "all", up: 65, edit: as, want: "up[0].from: \"dt/a\": 65 routes take each of its topics, and a message goes to 64 at most; merge routes"},
		"one more down":          {match: "all", down: 65, edit: as, want: "down[0].from: \"cmd/a\": 65 routes"},
		"wider ones count":       {match: "all", up: 65, edit: wider, want: "up[1].from: \"dt/a\": 65 routes"},
		"who may leave it out":   {match: "all", up: 65, edit: func(i int, r *UpRoute) { r.Where = fmt.Sprintf("payload.n == %d", i) }},
		"who takes a part of it": {match: "all", up: 65, edit: func(_ int, r *UpRoute) { r.Sample.OneIn = 2 }},
		"disjoint filters":       {match: "all", up: 65, edit: func(i int, r *UpRoute) { r.From = fmt.Sprintf("dt/%d", i) }},
	} {
		_, err := Compile(options(func(o *Options) {
			o.Match, o.Up = tc.match, many(tc.up, "dt/a", tc.edit)
			for i := range tc.down {
				o.Down = append(o.Down, down(fmt.Sprintf("d%d", i), "cmd/a", ""))
			}
		}))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Count(err.Error(), "routes take") != 1) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// What cannot be told from the filters is refused when it comes, and at once: it is
// the message's fault and not the spool's, which would be waited for.
func TestAMessageThatTooManyRoutesTake(t *testing.T) {
	for _, n := range []int{64, 65} {
		table := compile(t, func(o *Options) {
			o.Match = "all"
			o.Up = many(n, "dt/+/b", func(i int, r *UpRoute) {
				if i%2 == 0 {
					r.From = "dt/a/+"
				}
			})
		})
		to, err := table.Up(device("c", ""), message("dt/a/b"))
		switch {
		case n == 64 && (err != nil || len(to) != 64):
			t.Errorf("%d receivers, %v", len(to), err)
		case n == 65 && (bridge.KindOf(err) != bridge.TopicInvalid || !strings.Contains(err.Error(), "more than 64 routes take the topic") || to != nil):
			t.Errorf("%d receivers, %v", len(to), err)
		}
		if to, err := table.Up(device("c", ""), message("dt/a/c")); err != nil || len(to) > 33 {
			t.Errorf("a topic of half of the routes: %d receivers, %v", len(to), err)
		}
	}
}
