package billing

import (
	"errors"
	"slices"
	"testing"
)

// An account that is named after a move is that of the places that were left, too: it has
// one free tier, and what it was charged there is compared with it, before a start and after.
func TestTheAccountThatIsNamedAfterAMove(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:10")
	free := func(name, region, account string) map[string]Options {
		o := in(region, account)
		o.FreeTier = true
		return map[string]Options{name: o}
	}
	give(started(t, spool, clock, free("aws", "us-east-1", "")), spool, "aws", 500_000)
	give(started(t, spool, clock, free("aws", "eu-central-1", "")), spool, "aws", 500_000)
	named := free("aws", "eu-central-1", "1")
	check := func(when string, of map[string]Options, want ...string) {
		t.Helper()
		bill, err := newLedger(t, spool, of).Bill(Month(clock.Wall))
		if err != nil || !slices.Equal(shown(bill), want) {
			t.Errorf("%s: %q, want %q, %v", when, shown(bill), want, err)
		}
	}
	for _, when := range []string{"before a start", "after"} {
		check(when, named, "aws 500000+0 $0.000000", "aws (us-east-1) 500000+0 $0.500000")
		all, err := newLedger(t, spool, named).Reconcile(report(t, "Usage,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,AWSIoT,1,USE1-Messages,500000,0.5",
			"Usage,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,AWSIoT,1,EUC1-Messages,500000,0"))
		if err != nil || len(all) != 2 || all[0].Here != all[0].AWS || all[1].Here != all[1].AWS {
			t.Errorf("%s: %+v, %v", when, all, err)
		}
		if when == "before a start" {
			started(t, spool, clock, named)
		}
	}
	check("when it has gone", map[string]Options{}, "aws (eu-central-1) 500000+0 $0.000000", "aws (us-east-1) 500000+0 $0.500000")
	// One that has gone before anybody named an account: whose it was nobody knows.
	spool = newMemory()
	give(started(t, spool, clock, free("old", "us-east-1", "")), spool, "old", 500_000)
	cloud := free("cloud", "us-east-1", "1")
	give(started(t, spool, clock, cloud), spool, "cloud", 500_000)
	check("another name", cloud, "cloud 500000+0 $0.000000", "old 500000+0 $0.500000")
	check("another name, no free tier any more", map[string]Options{"cloud": in("us-east-1", "1")}, "cloud 500000+0 $0.500000", "old 500000+0 $0.000000")
}

// An endpoint that is changed while the gateway runs is that of the place: a region that is
// said afterwards is no move. A disk that does not take it now takes it later.
func TestAnEndpointThatChangesInARun(t *testing.T) {
	at := func(region, endpoint string) map[string]Options {
		o := in(region, "")
		o.Endpoint = endpoint
		return map[string]Options{"aws": o}
	}
	for _, c := range []struct {
		name              string
		start, next, last map[string]Options
		fails             bool
		want              []string
	}{
		{"the region is said later", at("", "h:1"), at("", "h:2"), at("us-east-1", "h:2"), false, []string{"aws 3+0 $0.000003"}},
		{"when the disk takes it", at("", "h:1"), at("", "h:2"), at("us-east-1", "h:2"), true, []string{"aws 3+0 $0.000003"}},
		{"of what was there before", at("", "h:1"), at("", "h:2"), at("us-east-1", "h:1"), false, []string{"aws 2+0 $0.000002", "aws (no region) 1+0 $"}},
		{"where the region is not said any more", at("us-east-1", "h:1"), at("", "h:2"), at("", "h:2"), false, []string{"aws 2+0 $", "aws (us-east-1) 1+0 $0.000001"}},
	} {
		spool, clock := newMemory(), &wallClock{}
		clock.set("2026-11-20 13:10")
		m := started(t, spool, clock, c.start)
		send(m, spool, "aws", 1)
		if c.fails {
			spool.fails = errors.New("full")
		}
		m.Reached(at("", "h:9"))
		m.Reached(c.next)
		m.Reached(map[string]Options{"other": in("", "")})
		if spool.fails = nil; c.fails {
			m.writePlaces()
		}
		send(started(t, spool, clock, c.last), spool, "aws", 2)
		bill, err := newLedger(t, spool, c.last).Bill(Month(clock.Wall))
		if err != nil || !slices.Equal(shown(bill), c.want) {
			t.Errorf("%s: %q, want %q, %v", c.name, shown(bill), c.want, err)
		}
	}
}
