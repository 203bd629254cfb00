package rules

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// naiveMatch is MQTT 5 §4.7 as it reads.
func naiveMatch(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		if strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#") {
			return false
		}
	}
	return naiveLevels(strings.Split(filter, "/"), strings.Split(topic, "/"))
}

func naiveLevels(f, t []string) bool {
	switch {
	case len(f) == 1 && f[0] == "#":
		return true
	case len(f) == 0 || len(t) == 0:
		return len(f) == 0 && len(t) == 0
	default:
		return (f[0] == "+" || f[0] == t[0]) && naiveLevels(f[1:], t[1:])
	}
}

// up and down make routes with defaults.
func up(name, from, topic string) UpRoute {
	r := DefaultUpRoute()
	r.Name, r.From, r.Upstream = name, from, "aws"
	if topic != "" {
		r.Topic = topic
	}
	return r
}

func down(name, from, topic string) DownRoute {
	r := DefaultDownRoute()
	r.Name, r.From, r.Upstream = name, from, "aws"
	if topic != "" {
		r.Topic = topic
	}
	return r
}

func options(edit func(*Options)) Options {
	o := DefaultOptions()
	edit(&o)
	return o
}

func compile(t testing.TB, edit func(*Options)) *Table {
	t.Helper()
	table, err := Compile(options(edit))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func message(topic string) *bridge.Message { return &bridge.Message{Topic: topic, QoS: 1} }

func device(client, thing string) *bridge.Principal {
	return &bridge.Principal{ClientID: client, Thing: bridge.Thing{Name: thing}}
}
