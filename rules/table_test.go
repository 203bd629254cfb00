package rules

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestUp(t *testing.T) {
	first := compile(t, func(o *Options) {
		o.LocalOnly = []string{"local/#", "+/secret"}
		alarms := up("alarms", "dt/+/alarm", "gw/${thing_name}/alarm")
		alarms.QoS, alarms.Priority, alarms.TTL, alarms.Retain, alarms.Origin = "published", 9, time.Hour, "keep", "envelope"
		quiet := up("quiet", "q/#", "")
		quiet.QoS, quiet.Origin = "0", "none"
		o.Up = []UpRoute{alarms, up("telemetry", "dt/#", ""), quiet, up("shadow", "$aws/things/+/shadow/#", "")}
	})
	for _, tc := range []struct {
		name string
		m    bridge.Message
		want []bridge.Receiver
	}{
		{"first match", bridge.Message{Topic: "dt/p1/alarm", QoS: 2, Retain: true}, []bridge.Receiver{
			{Queue: "up/aws/alarms", Topic: "gw/pump/alarm", QoS: 1, Retain: true, TTL: time.Hour, Origin: bridge.OriginEnvelope}}},
		{"published QoS 0", bridge.Message{Topic: "dt/p1/alarm"}, []bridge.Receiver{
			{Queue: "up/aws/alarms", Topic: "gw/pump/alarm", TTL: time.Hour, Origin: bridge.OriginEnvelope}}},
		{"second, retain cleared, QoS raised", bridge.Message{Topic: "dt/p1/t", Retain: true}, []bridge.Receiver{
			{Queue: "up/aws/telemetry", Topic: "dt/p1/t", QoS: 1, Origin: bridge.OriginUserProperties}}},
		{"QoS lowered, no origin", bridge.Message{Topic: "q/1", QoS: 1}, []bridge.Receiver{{Queue: "up/aws/quiet", Topic: "q/1"}}},
		{"named $-filter", bridge.Message{Topic: "$aws/things/a/shadow/get", QoS: 1}, []bridge.Receiver{
			{Queue: "up/aws/shadow", Topic: "$aws/things/a/shadow/get", QoS: 1, Origin: bridge.OriginUserProperties}}},
		{"no route", bridge.Message{Topic: "x"}, nil},
		{"local only", bridge.Message{Topic: "local/x"}, nil},
		{"local only, although routed", bridge.Message{Topic: "dt/secret"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := first.Up(device("c", "pump"), &tc.m)
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("got %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

func TestMatchAll(t *testing.T) {
	all := compile(t, func(o *Options) {
		o.Match = "all"
		b := up("b", "dt/1", "copy/${topic}")
		b.Upstream = "site"
		o.LocalOnly = []string{"dt/secret"}
		o.Up = []UpRoute{up("a", "dt/#", ""), b, up("c", "x/#", ""), up("d", "+/1", "things/${thing_name}")}
	})
	got, err := all.Up(device("c", "pump"), message("dt/1"))
	if err != nil {
		t.Fatal(err)
	}
	var queues []string
	for _, r := range got {
		queues = append(queues, r.Queue+" "+r.Topic)
	}
	if want := []string{"up/aws/a dt/1", "up/site/b copy/dt/1", "up/aws/d things/pump"}; !slices.Equal(queues, want) {
		t.Fatalf("got %q, want %q", queues, want)
	}
	if got, err := all.Up(device("c", ""), message("dt/1")); bridge.KindOf(err) != bridge.TopicInvalid || got != nil {
		t.Fatalf("one route cannot make its topic: got %v, %v, want no receivers at all", got, err)
	}
	if got, err := all.Up(device("c", "pump"), message("dt/secret")); err != nil || got != nil {
		t.Fatalf("local only: got %v, %v", got, err)
	}
}

func TestDown(t *testing.T) {
	table := compile(t, func(o *Options) {
		a := down("commands", "cmd/#", "local/${topic[2]}")
		a.Retain = "keep"
		b := down("other", "cmd/#", "")
		b.Upstream, b.TTL, b.QoS = "site", time.Minute, "published"
		o.Down = []DownRoute{a, b, down("rest", "jobs/#", "")}
	})
	got, err := table.Down("aws", &bridge.Message{Topic: "cmd/7", QoS: 0, Retain: true})
	if want := []bridge.Receiver{{Queue: "down/aws/commands", Topic: "local/7", QoS: 1, Retain: true, TTL: 24 * time.Hour}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	got, err = table.Down("site", message("cmd/7"))
	if want := []bridge.Receiver{{Queue: "down/site/other", Topic: "cmd/7", QoS: 1, TTL: time.Minute}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := table.Down("aws", message("cmd")); bridge.KindOf(err) != bridge.TopicInvalid {
		t.Fatalf("missing level: got %v", err)
	}
	for _, upstream := range []string{"site", "elsewhere"} {
		if got, err := table.Down(upstream, message("jobs/1")); got != nil || err != nil {
			t.Fatalf("%s: got %v, %v", upstream, got, err)
		}
	}
}

func TestHops(t *testing.T) {
	table := compile(t, func(o *Options) {
		o.Up = []UpRoute{up("a", "dt/#", "")}
		o.Down = []DownRoute{down("b", "cmd/#", "")}
	})
	for _, tc := range []struct {
		hops string
		ok   bool
	}{{"7", true}, {"8", false}, {"255", false}, {"-1", false}, {"many", false}} {
		with := func(topic string) *bridge.Message {
			m := message(topic)
			m.User = []bridge.UserProperty{{Key: bridge.PropHops, Value: tc.hops}}
			return m
		}
		_, upErr := table.Up(device("c", ""), with("dt/1"))
		_, downErr := table.Down("aws", with("cmd/1"))
		for _, err := range []error{upErr, downErr} {
			if tc.ok != (err == nil) || !tc.ok && (bridge.KindOf(err) != bridge.TopicInvalid || !strings.Contains(err.Error(), "loop")) {
				t.Errorf("%s hops: %v", tc.hops, err)
			}
		}
		if _, err := table.Up(device("c", ""), with("stays/here")); err != nil {
			t.Errorf("%s hops, unrouted: %v", tc.hops, err)
		}
	}
}

func TestQueuesAndSubscriptions(t *testing.T) {
	table := compile(t, func(o *Options) {
		o.Match = "all"
		a := up("a", "dt/#", "")
		a.Priority = 9
		c := down("c", "cmd/#", "other/${topic}")
		c.QoS = "0"
		d := down("d", "cmd/#", "")
		e := down("e", "jobs/#", "")
		e.Upstream, e.QoS = "site", "0"
		o.Up, o.Down = []UpRoute{a, up("b", "x/#", "")}, []DownRoute{c, d, e}
	})
	want := []Queue{
		{"up/aws/a", "up", "aws", "a", 9, "", false, false}, {"up/aws/b", "up", "aws", "b", 4, "", false, false},
		{"down/aws/c", "down", "aws", "c", 4, "", false, false}, {"down/aws/d", "down", "aws", "d", 4, "", false, false}, {"down/site/e", "down", "site", "e", 4, "", false, false},
	}
	if got := table.Queues(); !slices.Equal(got, want) {
		t.Errorf("queues: %+v", got)
	}
	if got := table.Subscriptions("aws"); !slices.Equal(got, []string{"cmd/#"}) {
		t.Errorf("aws: %+v", got)
	}
	if got := table.Subscriptions("site"); !slices.Equal(got, []string{"jobs/#"}) {
		t.Errorf("site: %+v", got)
	}
	if got := table.Subscriptions("none"); len(got) != 0 {
		t.Errorf("none: %+v", got)
	}
}

func TestCompileSaysAllProblems(t *testing.T) {
	_, err := Compile(options(func(o *Options) { o.Match, o.Up = "some", []UpRoute{up("a", "dt/#/x", "")} }))
	if err == nil || !strings.Contains(err.Error(), "match: ") || !strings.Contains(err.Error(), "up[0].from: ") {
		t.Fatal(err)
	}
	if e := (*bridge.Error)(nil); errors.As(err, &e) {
		t.Fatal("a mistake in the file is not a verdict on a message")
	}
}

func TestSwapUnderLoad(t *testing.T) {
	table := func(name string) *Table {
		return compile(t, func(o *Options) { o.Up = []UpRoute{up(name, "dt/#", "")} })
	}
	a, b := table("a"), table("b")
	r := NewRouter(a)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				got, _, err := r.Up(device("c", ""), message("dt/1"))
				if err != nil || len(got) != 1 || got[0].Queue != "up/aws/a" && got[0].Queue != "up/aws/b" {
					t.Errorf("got %v, %v", got, err)
					return
				}
			}
		})
	}
	for range 1000 {
		r.Swap(b)
		r.Swap(a)
	}
	wg.Wait()
	r.Swap(b)
	if r.Table() != b {
		t.Error("the last table is not in force")
	}
	if got, err := r.Down("aws", message("x")); got != nil || err != nil {
		t.Error(got, err)
	}
}
