package billing

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/upstream/billing/cur"
)

// report is a Cost and Usage Report of Frankfurt's first 20 days of November.
func report(t *testing.T, lines ...string) *cur.Report {
	t.Helper()
	text := "lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,lineItem/ProductCode,lineItem/UsageAccountId,lineItem/UsageType,lineItem/UsageAmount,lineItem/UnblendedCost\n"
	for _, l := range lines {
		if !strings.HasPrefix(l, "Credit") && !strings.HasPrefix(l, "Usage") {
			l = "Usage,2026-11-01T00:00:00Z,2026-11-21T00:00:00Z,AWSIoT,111122223333," + l
		}
		text += l + "\n"
	}
	r, err := cur.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReconcileNamesEveryCause(t *testing.T) {
	s := series{upstream: "aws", direction: Up, device: "pump", prefix: "dt/a"}
	link := series{upstream: "aws", direction: Link, device: "plant7"}
	connect := link
	connect.prefix = ConnectPacket
	ledger := func(change func(*memory, *Options)) *Ledger {
		spool, o := newMemory(), frankfurt()
		spool.counters[s.key("2026112013")+string(kindUnits)] = 1_000_000
		spool.counters[s.key("2026112013")+string(kindMessages)] = 1_000_000
		spool.counters[s.key("2026112113")+string(kindUnits)] = 5 // after the report's end
		if change != nil {
			change(spool, &o)
		}
		return newLedger(t, spool, map[string]Options{"aws": o})
	}
	count := func(kind byte, n int64) func(*memory, *Options) {
		return func(m *memory, _ *Options) { m.counters[s.key("2026112013")+string(kind)] = n }
	}
	decimal := func(change func(*memory, *Options)) func(*memory, *Options) {
		return func(m *memory, o *Options) { o.Unit = 5000; change(m, o) }
	}
	rule := func(_ *memory, o *Options) {
		o.DeclaredRules = []DeclaredRule{{Topic: "dt/#", Rules: 1, Actions: 1, Subscribers: 2, QoS: "0"}}
	}
	for _, c := range []struct {
		name   string
		ledger *Ledger
		lines  []string
		item   string
		cause  string // in the causes; empty: none at all
	}{
		{"equal", ledger(nil), []string{"EUC1-Messages,1000000,1.2"}, cur.Messages, ""},
		{"re-sends", ledger(count(kindUncertain, 300)), []string{"EUC1-Messages,1000200,1.20024"}, cur.Messages, "200: messages that were sent again"},
		{"as many re-sends as can be", ledger(count(kindUncertain, 300)), []string{"EUC1-Messages,1000300,1.20036"}, cur.Messages, "300: messages that were sent again, and billed both times"},
		{"fewer than by 5,120", ledger(decimal(count(kindFewer, 70_000))), []string{"EUC1-Messages,929000,1.1148"}, cur.Messages, "-71000 in all"},
		{"5,000", ledger(count(kindOther, 70_000)), []string{"EUC1-Messages,1070000,1.284"}, cur.Messages, "70000: 5 KB is 5000 bytes to AWS"},
		{"5,000, and re-sends", ledger(func(m *memory, o *Options) { count(kindOther, 70_000)(m, o); count(kindUncertain, 300)(m, o) }),
			[]string{"EUC1-Messages,1070200,1.28424"}, cur.Messages, "70000: 5 KB is 5000 bytes to AWS (M03); set billing.unit: 5000B; 200: messages that were sent again"},
		{"5,120 again", ledger(decimal(count(kindFewer, 70_000))), []string{"EUC1-Messages,930000,1.116"}, cur.Messages, "-70000: 5 KB is 5120 bytes to AWS (M03); set billing.unit: 5120B"},
		{"5,120 again, and re-sends", ledger(decimal(func(m *memory, o *Options) { count(kindFewer, 70_000)(m, o); count(kindUncertain, 300)(m, o) })),
			[]string{"EUC1-Messages,930200,1.11624"}, cur.Messages, "-70000: 5 KB is 5120 bytes to AWS (M03); set billing.unit: 5120B; 200: messages that were sent again"},
		{"5,000 was set as it said", ledger(decimal(count(kindOther, 70_000))), []string{"EUC1-Messages,1070000,1.284"}, cur.Messages, ""},
		{"5,120 was set as it said", ledger(count(kindFewer, 70_000)), []string{"EUC1-Messages,930000,1.116"}, cur.Messages, ""},
		{"5,120 was set, and an earlier version had counted", ledger(count(kindOther, -70_000)), []string{"EUC1-Messages,930000,1.116"}, cur.Messages, ""},
		{"other clients", ledger(nil), []string{"EUC1-Messages,3000000,3.6"}, cur.Messages, "2000000 at least: what this gateway did not send"},
		{"declared usage", ledger(func(_ *memory, o *Options) { o.OtherUsage.Messages = 2_000_000 }), []string{"EUC1-Messages,3000000,3.6"}, cur.Messages, "2000000: other clients of the account, as billing.other_usage says"},
		{"subscribers", ledger(rule), []string{"EUC1-Messages,3000000,3.6"}, cur.Messages, ""},
		{"answers", ledger(count(kindAnswers, 300)), []string{"EUC1-Messages,999700,1.19964"}, cur.Messages, "-300: the answers to requests over HTTPS"},
		{"more than can be", ledger(nil), []string{"EUC1-Messages,1E18,1E18", "EUC1-Messages,1E18,1E18", "EUC1-Messages,1E18,1E18", "EUC1-Messages,1E18,1E18"}, cur.Messages, "at least: what this gateway did not send"},
		{"retained", ledger(count(kindRetained, 400)), []string{"EUC1-Messages,999600,1.19952"}, cur.Messages, "-400: retained copies"},
		{"not complete", ledger(nil), []string{"EUC1-Messages,900000,1.08"}, cur.Messages, "may not be complete yet"},
		{"minutes rounded", ledger(func(m *memory, _ *Options) {
			m.counters[link.key("2026112013")+string(kindMinutes)] = 1000
			m.counters[connect.key("2026112013")+string(kindMessages)] = 20
		}), []string{"EUC1-ConnectionMinutes,985,0.00009456"}, cur.Minutes, "-15: AWS rounds otherwise"},
		{"a minute of each connection and one", ledger(func(m *memory, _ *Options) {
			m.counters[link.key("2026112013")+string(kindMinutes)] = 1000
			m.counters[connect.key("2026112013")+string(kindMessages)] = 20
		}), []string{"EUC1-ConnectionMinutes,979,0.000093984"}, cur.Minutes, "-21: AWS rounds otherwise"},
		{"other connections", ledger(nil), []string{"EUC1-ConnectionMinutes,985,0.00009456"}, cur.Minutes, "985: connections that are not this gateway's"},
		{"undeclared rules", ledger(nil), []string{"EUC1-RulesTriggered,10,0.0000018"}, cur.Rules, "10: rules that billing.declared_rules does not have"},
		{"rules that did not run", ledger(rule), []string{"EUC1-ActionsExecuted,10,0.0000018"}, cur.Actions, "-999990: actions are declared that did not run"},
		{"shadows", ledger(count(kindShadow, 10)), []string{"EUC1-RegistryAndShadowOperations,30,0.000045"}, cur.Shadow, "+20: AWS counts the whole document"},
		{"free", ledger(nil), []string{"EUC1-Messages,1000000,0"}, cur.Messages, "the free tier or credits"},
		{"free tier", ledger(nil), []string{"EUC1-Messages,1000000,0.6"}, cur.Messages, "the free tier was taken off; set billing.free_tier"},
		{"a part of the free tier", ledger(nil), []string{"EUC1-Messages,100000,0", "EUC1-Messages,900000,1.08"}, cur.Messages, "price: AWS charged nothing for 100000 of them: the free tier"},
		{"a part of it, where all was expected", ledger(func(_ *memory, o *Options) { o.FreeTier = true }), []string{"EUC1-Messages,100000,0", "EUC1-Messages,900000,1.08"}, cur.Messages, "price: AWS charged nothing for 100000 of them: the free tier"},
		{"a part of it, and another price", ledger(nil), []string{"EUC1-Messages,100000,0", "EUC1-Messages,900000,1.1"}, cur.Messages, "per million on average"},
		{"minutes that are free in part", ledger(nil), []string{"EUC1-ConnectionMinutes,1000000,0", "EUC1-ConnectionMinutes,1000000,0.096"}, cur.Minutes, "price: AWS charged nothing for 1000000 of them: the free tier"},
		{"before the ledger begins", ledger(nil), []string{"EUC1-Messages,3000000,3.6"}, cur.Messages, "up to all of it: what was sent before 2026-11-20 13h, when the ledger begins"},
		{"connections before the ledger begins", ledger(nil), []string{"EUC1-ConnectionMinutes,985,0.00009456"}, cur.Minutes, "up to all of it: what was sent before 2026-11-20 13h, when the ledger begins"},
		{"all before the ledger begins", ledger(func(m *memory, _ *Options) {
			clear(m.counters)
			m.counters[s.key("2026112113")+string(kindUnits)] = 5
		}), []string{"EUC1-Messages,962,0.0011544"}, cur.Messages, "the ledger begins 2026-11-21 13h, after all of the report"},
		{"an empty ledger", ledger(func(m *memory, _ *Options) { clear(m.counters) }), []string{"EUC1-Messages,962,0.0011544"}, cur.Messages, "the ledger is empty"},
		{"from a clock that nobody vouches for on", ledger(func(m *memory, _ *Options) { m.counters[s.key("~2026103113")+string(kindUnits)] = 1 }),
			[]string{"EUC1-Messages,962000000,1154.4"}, cur.Messages, "copies stored for offline sessions (M13)\n"},
		{"another price", ledger(nil), []string{"EUC1-Messages,1000000,1.3"}, cur.Messages, "AWS charged $1.300000 per million on average"},
		{"another usage type", ledger(nil), []string{"EUC1-DeviceDefender,5,0.1"}, "DeviceDefender", "no gateway can see"},
		{"a region without prices", ledger(nil), []string{"EUN1-Messages,5,0.1"}, cur.Messages, "5 at least"},
		{"a credit", ledger(nil), []string{"EUC1-Messages,1000000,1.2", "Credit,,,AWSIoT,111122223333,EUC1-Messages,,-1"}, "(besides)", "credit of $-1.000000 on Messages is not usage"},
		{"another account", ledger(func(_ *memory, o *Options) { o.Account = "999999999999" }), []string{"EUC1-Messages,1000000,1.2"}, "(besides)", "no upstream names that account"},
	} {
		all, err := c.ledger.Reconcile(report(t, c.lines...))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		found := ""
		for _, n := range all {
			if n.Item == c.item && (n.AWS > 0 || n.Item == Besides) {
				found += fmt.Sprintf("%s %s: %d, here %d: %s\n", n.Region, n.Item, n.AWS, n.Here, strings.Join(n.Causes, "; "))
				if (c.cause == "") != (len(n.Causes) == 0) {
					t.Errorf("%s: %s", c.name, found)
				}
			}
		}
		if !strings.Contains(found, c.cause) || found == "" {
			t.Errorf("%s: no %q in %q of %+v", c.name, c.cause, found, all)
		}
	}
}

// A report is of accounts: each is compared with the upstreams that name it, after its
// own tiers, its own free tier and its own other usage.
func TestReconcileTellsAccountsApart(t *testing.T) {
	in := func(account string, units int64) Options {
		o := frankfurt()
		o.Account, o.OtherUsage.Messages = account, units
		return o
	}
	const one, two = "111122223333", "444455556666"
	of := func(account, line string) string {
		return "Usage,2026-11-01T00:00:00Z,2026-11-21T00:00:00Z,AWSIoT," + account + "," + line
	}
	for _, c := range []struct {
		name      string
		upstreams map[string]Options
		lines     []string
		want      []string // one a row: account item AWS here causes
	}{
		{"only of the other account", map[string]Options{"a": in(two, 0), "b": in(one, 0)}, []string{of(one, "EUC1-Messages,2000,0.0024")},
			[]string{one + " Messages 2000 2000 []", two + " (besides) 0 0 [not compared: a, with 1000 metered messages here: the report has no line of account " + two + "]"}},
		{"of both", map[string]Options{"a": in(two, 7), "b": in(one, 0)}, []string{of(one, "EUC1-Messages,2000,0.0024"), of(two, "EUC1-Messages,1007,0.0012084")},
			[]string{one + " Messages 2000 2000 []", two + " Messages 1007 1000 [7: other clients of the account, as billing.other_usage says]"}},
		{"each reaches its own tiers", map[string]Options{"a": in(two, 900_000_000), "b": in(one, 900_000_000)}, []string{of(one, "EUC1-Messages,900000000,1080"), of(two, "EUC1-Messages,900000000,1080")},
			[]string{one + " Messages 900000000 2000 [899998000: other clients of the account, as billing.other_usage says]", two + " Messages 900000000 1000 [899999000: other clients of the account, as billing.other_usage says]"}},
		{"one names none", map[string]Options{"a": in("", 0), "b": in(one, 0)}, []string{of(one, "EUC1-Messages,2000,0.0024")},
			[]string{" (besides) 0 0 [not compared: a, with 1000 metered messages here: no account is named (billing.account), as others do]", one + " Messages 2000 2000 []"}},
		{"none names one", map[string]Options{"a": in("", 0), "b": in("", 0)}, []string{of(one, "EUC1-Messages,2000,0.0024"), of(two, "EUC1-Messages,1000,0.0012")},
			[]string{" Messages 3000 3000 []", " (besides) 0 0 [the report is of 2 accounts, all of which are compared together: say in billing.account which is this gateway's]"}},
		{"the report names none", map[string]Options{"a": in(two, 0), "b": in(one, 0)}, []string{of("", "EUC1-Messages,2000,0.0024")},
			[]string{" (besides) 0 0 [2000 of Messages, $0.002400: the report does not say of which account: export it with lineItem/UsageAccountId]",
				one + " (besides) 0 0 [not compared: b, with 2000 metered messages here: the report has no line of account " + one + "]",
				two + " (besides) 0 0 [not compared: a, with 1000 metered messages here: the report has no line of account " + two + "]"}},
		{"the report names none, and there is one", map[string]Options{"a": in(one, 0), "b": in(one, 0)}, []string{of("", "EUC1-Messages,3000,0.0036")},
			[]string{one + " Messages 3000 3000 []"}},
	} {
		spool := newMemory()
		for name, units := range map[string]int64{"a": 1000, "b": 2000} {
			spool.counters[series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}.key("2026112013")+string(kindUnits)] = units
		}
		l := newLedger(t, spool, c.upstreams)
		all, err := l.Reconcile(report(t, c.lines...))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range all {
			got = append(got, fmt.Sprintf("%s %s %d %d %v", n.Account, n.Item, n.AWS, n.Here, n.Causes))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// What the upstreams of one account have is compared together: what is declared for each,
// the free tier that one of them says, their connections; and a report that names no
// account is of the only one there is, wherever it was used.
func TestReconcileTakesTheUpstreamsOfAnAccountTogether(t *testing.T) {
	ruled, free := frankfurt(), frankfurt()
	ruled.Account, free.Account, free.FreeTier = "1", "1", true
	ruled.DeclaredRules = []DeclaredRule{{Topic: "dt/#", Rules: 1, Actions: 1, QoS: "0"}}
	plain := frankfurt()
	plain.Account = "1"
	link := func(topic string) series { return series{upstream: "a", direction: Link, device: "gw", prefix: topic} }
	for _, c := range []struct {
		name   string
		a, b   Options
		line   string
		item   string
		causes []string
	}{
		{"declared for both", ruled, ruled, "1,EUC1-RulesTriggered,600000,0.108", cur.Rules, nil},
		{"free, as one of them says", plain, free, "1,EUC1-Messages,600000,0.12", cur.Messages, nil},
		{"connects alone have rounded minutes", plain, plain, "1,EUC1-ConnectionMinutes,985,0.00009456", cur.Minutes, []string{"-15: the report may not be complete yet"}},
		{"of another region", plain, plain, ",USE1-Messages,5,0.000005", cur.Messages,
			[]string{"5 at least: what this gateway did not send: other clients of the account, subscribers that are not declared, copies stored for offline sessions (M13)",
				"up to all of it: what was sent before 2026-11-20 13h, when the ledger begins"}},
	} {
		spool := newMemory()
		for _, name := range []string{"a", "b"} {
			spool.counters[series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}.key("2026112013")+string(kindUnits)] = 300_000
			spool.counters[series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}.key("2026112013")+string(kindMessages)] = 300_000
		}
		spool.counters[link("").key("2026112013")+string(kindMinutes)] = 1000
		spool.counters[link(ConnectPacket).key("2026112013")+string(kindMessages)] = 5
		spool.counters[link(SubscribePacket).key("2026112013")+string(kindMessages)] = 20
		all, err := newLedger(t, spool, map[string]Options{"a": c.a, "b": c.b}).Reconcile(report(t, "Usage,2026-11-01T00:00:00Z,2026-11-21T00:00:00Z,AWSIoT,"+c.line))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, n := range all {
			if n.Item == c.item && n.AWS > 0 {
				if found = true; n.Account != "1" || !slices.Equal(n.Causes, c.causes) {
					t.Errorf("%s: %+v, want %q", c.name, n, c.causes)
				}
			}
		}
		if !found {
			t.Errorf("%s: not in %+v", c.name, all)
		}
	}
}

// What an upstream has sent that was renamed or taken out may be what AWS has more.
func TestReconcileNamesUpstreamsThatHaveGone(t *testing.T) {
	spool := newMemory()
	for name, units := range map[string]int64{"aws": 1000, "cloud": 500} {
		spool.counters[series{upstream: name, direction: Up, device: "pump", prefix: "dt/a"}.key("2026112013")+string(kindUnits)] = units
	}
	spool.counters[series{upstream: "idle", direction: Up, device: "pump", prefix: "dt/a"}.key("2026112013")+string(kindUncertain)] = 5 // it has sent nothing that is metered
	l := newLedger(t, spool, map[string]Options{"cloud": frankfurt()})
	l.PriceStore("s3", Store{})
	for line, want := range map[string]string{
		"EUC1-Messages,1500,0.0018": "up to 1000: what aws has sent, which the configuration does not have any more: put it back, with its region, to compare it",
		"EUC1-Messages,1600,0.0019": "up to 1000: what aws has sent, which the configuration does not have any more: put it back, with its region, to compare it; 100 at least: what this gateway did not send: other clients of the account, subscribers that are not declared, copies stored for offline sessions (M13)",
	} {
		all, err := l.Reconcile(report(t, line))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(all[0].Causes, "; "); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestReconcileRefusesWhatItCannotCompare(t *testing.T) {
	l := newLedger(t, newMemory(), map[string]Options{"aws": frankfurt()})
	if _, err := l.Reconcile(&cur.Report{}); err == nil {
		t.Error("a report without usage was compared")
	}
	r := report(t, "EUC1-Messages,1,1")
	r.To = r.To.AddDate(0, 1, 0)
	if _, err := l.Reconcile(r); err == nil {
		t.Error("two months were compared")
	}
}
