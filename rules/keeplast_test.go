package rules

import (
	"strings"
	"testing"
)

func TestKeepLast(t *testing.T) {
	o := DefaultOptions()
	for _, r := range []struct {
		name, from string
		n          int
	}{{"all", "dt/#", 0}, {"state", "state/#", 1}, {"plant", "spBv1.0/g/#", 3}} {
		u := DefaultUpRoute()
		u.Name, u.From, u.Upstream, u.KeepLast = r.name, r.from, "aws", r.n
		o.Up = append(o.Up, u)
	}
	table, err := Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	for queue, want := range map[string]keepLast{"up/aws/all": {}, "up/aws/state": {1, "spBv1.0/"}, "up/aws/plant": {3, ""}} {
		if n, exempt := table.KeepLast(queue); n != want.n || exempt != want.exempt {
			t.Errorf("%s: %d, %q", queue, n, exempt)
		}
	}
	for _, n := range []int{-1, MaxKeepLast + 1} {
		o.Up[1].KeepLast = n
		if _, err := Compile(o); err == nil || !strings.Contains(err.Error(), "up[1].keep_last") {
			t.Errorf("%d: %v", n, err)
		}
	}
}
