package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// A link whose window is closed says so wherever somebody looks, and counts what
// its connections carry.
func TestMeteredUpstream(t *testing.T) {
	_, cfg := spooled(t)
	u := cfg.Upstreams["cloud"]
	u.Metered.TimeZone = "UTC"
	now := time.Now().UTC()
	other := now.Add(48 * time.Hour)
	u.Metered.Windows = []string{strings.ToLower(other.Weekday().String()[:3]) + " 00:00-24:00"}
	u.Metered.Budget, u.Metered.Override = 5_000_000, 8
	cfg.Upstreams["cloud"] = u
	g := opened(t, cfg)
	c := g.clouds[0]
	c.gate.Carried(10_000)
	var b bridge.Batch
	c.gate.Account(&b)
	s := g.stats.status().Upstreams[0]
	if s.Metered == nil || s.Metered.Open || s.Metered.Used != 10_000 || s.Metered.Budget != 5_000_000 || len(b.Adds) != 1 {
		t.Fatalf("%+v, %+v", s.Metered, b)
	}
	want := "not before " + other.Format(time.DateOnly) + "T00:00:00Z: outside of its windows"
	if s.Outlook != want || s.Drain != -1 {
		t.Errorf("%q, want %q", s.Outlook, want)
	}
	if o := g.outlook("up/cloud/old"); o.drain != want || !strings.HasSuffix(o.next, want) {
		t.Errorf("%+v", o)
	}
	if !c.gate.Open(8) || c.gate.Open(7) {
		t.Error("priority 8 overrides, and no lower one")
	}
}
