package rules

import (
	"strings"
	"testing"
)

// TestReserved: what AWS would refuse is refused before it runs (B146, B197).
func TestReserved(t *testing.T) {
	for _, tc := range []struct {
		name    string
		edit    func(*Options)
		problem string // in part; empty: none
	}{
		{"lifecycle events as they are", func(o *Options) {
			o.Up = []UpRoute{up("a", "$aws/events/presence/#", "")}
		}, "up[0].topic: route \"a\" (\"$aws/events/presence/#\") sends to $aws/events/"},
		{"all that is AWS's", func(o *Options) { o.Up = []UpRoute{up("a", "$aws/#", "")} }, "up[0].topic: route"},
		{"all that is AWS's, but events stay", func(o *Options) {
			o.LocalOnly, o.Up = []string{"$aws/events/#"}, []UpRoute{up("a", "$aws/#", "")}
		}, ""},
		{"lifecycle events elsewhere", func(o *Options) {
			o.Up = []UpRoute{up("a", "$aws/events/presence/#", "site1/${topic[4]}/${topic[5]}")}
		}, ""},
		{"lifecycle events, another broker", func(o *Options) {
			o.TopicLimits, o.Up = "mqtt", []UpRoute{up("a", "$aws/events/#", "")}
		}, ""},
		{"telemetry", func(o *Options) { o.Up = []UpRoute{up("a", "#", "")} }, ""},
		{"Basic Ingest up", func(o *Options) { o.Up = []UpRoute{up("a", "$aws/rules/#", "")} }, ""},
		{"Basic Ingest down", func(o *Options) { o.Down = []DownRoute{down("a", "$aws/rules/r/#", "x")} }, "down[0].from: route \"a\" (\"$aws/rules/r/#\") subscribes to Basic Ingest"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := DefaultOptions()
			tc.edit(&o)
			var found []string
			for _, p := range o.Validate() {
				found = append(found, p.Path+": "+p.Text)
			}
			all := strings.Join(found, "\n")
			if tc.problem == "" && all != "" || !strings.Contains(all, tc.problem) {
				t.Errorf("got %q, want %q", all, tc.problem)
			}
		})
	}
}

// TestTakes: the answer is that of Up, without a message.
func TestTakes(t *testing.T) {
	table := compile(t, func(o *Options) {
		o.LocalOnly = []string{"dt/secret"}
		site := up("b", "dt/x", "")
		site.Upstream = "site"
		o.Up = []UpRoute{site, up("a", "dt/#", "")}
	})
	for topic, want := range map[string]string{"dt/x": "site", "dt/y": "aws", "dt/secret": "", "x": "", "$aws/rules/r/x": ""} {
		got, ok := NewRouter(table).Takes(topic)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", topic, got, ok, want)
		}
		if to, err := table.Up(device("c", ""), message(topic)); err != nil || (len(to) > 0) != ok {
			t.Errorf("%s: Takes says %v, Up %v, %v", topic, ok, to, err)
		}
	}
}
