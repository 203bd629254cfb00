package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestValidate(t *testing.T) {
	type check struct {
		name    string
		edit    func(*Options)
		problem string // path: text; remedy, in part; empty: none
	}
	one := func(edit func(*UpRoute)) func(*Options) {
		return func(o *Options) {
			u := up("a", "dt/#", "")
			edit(&u)
			o.Up = []UpRoute{u}
		}
	}
	pair := func(a, b string) func(*Options) {
		return func(o *Options) { o.Up = []UpRoute{up("a", a, ""), up("b", b, "")} }
	}
	loop := func(upFrom, upTopic, downFrom string) func(*Options) {
		return func(o *Options) {
			o.Up, o.Down = []UpRoute{up("a", upFrom, upTopic)}, []DownRoute{down("b", downFrom, "")}
		}
	}
	for _, tc := range []check{
		{"defaults", func(*Options) {}, ""},
		{"match", func(o *Options) { o.Match = "any" }, `match: "any" is not one of first, all; choose one`},
		{"topic_limits", func(o *Options) { o.TopicLimits = "" }, `topic_limits: "" is not one of aws, mqtt`},
		{"local_only", func(o *Options) { o.LocalOnly = []string{"a/#", "b#"} }, `local_only[1]: "b#" has a wildcard beside`},
		{"no name", one(func(u *UpRoute) { u.Name = "" }), "up[0].name: is missing"},
		{"bad name", one(func(u *UpRoute) { u.Name = "A/b" }), `up[0].name: "A/b" is not a name; use 1 to 64`},
		{"long name", one(func(u *UpRoute) { u.Name = strings.Repeat("a", 65) }), "is not a name"},
		{"no upstream", one(func(u *UpRoute) { u.Upstream = "" }), "up[0].upstream: is missing"},
		{"qos", one(func(u *UpRoute) { u.QoS = "2" }), `up[0].qos: "2" is not one of 0, 1, published`},
		{"retain", one(func(u *UpRoute) { u.Retain = "true" }), `up[0].retain: "true" is not one of clear, keep`},
		{"origin", one(func(u *UpRoute) { u.Origin = "json" }), `up[0].origin: "json" is not one of user_properties, envelope, none`},
		{"priority", one(func(u *UpRoute) { u.Priority = 10 }), "up[0].priority: 10 is not from 0 to 9"},
		{"ttl", one(func(u *UpRoute) { u.TTL = -time.Second }), "up[0].ttl: -1s is negative"},
		{"no filter", one(func(u *UpRoute) { u.From = "" }), "up[0].from: is missing"},
		{"filter", one(func(u *UpRoute) { u.From = "a/#/b" }), `up[0].from: "a/#/b" has "#" before`},
		{"template", one(func(u *UpRoute) { u.Topic = "x/${tpic}" }), `up[0].topic: "x/${tpic}" has an unknown variable ${tpic} at character 3`},
		{"level that is never there", one(func(u *UpRoute) { u.From, u.Topic = "a/+", "${topic[3]}" }), "up[0].topic: \"${topic[3]}\" has ${topic[3]}, but topics that match from have 2 levels"},
		{"level that may be there", one(func(u *UpRoute) { u.Topic = "${topic[3]}" }), ""},
		{"template too deep", one(func(u *UpRoute) { u.Topic = "1/2/3/4/5/6/7/8/9" }), "up[0].topic: its text alone has 8 slashes"},
		{"template too long", one(func(u *UpRoute) { u.Topic = strings.Repeat("a", 257) }), "its text alone has 257 bytes"},
		{"template deep, mqtt", func(o *Options) { o.TopicLimits, o.Up = "mqtt", []UpRoute{up("a", "dt/#", "1/2/3/4/5/6/7/8/9")} }, ""},
		{"down filter too deep", func(o *Options) { o.Down = []DownRoute{down("a", "1/2/3/4/5/6/7/8/9", "")} }, "down[0].from: the filter has 8 slashes"},
		{"device variable down", func(o *Options) { o.Down = []DownRoute{down("a", "cmd/#", "${client_id}")} }, "down[0].topic: \"${client_id}\" has ${client_id} at character 1, but a message"},
		{"same name", pair("x", "y"), ""},
		{"name twice", func(o *Options) {
			o.Up, o.Down = []UpRoute{up("a", "x", "")}, []DownRoute{down("a", "y", "")}
		}, `down[0].name: "a" is also the name of up[0]`},
		{"shadowed", pair("dt/#", "dt/a"), `up[1].from: route "b" ("dt/a") takes nothing: route "a" ("dt/#") stands before it`},
		{"same filter", pair("dt/+", "dt/+"), "takes nothing"},
		{"narrow first", pair("dt/a", "dt/#"), ""},
		{"$ is not shadowed", pair("#", "$aws/things/#"), ""},
		{"shadowed is fine with all", func(o *Options) { pair("dt/#", "dt/a")(o); o.Match = "all" }, ""},
		{"all local", func(o *Options) { pair("dt/a", "x")(o); o.LocalOnly = []string{"dt/#"}; o.Match = "all" }, `up[0].from: route "a" ("dt/a") takes nothing: its topics are all local_only`},
		{"shadowed down", func(o *Options) { o.Down = []DownRoute{down("a", "#", ""), down("b", "cmd/#", "")} }, `down[1].from: route "b"`},
		{"other upstream is not shadowed", func(o *Options) {
			b := down("b", "cmd/#", "")
			b.Upstream = "site"
			o.Down = []DownRoute{down("a", "#", ""), b}
		}, ""},
		{"loop", loop("dt/#", "", "dt/+/cmd"), `down[0].from: route "b" ("dt/+/cmd") hears what route "a" (up[0]) sends to aws: a loop`},
		{"no loop by template", loop("dt/#", "site1/${topic}", "dt/#"), ""},
		{"loop by template", loop("dt/#", "cmd/${client_id}", "cmd/#"), "a loop"},
		{"no loop with another upstream", func(o *Options) { loop("dt/#", "", "dt/#")(o); o.Up[0].Upstream = "site" }, ""},
		{"no loop, since local", func(o *Options) { loop("#", "", "cmd/#")(o); o.LocalOnly = []string{"cmd/#"} }, ""},
		{"loop, since renamed", func(o *Options) { loop("#", "cmd/${topic}", "cmd/#")(o); o.LocalOnly = []string{"cmd/#"} }, "a loop"},
		{"too many up", func(o *Options) { o.Up = make([]UpRoute, MaxRoutes+1) }, "up: 1001 routes are more than 1000"},
		{"too many down", func(o *Options) { o.Down = make([]DownRoute, MaxRoutes+1) }, "down: 1001 routes are more than 1000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, p := range options(tc.edit).Validate() {
				if p.Remedy == "" {
					t.Errorf("%s: %s: no remedy", p.Path, p.Text)
				}
				got = append(got, p.Path+": "+p.Text+"; "+p.Remedy)
			}
			switch {
			case tc.problem == "" && len(got) > 0:
				t.Fatalf("got %q, want none", got)
			case tc.problem != "" && (len(got) != 1 || !strings.Contains(got[0], tc.problem)):
				t.Fatalf("got %q, want %q", got, tc.problem)
			}
		})
	}
}

func TestValidateSaysAllAtOnce(t *testing.T) {
	ps := options(func(o *Options) {
		o.Match, o.LocalOnly = "x", []string{""}
		o.Up = []UpRoute{{}, up("b", "a+", "${")}
		o.Down = []DownRoute{{}}
	}).Validate()
	var paths []string
	for _, p := range ps {
		paths = append(paths, p.Path)
	}
	want := "match local_only[0] up[0].name up[0].upstream up[0].qos up[0].retain up[0].origin" +
		" up[0].on_error up[0].batch.format up[0].compress up[0].batch.age up[0].from up[0].topic" +
		" up[1].from up[1].topic down[0].name down[0].upstream down[0].qos down[0].retain down[0].from down[0].topic"
	if got := strings.Join(paths, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A hundred routes; the message matches the last and must be renamed.
func BenchmarkUp(b *testing.B) {
	for _, match := range []string{"first", "all"} {
		b.Run(match, func(b *testing.B) {
			table := compile(b, func(o *Options) {
				o.Match, o.LocalOnly = match, []string{"local/#", "+/secret/#"}
				for i := range 33 {
					o.Up = append(o.Up,
						up(fmt.Sprintf("a%d", i), fmt.Sprintf("site/%d/+/t", i), ""),
						up(fmt.Sprintf("b%d", i), fmt.Sprintf("+/line%d/#", i), ""),
						up(fmt.Sprintf("c%d", i), fmt.Sprintf("dt/m%d/v", i), ""))
				}
				o.Up = append(o.Up, up("last", "dt/+/pump/#", "gw/${thing_name}/${topic[2]}/${topic[4]}"))
			})
			p, m := device("c", "pump-17"), &bridge.Message{Topic: "dt/hall2/pump/pressure", QoS: 1}
			b.ReportAllocs()
			for b.Loop() {
				if to, err := table.Up(p, m); err != nil || len(to) != 1 {
					b.Fatal(to, err)
				}
			}
		})
	}
}

func TestUpAllocatesAtMostTwice(t *testing.T) {
	table := compile(t, func(o *Options) {
		o.Up = []UpRoute{up("a", "dt/+/pump/#", "gw/${thing_name}/${topic[2]}"), up("b", "x/#", "")}
	})
	p := device("c", "pump-17")
	for topic, most := range map[string]float64{"dt/hall2/pump/pressure": 2, "x/y": 1, "other": 0} {
		m := message(topic)
		if n := testing.AllocsPerRun(100, func() { _, _ = table.Up(p, m) }); n > most {
			t.Errorf("%s: %v allocations, want at most %v", topic, n, most)
		}
	}
}
