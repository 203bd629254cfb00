package metered

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// counters is what a gate needs of a spool.
type counters struct {
	bridge.Spool
	n map[string]int64
}

func (c *counters) Count(_, key string) (int64, error) { return c.n[key], nil }

func (c *counters) Keys(_, prefix string, fn func(string) bool) error {
	for _, key := range slices.Sorted(maps.Keys(c.n)) {
		if strings.HasPrefix(key, prefix) && !fn(key) {
			break
		}
	}
	return nil
}

func (c *counters) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	for _, p := range b.Puts {
		delete(c.n, p.Key)
	}
	for _, a := range b.Adds {
		if a.Namespace == namespace {
			c.n[a.Key] += a.Delta
		}
	}
	done(1, nil)
}

// site is a gate with a clock that the test turns.
type site struct {
	*Gate
	t     *testing.T
	spool *counters
	now   time.Time

	mono     time.Duration
	unsynced bool
}

func newSite(t *testing.T, o Options) *site {
	t.Helper()
	if ps := o.Validate(); len(ps) > 0 {
		t.Fatal(ps)
	}
	s := &site{t: t, spool: &counters{n: map[string]int64{}}}
	s.start(o)
	return s
}

func (s *site) start(o Options) {
	s.t.Helper()
	var err error
	if s.Gate, err = New("sat", o, s.spool, func() bridge.Instant { return bridge.Instant{Wall: s.now, Mono: s.mono, Synced: !s.unsynced} }); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) at(text string) *site {
	s.t.Helper()
	var err error
	if s.now, err = time.Parse(time.RFC3339, text); err != nil {
		s.t.Fatal(err)
	}
	return s
}

// account commits what was carried, as a release of the forwarder does.
func (s *site) account() {
	b := new(bridge.Batch)
	b.Add("meter", "units", 1)
	s.Account(b)
	s.spool.Commit(b, func(bridge.Seq, error) {})
}

func (s *site) want(open bool, used int64, next, why string) {
	s.t.Helper()
	st := s.State()
	got := ""
	if !st.Next.IsZero() {
		got = st.Next.UTC().Format(time.RFC3339)
	}
	if st.Open != open || s.Open(4) != open || st.Used != used || got != next || !strings.Contains(st.Why, why) || open != (st.Why == "") {
		s.t.Errorf("at %v: %+v (next %s), want open %v, %d used, next %s, %q", s.now, st, got, open, used, next, why)
	}
}

func TestWindowsAndOverride(t *testing.T) {
	o := DefaultOptions()
	o.Windows, o.TimeZone, o.Override = []string{"mon-fri 22:00-06:00"}, "Europe/Berlin", 8
	s := newSite(t, o)
	s.at("2026-11-20T22:00:00Z").want(true, 0, "2026-11-21T05:00:00Z", "")
	s.at("2026-11-21T05:00:00Z").want(false, 0, "2026-11-23T21:00:00Z", "outside of its windows")
	if !s.Open(8) || s.Open(7) {
		t.Error("priority 8 overrides, 7 does not")
	}
	s.at("2026-11-23T21:00:00Z").want(true, 0, "2026-11-24T05:00:00Z", "")
	s.at("2026-11-21T12:00:00Z").want(false, 0, "2026-11-23T21:00:00Z", "outside") // the clock was set back
}

// The budget is of a day on the site, outlives restarts, and begins anew. A clock
// that jumps back finds what it had used.
func TestBudgetOfADay(t *testing.T) {
	o := DefaultOptions()
	o.Budget, o.Per, o.TimeZone, o.Override = 1_000_000, "day", "Europe/Berlin", 9
	s := newSite(t, o)
	s.at("2026-10-25T10:00:00Z").want(true, 0, "", "")
	s.Carried(900_000)
	s.want(true, 900_000, "", "")
	s.account()
	s.Carried(100_000)
	s.want(false, 1_000_000, "2026-10-25T23:00:00Z", "the budget of this day is used up")
	if !s.Open(9) {
		t.Error("priority 9 overrides")
	}
	s.account()
	s.start(o)
	s.want(false, 1_000_000, "2026-10-25T23:00:00Z", "used up")
	s.at("2026-10-25T22:59:59Z").want(false, 1_000_000, "2026-10-25T23:00:00Z", "used up")
	s.at("2026-10-25T23:00:00Z").want(true, 0, "", "")
	s.Carried(5000)
	s.account()
	s.at("2026-10-25T12:00:00Z").want(false, 1_000_000, "2026-10-25T23:00:00Z", "used up")
	if got := s.spool.n; got["sat/2026-10-25"] != 1_000_000 || got["sat/2026-10-26"] != 5000 {
		t.Errorf("%v", got)
	}
}

// A budget that is used up opens with the first window of the next month.
func TestBudgetAndWindows(t *testing.T) {
	o := DefaultOptions()
	o.Budget, o.Windows, o.TimeZone = 1_000_000, []string{"mon 08:00-10:00"}, "UTC"
	s := newSite(t, o)
	s.at("2026-11-23T09:00:00Z").Carried(2_000_000)
	s.want(false, 2_000_000, "2026-12-07T08:00:00Z", "the budget of this month is used up")
	s.account()
	s.at("2026-12-07T08:00:00Z").want(true, 0, "2026-12-07T10:00:00Z", "")
}

// After a reload the gate before this one may still count what is under way.
func TestTheGateBeforeStillCounts(t *testing.T) {
	o := DefaultOptions()
	o.Budget, o.TimeZone = 1_000_000, "UTC"
	s := newSite(t, o).at("2026-11-23T09:00:00Z")
	before := s.Gate
	s.start(o)
	s.want(true, 0, "", "")
	var b bridge.Batch
	before.Carried(2_000_000)
	before.Account(&b)
	s.spool.Commit(&b, func(bridge.Seq, error) {})
	s.Carried(10)
	s.at("2026-11-23T09:01:00Z").want(false, 2_000_010, "2026-12-01T00:00:00Z", "used up")
}

// Little is not worth a commit of its own, but goes with one.
func TestLittleIsNotWorthACommit(t *testing.T) {
	o := DefaultOptions()
	o.Budget = 1_000_000
	s := newSite(t, o).at("2026-11-23T09:00:00Z")
	var b bridge.Batch
	s.Carried(unwritten - 1)
	if s.Account(&b); !b.Empty() {
		t.Errorf("%+v", b)
	}
	s.Carried(1)
	if s.Account(&b); len(b.Adds) != 1 || b.Adds[0].Delta != unwritten {
		t.Errorf("%+v", b)
	}
	var rest bridge.Batch // but a gate that ends leaves nothing
	if s.Rest(&rest); !rest.Empty() {
		t.Errorf("%+v", rest)
	}
	s.Carried(1)
	if s.Rest(&rest); len(rest.Adds) != 1 || rest.Adds[0].Delta != 1 {
		t.Errorf("%+v", rest)
	}
}

func TestOldPeriodsAreForgotten(t *testing.T) {
	o := DefaultOptions()
	o.Budget, o.Per, o.TimeZone = 1_000_000, "day", "UTC"
	s := newSite(t, o).at("2026-01-01T00:00:00Z")
	for range 100 {
		s.Carried(1)
		s.account()
		s.now = s.now.AddDate(0, 0, 1)
	}
	s.spool.n["other/2020-01-01"] = 1
	if err := s.Forget(); err != nil || len(s.spool.n) != keptPeriods+1 || s.spool.n["sat/2026-04-10"] != 1 {
		t.Errorf("%v: %v", err, s.spool.n)
	}
}

func TestValidate(t *testing.T) {
	if ps := DefaultOptions().Validate(); len(ps) > 0 || DefaultOptions().Restricts() {
		t.Error(ps)
	}
	bad := Options{Windows: []string{"daily 01:00-05:00", "sometimes"}, TimeZone: "Mars/Olympus", Budget: 5, Per: "year", Override: 11}
	var paths []string
	for _, p := range bad.Validate() {
		paths = append(paths, p.Path)
	}
	if want := []string{"windows[1]", "time_zone", "budget", "per", "override"}; !slices.Equal(paths, want) {
		t.Errorf("%v, want %v", paths, want)
	}
	bad.Windows = make([]string, maxWindows+1)
	if ps := bad.Validate(); ps[0].Path != "windows" {
		t.Error(ps[0])
	}
}
