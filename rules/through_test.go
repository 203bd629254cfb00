package rules

import (
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A route without steps that is to go through its raw queue does, its line changes
// nothing, and the others go as they did.
func TestThrough(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	for _, name := range []string{"a", "b"} {
		r := DefaultUpRoute()
		r.Name, r.From, r.Upstream = name, name+"/#", "cloud"
		o.Up = append(o.Up, r)
	}
	table, err := Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	table.Through(func(queue string) bool { return queue == "up/cloud/a" })
	if s := table.Shaped(); len(s) != 1 || s[0].Queue != "up/cloud/a" || s[0].Steps.Any() || s[0].Upstream != "cloud" {
		t.Errorf("%+v", s)
	}
	router := NewRouter(table)
	for topic, want := range map[string]string{"a/1": bridge.RawQueue("up/cloud/a"), "b/1": "up/cloud/b"} {
		to, _, err := router.Up(&bridge.Principal{ClientID: "d"}, &bridge.Message{Topic: topic, QoS: 1})
		if err != nil || len(to) != 1 || to[0].Queue != want || to[0].Topic != topic {
			t.Errorf("%s goes to %+v, %v", topic, to, err)
		}
	}
}
