package rules

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func passing(edit ...func(*PassThroughOptions)) Options {
	o := DefaultOptions()
	o.PassThrough.Upstream = "aws"
	for _, f := range edit {
		f(&o.PassThrough)
	}
	return o
}

// TestPassThrough: every request of every service has its route, with the
// topic, the queue and the life that it needs; nothing else has.
func TestPassThrough(t *testing.T) {
	table, err := Compile(passing())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{
		"$aws/things/p/shadow/get", "$aws/things/p/shadow/update", "$aws/things/p/shadow/delete",
		"$aws/things/p/shadow/name/n/get", "$aws/things/p/shadow/name/n/update", "$aws/things/p/shadow/name/n/delete",
		"$aws/things/p/jobs/get", "$aws/things/p/jobs/start-next", "$aws/things/p/jobs/$next/get", "$aws/things/p/jobs/7/update",
		"$aws/certificates/create/json", "$aws/certificates/create-from-csr/cbor", "$aws/provisioning-templates/t/provision/json",
	} {
		got, err := table.Up(device("c", "p"), &bridge.Message{Topic: topic, QoS: 1})
		want := bridge.Receiver{Queue: "up/aws/pass-through", Topic: topic, QoS: 1, TTL: 24 * time.Hour, Origin: bridge.OriginNone}
		if !strings.HasPrefix(topic, "$aws/things/") {
			want.QoS = 0 // a certificate is not made twice
		}
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v, %v", topic, got, err)
		}
	}
	for _, topic := range []string{
		"$aws/things/p/shadow/update/accepted", "$aws/things/p/shadow/update/delta", "$aws/things/p/jobs/notify",
		"$aws/things/p/jobs/get/accepted", "$aws/certificates/create/json/accepted", "$aws/things/p/streams/1/get/json", "dt/x",
	} {
		if got, err := table.Up(device("c", "p"), message(topic)); err != nil || got != nil {
			t.Errorf("%s goes up: %+v, %v", topic, got, err)
		}
	}
	queues := []Queue{
		{"up/aws/pass-through", "up", "aws", "pass-through", 8, "", false, false},
		{"down/aws/pass-through", "down", "aws", "pass-through", 8, "", false, false},
	}
	if got := table.Queues(); !slices.Equal(got, queues) {
		t.Errorf("queues %+v", got)
	}
}

// TestPassThrough_Subscriptions: few enough for any number of things (Q16, Q17),
// and none that hears a request (B120).
func TestPassThrough_Subscriptions(t *testing.T) {
	for answers, want := range map[string]int{"direct": 8, "subscribe": 16} {
		table, err := Compile(passing(func(p *PassThroughOptions) { p.Answers = answers }))
		if err != nil {
			t.Fatalf("%s: %v", answers, err) // a loop is an error
		}
		subs := table.Subscriptions("aws")
		if len(subs) != want {
			t.Errorf("%s: %d subscriptions, want %d: %v", answers, len(subs), want, subs)
		}
		for _, s := range subs {
			if strings.Contains(s, "#") {
				t.Errorf("%s: %s", answers, s)
			}
			if strings.HasPrefix(s, "$aws/certificates/") && answers == "direct" {
				t.Errorf("%s is subscribed to, although AWS sends it to who asked (B212)", s)
			}
		}
	}
	table, err := Compile(passing(func(p *PassThroughOptions) { p.Services = []string{"jobs"} }))
	if err != nil || len(table.Subscriptions("aws")) != 2 {
		t.Errorf("jobs only: %v, %v", table.Subscriptions("aws"), err)
	}
	if table, err := Compile(DefaultOptions()); err != nil || len(table.Queues()) != 0 {
		t.Errorf("without an upstream something passes: %v, %v", table.Queues(), err)
	}
}

func TestPassThrough_Validate(t *testing.T) {
	for _, tc := range []struct {
		name    string
		edit    func(*Options)
		problem string // in part; empty: none
	}{
		{"defaults", func(*Options) {}, ""},
		{"offline", func(o *Options) { o.PassThrough.Offline = "hold" }, `pass_through.offline: "hold" is not one of reject, silent, queue`},
		{"answers", func(o *Options) { o.PassThrough.Answers = "" }, "pass_through.answers: "},
		{"service", func(o *Options) { o.PassThrough.Services = []string{"jobs", "shadows"} }, `pass_through.services[1]: "shadows" is not one of shadow, jobs, provisioning`},
		{"timeout", func(o *Options) { o.PassThrough.Timeout = 1500 * time.Millisecond }, "pass_through.timeout: 1.5s is out of range"},
		{"ttl", func(o *Options) { o.PassThrough.TTL = 0 }, "pass_through.ttl: 0s is out of range"},
		{"in flight", func(o *Options) { o.PassThrough.InFlight = 0 }, "pass_through.in_flight: 0 is out of range"},
		{"priority", func(o *Options) { o.PassThrough.Priority = 10 }, "pass_through.priority: 10 is not"},
		{"no upstream", func(o *Options) { o.PassThrough = PassThroughOptions{} }, ""},
		{"the name is taken", func(o *Options) { o.Up = []UpRoute{up("pass-through", "dt/#", "")} }, `up[0].name: "pass-through" is also the name of pass_through`},
		{"a route that hears requests", func(o *Options) {
			o.Down = []DownRoute{down("a", "$aws/things/+/shadow/#", "")}
		}, `down[0].from: route "a" ("$aws/things/+/shadow/#") hears what route "pass-through" (pass_through) sends to aws: a loop`},
		{"a route that sends answers", func(o *Options) {
			o.Up = []UpRoute{up("a", "$aws/things/+/shadow/update/#", "")}
		}, `pass_through: route "pass-through" ("$aws/things/+/shadow/+/accepted") hears what route "a" (up[0]) sends to aws: a loop`},
		{"a route that comes too late", func(o *Options) {
			o.Up = []UpRoute{up("a", "$aws/things/+/shadow/get", "")}
		}, `up[0].from: route "a" ("$aws/things/+/shadow/get") takes nothing: route "pass-through"`},
		{"documents beside it", func(o *Options) {
			o.Down = []DownRoute{down("a", "$aws/things/+/shadow/update/documents", "")}
		}, ""},
		{"all of it stays", func(o *Options) { o.LocalOnly = []string{"$aws/#"} }, `pass_through: route "pass-through" ("$aws/things/+/shadow/get") takes nothing: its topics are all local_only`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := passing()
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
