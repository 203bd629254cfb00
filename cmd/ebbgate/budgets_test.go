package main

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// oneKey is a spool that keeps one value.
type oneKey struct {
	bridge.Spool
	value  []byte
	writes int
	fails  error
}

func (s *oneKey) Get(string, string) ([]byte, error) { return s.value, nil }

func (s *oneKey) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	s.writes++
	if s.fails == nil {
		s.value = b.Puts[0].Value
	}
	done(0, s.fails)
}

// budgeted is budgets of three routes: two to aws, of which telemetry batches,
// and one elsewhere.
type budgeted struct {
	*budgets
	t     *testing.T
	at    bridge.Instant
	spent billing.Totals
	fails error // of the ledger

	dropped []bridge.Turned
}

func newBudgeted(t *testing.T, disk *oneKey, all ...billing.Budget) *budgeted {
	t.Helper()
	o := rules.DefaultOptions()
	o.Match = "all"
	for _, r := range []struct {
		name, upstream string
		priority       int
	}{{"telemetry", "aws", 2}, {"alarms", "aws", 7}, {"site", "lan", 0}} {
		u := rules.DefaultUpRoute()
		u.Name, u.Upstream, u.From, u.Priority = r.name, r.upstream, "dt/#", r.priority
		if r.name == "telemetry" {
			u.Steps.Batch.Format = shape.JSON
		}
		o.Up = append(o.Up, u)
	}
	table, err := rules.Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	b := &budgeted{t: t, at: bridge.Instant{Wall: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Synced: true}}
	b.budgets = &budgets{
		Router: rules.NewRouter(table), spool: disk, health: new(bridge.Health),
		now: func() bridge.Instant { return b.at },
		totals: func(time.Time) (map[string]billing.Totals, error) {
			return map[string]billing.Totals{"aws": b.spent}, b.fails
		},
		of: map[string]billing.Options{"aws": {Budgets: all}},
	}
	return b
}

// routed is how many routes take a message.
func (b *budgeted) routed() int {
	b.t.Helper()
	to, turned, err := b.Up(&bridge.Principal{ClientID: "pump"}, &bridge.Message{Topic: "dt/a"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.dropped = append(b.dropped, turned...)
	return len(to)
}

func (b *budgeted) start() *budgeted {
	b.t.Helper()
	if err := b.open(); err != nil {
		b.t.Fatal(err)
	}
	return b
}

func (b *budgeted) said(words string) bool {
	return slices.ContainsFunc(b.health.Warnings(), func(w bridge.Warning) bool { return strings.Contains(w.Text, words) })
}

var monthly = billing.Budget{Name: "monthly", Period: billing.PerMonth, USD: "10", WarnAt: 80, BatchAt: 90, BatchAge: 5 * time.Minute, DropBelow: 5}

func TestBudgetsWarnThenDropTheLowest(t *testing.T) {
	plain := monthly
	plain.BatchAge = 0
	b := newBudgeted(t, new(oneKey), plain, billing.Budget{Name: "daily", Period: billing.PerDay, Messages: 1000, WarnAt: 100, BatchAt: 90}).start()
	for _, c := range []struct {
		usd      int64
		today    int64
		warnings int
		severity bridge.Severity
		routed   int
	}{
		{7, 0, 0, bridge.Notice, 3},
		{8, 0, 1, bridge.Degraded, 3},
		{9, 0, 1, bridge.Degraded, 3},
		{10, 0, 1, bridge.Critical, 2}, // telemetry is dropped, though it waits for its batch; alarms and the other upstream are not
		{10, 1000, 2, bridge.Critical, 2},
		{0, 1000, 1, bridge.Critical, 3}, // a new month; the day's budget only warns
		{0, 0, 0, bridge.Notice, 3},
	} {
		b.spent = billing.Totals{USDMonth: big.NewRat(c.usd, 1), UnitsToday: c.today}
		b.judge()
		severity, warnings := bridge.Notice, b.health.Warnings()
		for _, w := range warnings {
			severity = max(severity, w.Severity)
		}
		if n := b.routed(); severity != c.severity || len(warnings) != c.warnings || n != c.routed || b.patience("aws") != 0 {
			t.Errorf("$%d, %d today: severity %v, %d warnings, %d receivers", c.usd, c.today, severity, len(warnings), n)
		}
	}
	want := bridge.Turned{Queue: "raw/up/aws/telemetry", Fate: bridge.Dropped, Why: "over-budget"}
	if !slices.Equal(b.dropped, []bridge.Turned{want, want}) {
		t.Errorf("%+v", b.dropped)
	}
}

// A budget that nears its end makes batches wait longer, until the next period.
func TestBudgetsBatchHarderBeforeTheyDrop(t *testing.T) {
	disk := new(oneKey)
	b := newBudgeted(t, disk, monthly).start()
	stands := func(what string, usd int64, age time.Duration, routed int, words string) {
		t.Helper()
		b.spent = billing.Totals{USDMonth: big.NewRat(usd, 1)}
		b.judge()
		if got, n := b.patience("aws"), b.routed(); got != age || n != routed || b.patience("lan") != 0 || words != "" && !b.said(words) {
			t.Errorf("%s: batches wait %v, %d receivers, warnings %+v", what, got, n, b.health.Warnings())
		}
	}
	stands("before", 8, 0, 3, "nothing is changed")
	stands("near its end", 9, 5*time.Minute, 3, "wait up to 5m0s until the month ends")
	stands("used up", 10, 5*time.Minute, 2, "below 5 are dropped")
	writes := disk.writes
	stands("used up still", 11, 5*time.Minute, 2, "")
	if disk.writes != writes {
		t.Error("what has not changed was written again")
	}
	b.at.Wall = b.at.Wall.AddDate(0, 1, 0)
	stands("the next month", 0, 0, 3, "")
	if len(b.health.Warnings()) != 0 || strings.Contains(string(disk.value), "2026") {
		t.Errorf("a new month still has %+v, and the spool %s", b.health.Warnings(), disk.value)
	}
}

// How a budget stands outlives the process, a ledger that cannot be read, and a
// clock that is behind (U7).
func TestBudgetsStandAfterARestart(t *testing.T) {
	disk := new(oneKey)
	b := newBudgeted(t, disk, monthly)
	b.spent = billing.Totals{USDMonth: big.NewRat(10, 1)}
	disk.fails = errors.New("full")
	b.start()
	if disk.fails = nil; disk.value != nil {
		t.Fatal("written to a full disk")
	}
	b.judge() // and written now
	check := func(what string, routed int, age time.Duration) {
		t.Helper()
		if n := b.routed(); n != routed || b.patience("aws") != age {
			t.Errorf("%s: %d receivers, batches wait %v", what, n, b.patience("aws"))
		}
	}
	b = newBudgeted(t, disk, monthly)
	b.fails = errors.New("damaged")
	b.start()
	check("a ledger that cannot be read", 2, 5*time.Minute)

	b = newBudgeted(t, disk, monthly)
	b.at = bridge.Instant{Wall: time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)}
	b.start()
	check("a clock of 1970", 2, 5*time.Minute)
	if !b.said("as it was in 2026-11") {
		t.Errorf("%+v", b.health.Warnings())
	}
	b.at.Wall = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	b.judge()
	check("a later month, unsynchronised", 3, 0)

	b = newBudgeted(t, disk, monthly)
	b.at.Wall = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	b.start()
	check("a synchronised clock", 3, 0)

	disk.value = []byte("damaged")
	b = newBudgeted(t, disk, monthly)
	b.spent = billing.Totals{USDMonth: big.NewRat(9, 1)}
	b.start()
	check("what is kept is damaged", 3, 5*time.Minute)
}

// All that a budget does ends with its period, before it is judged the next time; and with a
// clock that is put right, but not with one that is behind what was vouched for.
func TestBudgetsEndWithTheirPeriod(t *testing.T) {
	daily := monthly
	daily.Period, daily.PauseFilesAt = billing.PerDay, 50
	late := time.Date(2026, 11, 20, 23, 59, 55, 0, time.UTC)
	for _, c := range []struct {
		name    string
		budget  billing.Budget
		judged  bridge.Instant
		now     bridge.Instant
		ends    bool
		seconds int
	}{
		{"the day before its end", daily, bridge.Instant{Wall: late, Synced: true}, bridge.Instant{Wall: late.Add(4 * time.Second), Synced: true}, false, 4},
		{"the day", daily, bridge.Instant{Wall: late, Synced: true}, bridge.Instant{Wall: late.Add(5 * time.Second), Synced: true}, true, 5},
		{"the day, by a clock that nobody vouches for", daily, bridge.Instant{Wall: late}, bridge.Instant{Wall: late.Add(5 * time.Second)}, true, 5},
		{"not the month", monthly, bridge.Instant{Wall: late, Synced: true}, bridge.Instant{Wall: late.Add(5 * time.Second), Synced: true}, false, 5},
		{"the month", monthly, bridge.Instant{Wall: late.AddDate(0, 0, 10), Synced: true}, bridge.Instant{Wall: late.AddDate(0, 0, 10).Add(5 * time.Second), Synced: true}, true, 5},
		{"a clock that stood ahead", monthly, bridge.Instant{Wall: late.AddDate(5, 0, 0)}, bridge.Instant{Wall: late}, true, 1},
		{"a clock that is behind what was vouched for", monthly, bridge.Instant{Wall: late, Synced: true}, bridge.Instant{Wall: late.AddDate(0, -2, 0)}, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBudgeted(t, new(oneKey), c.budget)
			b.at, b.spent = c.judged, billing.Totals{USDMonth: big.NewRat(10, 1), USDToday: big.NewRat(10, 1)}
			b.start()
			acts := func() bool { return b.routed() == 2 }
			if !acts() || b.patience("aws") != c.budget.BatchAge || b.pausesFiles("aws") != (c.budget.PauseFilesAt > 0) {
				t.Fatal("it does not act")
			}
			b.at = c.now
			b.at.Age = time.Duration(c.seconds) * time.Second
			if acts() == c.ends || (b.patience("aws") == 0) != c.ends || b.pausesFiles("aws") != (!c.ends && c.budget.PauseFilesAt > 0) {
				t.Errorf("%d receivers, batches wait %v, files %v; ends %v", b.routed(), b.patience("aws"), b.pausesFiles("aws"), c.ends)
			}
		})
	}
}

// A budget that was judged while the clock stood far ahead stands by the right month
// as soon as the clock is right, whether a time server says so or nobody: what it
// kept back goes on without a person. What was vouched for holds against a clock that
// is behind, and no longer than its period.
func TestBudgetsAfterAClockThatStoodAhead(t *testing.T) {
	ahead := time.Date(2031, 1, 5, 0, 0, 0, 0, time.UTC)
	right := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	type step struct {
		what   string
		wall   time.Time
		age    time.Duration
		synced bool
		usd    int64 // of the clock's month
		free   bool
	}
	for name, steps := range map[string][]step{
		"by hand": {
			{"ahead", ahead, 0, false, 10, false}, {"put right", right, time.Minute, false, 3, true}, {"and used up", right, time.Hour, false, 10, false},
		},
		"by a time server": {{"ahead", ahead, 0, false, 10, false}, {"put right", right, time.Minute, true, 3, true}},
		"of 1970": {
			{"ahead", ahead, 0, false, 10, false}, {"in 1970", time.Unix(90, 0), time.Minute, false, 0, false}, {"put right", right, time.Hour, false, 3, true},
		},
		"a month ahead and back": {
			{"right", right, 0, true, 10, false}, {"ahead", right.AddDate(0, 1, 0), time.Minute, false, 0, true}, {"used up there", right.AddDate(0, 1, 0), time.Hour, false, 10, false},
			{"back", right, 2 * time.Hour, false, 11, false}, {"raised", right, 3 * time.Hour, false, 3, true},
		},
		"behind what was vouched for": {
			{"right", right, 0, true, 10, false}, {"nobody says so", right.Add(day), day, false, 10, false}, {"behind", right.AddDate(0, -2, 0), 2 * day, false, 0, false},
			{"on the last day", right.AddDate(0, -2, 0), 10 * day, false, 0, false}, {"its month has ended", right.AddDate(0, -2, 0), 11 * day, false, 0, true},
		},
		"behind what nobody vouched for": {{"right", right, 0, false, 10, false}, {"behind", right.AddDate(0, -2, 0), day, false, 0, true}},
	} {
		t.Run(name, func(t *testing.T) {
			disk := new(oneKey)
			for restarts := range 2 {
				b := newBudgeted(t, disk, monthly)
				for _, s := range steps {
					if restarts > 0 {
						b = newBudgeted(t, disk, monthly)
					}
					b.at, b.spent = bridge.Instant{Wall: s.wall, Age: s.age, Synced: s.synced}, billing.Totals{USDMonth: big.NewRat(s.usd, 1)}
					b.start()
					if got := b.routed() == 3; got != s.free {
						t.Fatalf("restarts %d, %s: messages pass %v, want %v: %+v", restarts, s.what, got, s.free, b.health.Warnings())
					}
				}
				disk.value = nil
			}
		})
	}
}

// While nothing changes but the moments by which clocks differ, nothing is written.
func TestBudgetsAreNotWrittenForMoments(t *testing.T) {
	disk := new(oneKey)
	b := newBudgeted(t, disk, monthly)
	b.spent = billing.Totals{USDMonth: big.NewRat(10, 1)}
	b.start()
	for i := range 100 {
		b.at.Wall, b.at.Age = b.at.Wall.Add(judgeEvery), b.at.Age+judgeEvery+time.Duration(i%3)*time.Millisecond
		b.at.Synced = i%7 > 0
		b.judge()
	}
	if disk.writes != 1 {
		t.Errorf("%d writes, want 1: %s", disk.writes, disk.value)
	}
}

// A budget that nears its end keeps what is left of it for messages: files wait until
// the period ends, through restarts too.
func TestBudgetsPauseFiles(t *testing.T) {
	disk := new(oneKey)
	limit := billing.Budget{Name: "daily", Period: billing.PerDay, Messages: 1000, WarnAt: 50, BatchAt: 90, PauseFilesAt: 70}
	b := newBudgeted(t, disk, limit).start()
	for _, c := range []struct {
		units  int64
		paused bool
		words  string
	}{
		{699, false, "has reached 50 % (699 of 1000 metered messages of this day): nothing is changed"},
		{700, true, "has reached 70 % (700 of 1000 metered messages of this day): files wait until the day ends;"},
		{1000, true, "is used up (1000 of 1000 metered messages of this day): files wait until the day ends, nothing is dropped"},
	} {
		b.spent = billing.Totals{UnitsToday: c.units}
		if b.judge(); b.pausesFiles("aws") != c.paused || b.pausesFiles("lan") || !b.said(c.words) || b.routed() != 3 {
			t.Errorf("%d: paused %v, warnings %+v", c.units, b.pausesFiles("aws"), b.health.Warnings())
		}
	}
	b = newBudgeted(t, disk, limit)
	b.fails = errors.New("damaged")
	if b.start(); !b.pausesFiles("aws") {
		t.Error("a restart has forgotten it")
	}
	b.fails, b.at.Wall = nil, b.at.Wall.AddDate(0, 0, 1)
	if b.judge(); b.pausesFiles("aws") || len(b.health.Warnings()) != 0 {
		t.Errorf("the next day: %+v", b.health.Warnings())
	}
}
