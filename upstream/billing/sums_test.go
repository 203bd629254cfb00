package billing

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// randomLedger is what three upstreams of two accounts have metered in a month, by a
// clock that jumps back and forth and is not always synchronised, over restarts.
func randomLedger(t *testing.T, random *rand.Rand, of map[string]Options) *memory {
	t.Helper()
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-01 00:00")
	var m *Meter
	names := []string{"a", "b", "c"}
	for range 400 {
		if m == nil || random.IntN(40) == 0 {
			var err error
			if m, err = NewMeter(spool, of, clock.now); err != nil {
				t.Fatal(err)
			}
		}
		if clock.Mono += time.Hour; random.IntN(10) == 0 { // a jump
			clock.Wall = time.Date(2026, 10, 31, 20, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(int64(32 * 24 * time.Hour))))
		} else {
			clock.Wall = clock.Wall.Add(time.Duration(random.Int64N(int64(2 * time.Hour))))
		}
		clock.Synced = random.IntN(8) > 0
		up, device := names[random.IntN(len(names))], fmt.Sprintf("d-%d", random.IntN(6))
		s := stored(device, []string{"dt/a/x", "dt/b", "ev/c/d/e", "$aws/rules/store/dt/a", "$aws/things/pump/shadow/update"}[random.IntN(5)], random.IntN(12_000))
		s.Receiver.Queue, s.Receiver.Retain, s.Thing = bridge.QueueName("up", up, fmt.Sprintf("r%d", random.IntN(4))), random.IntN(5) == 0, "thing-"+device
		o := bridge.Outcome{Wire: 100 + random.IntN(9000), HTTP: random.IntN(4) == 0, Body: random.IntN(3) * 30, MQTT3: random.IntN(4) == 0}
		var b bridge.Batch
		switch random.IntN(8) {
		case 0:
			m.Uncertain(&b, up, s, o)
		case 1:
			m.Refused(&b, up, s, o)
		case 2:
			m.Received(&b, up, &bridge.Message{Topic: "cmd/a", Payload: make([]byte, random.IntN(9000)), QoS: byte(random.IntN(2)), Dup: random.IntN(5) == 0}, 90)
		case 3:
			m.Opened(up, device, Connection{Properties: random.IntN(6000)}).Closed()
		default:
			for range 1 + random.IntN(300) {
				m.Delivered(&b, up, s, o)
			}
		}
		spool.Commit(&b, nil)
	}
	return spool
}

// Whatever a table is by, its rows are the total: to the unit, and to the last of the
// digits that are shown. Days are the month's, hours the day's. So with every price
// list, before and after one is read from a file.
func TestEveryTableSumsToItsTotal(t *testing.T) {
	list := filepath.Join(t.TempDir(), "prices.json")
	if err := os.WriteFile(list, bytes.ReplaceAll(builtIn, []byte(`"usd": 1.2,`), []byte(`"usd": 1.7,`)), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(region, account string, free bool) Options {
		o := DefaultOptions()
		o.Region, o.Account, o.FreeTier = region, account, free
		o.MaxDevices, o.MaxPrefixes = 4, 2 // the rest is (other)
		o.DeclaredRules = []DeclaredRule{{Topic: "dt/#", Rules: 1, Actions: 2, Subscribers: 1, QoS: "1"}, {Topic: "+/c/#", Rules: 1, QoS: "0"}}
		return o
	}
	seeds := uint64(2)
	if os.Getenv("EBBGATE_SOAK") == "1" {
		seeds = 30
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 7))
		of := map[string]Options{"a": in("us-east-1", "1", seed%2 == 0), "b": in("eu-central-1", "1", false), "c": in("", "", false)}
		spool := randomLedger(t, random, of)
		for _, file := range []string{"", list} {
			for name, o := range of {
				o.PriceList = file
				of[name] = o
			}
			l := newLedger(t, spool, of)
			from, to := Month(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
			month := detail(t, l, from, to, 0)
			addUp(t, month)
			addUp(t, detail(t, l, from, to, time.Hour))
			sum := map[string]Counts{}
			usd, estimated := map[string]*big.Rat{}, map[string]*big.Rat{}
			for day := from; day.Before(to); day = day.AddDate(0, 0, 1) {
				b := detail(t, l, day, day.AddDate(0, 0, 1), 0)
				if day.Day() == 20 {
					addUp(t, b)
				}
				for _, total := range b.Totals {
					c := sum[total.Upstream]
					c.add(total.Counts)
					sum[total.Upstream] = c
					acc := of[total.Upstream].Account
					if usd[acc] == nil {
						usd[acc], estimated[acc] = new(big.Rat), new(big.Rat)
					}
					usd[acc].Add(usd[acc], total.messages.Plus(total.minutes).Rat())
					estimated[acc].Add(estimated[acc], total.estimated.Rat())
				}
			}
			paid, declared := map[string]*big.Rat{"1": new(big.Rat), "": new(big.Rat)}, map[string]*big.Rat{"1": new(big.Rat), "": new(big.Rat)}
			for _, total := range month.Totals {
				if sum[total.Upstream] != total.Counts {
					t.Errorf("seed %d, %s: the days have %+v, the month %+v", seed, total.Upstream, sum[total.Upstream], total.Counts)
				}
				acc := of[total.Upstream].Account
				paid[acc].Add(paid[acc], total.messages.Plus(total.minutes).Rat())
				declared[acc].Add(declared[acc], total.estimated.Rat())
			}
			for acc := range usd {
				// Which region's messages are the free ones may differ by the day.
				if of["a"].FreeTier {
					continue
				}
				if usd[acc].Cmp(paid[acc]) != 0 || estimated[acc].Cmp(declared[acc]) != 0 {
					t.Errorf("seed %d, account %s: the days cost $%s and $%s, the month $%s and $%s", seed, acc,
						Dollars(usd[acc]), Dollars(estimated[acc]), Dollars(paid[acc]), Dollars(declared[acc]))
				}
			}
		}
	}
}

func detail(t *testing.T, l *Ledger, from, to time.Time, step time.Duration) *Bill {
	t.Helper()
	b, err := l.Detail(from, to, step)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// addUp groups the lines of each upstream in every way, with and without a rest.
func addUp(t *testing.T, b *Bill) {
	t.Helper()
	for _, total := range b.Totals {
		var lines []Line
		for _, n := range b.Lines {
			if n.Upstream == total.Upstream {
				lines = append(lines, n)
			}
		}
		for by, name := range map[string]func(Line) string{
			"device": func(n Line) string { return n.Device }, "thing": func(n Line) string { return n.Thing }, "topic": func(n Line) string { return n.Topic },
			"route": func(n Line) string { return n.Route }, "direction": func(n Line) string { return n.Direction },
			"hour": func(n Line) string { return n.Start.String() }, "nothing": func(Line) string { return "" },
		} {
			for _, limit := range []int{2, len(lines)} {
				sum, usd, estimated := Counts{}, new(big.Rat), new(big.Rat)
				for _, s := range Group(lines, limit, name) {
					sum.add(s.Counts)
					if s.USD != "" {
						usd.Add(usd, rat(t, s.USD))
					}
					if s.Estimated != "" {
						estimated.Add(estimated, rat(t, s.Estimated))
					}
				}
				if sum != total.Counts {
					t.Errorf("%s by %s: %+v, the total %+v", total.Upstream, by, sum, total.Counts)
				}
				if total.USD != "" && Dollars(usd) != total.USD || total.Estimated != "" && Dollars(estimated) != total.Estimated {
					t.Errorf("%s by %s: $%s and $%s, the total $%s and $%s", total.Upstream, by, Dollars(usd), Dollars(estimated), total.USD, total.Estimated)
				}
			}
		}
	}
}
