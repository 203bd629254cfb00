package billing

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing/cur"
)

// Compared is one usage type of an account in one region: what AWS charged, what the
// gateway knows, and where the difference comes from.
type Compared struct {
	Account      string // empty: no upstream names one
	Region, Item string
	AWS          int64  // of usage
	Here         int64  // metered here, or estimated
	Estimated    int64  // of Here
	USD          string // charged by AWS
	Causes       []string
}

// Besides is the item of what is told and not compared.
const Besides = "(besides)"

// ours is what the gateway's upstreams of one account have in one region.
type ours struct {
	Counts
	estimated      Usage
	unsynchronised int64
	connects       int64
	other          Usage
	free           bool  // the free tier is taken off
	more, less     int64 // units by 5,000 bytes, and by 5,120, where the other is set
	prices         *PriceList
	upstreams      []string

	// What has no region and units of messages, which may have been here.
	gone    []string // upstreams that the configuration has no more
	nowhere []string // parts of those that it has
	lost    int64    // their units

	begins string // with when the ledger does, where that is after the report
}

// unplaced says what was sent, and to no region that is known.
func (o *ours) unplaced() string {
	var all []string
	if len(o.gone) > 0 {
		all = append(all, fmt.Sprintf("what %s has sent, which the configuration does not have any more: put it back, with its region, to compare it", strings.Join(o.gone, ", ")))
	}
	if len(o.nowhere) > 0 {
		all = append(all, fmt.Sprintf("what %s has sent: should it have been billed here, set billing.past: as_now", strings.Join(o.nowhere, ", ")))
	}
	return strings.Join(all, "; ")
}

// Reconcile compares AWS's report with the ledger in the same span, by account,
// region and usage type. Accounts of the report that no upstream names are left out
// when one does; so are upstreams of an account that the report is not of.
func (l *Ledger) Reconcile(r *cur.Report) ([]Compared, error) {
	if r.From.IsZero() {
		return nil, fmt.Errorf("billing: the report has no usage of AWS IoT Core (product code AWSIoT), and %d lines of other services: is it of the month, and of the account, in which this gateway sent? AWS takes a day to write the first lines", r.Others)
	}
	_, monthEnd := Month(r.From)
	to := r.To
	if to.After(monthEnd) {
		return nil, fmt.Errorf("billing: the report goes from %s to %s: give one month at a time", r.From.Format(time.DateTime), to.Format(time.DateTime))
	}
	bill, err := l.Bill(r.From, to)
	if err != nil {
		return nil, err
	}
	var out []Compared
	begins, err := l.begins(r.From, to)
	if err != nil {
		return nil, err
	}
	sides := l.sides(bill, r)
	for _, a := range slices.SortedFunc(maps.Keys(sides), account.compare) {
		sides[a].here.begins = begins
		out = append(out, sides[a].compare(a)...)
	}
	return out, nil
}

// begins says of a report that begins before the ledger what of it that cannot have.
func (l *Ledger) begins(from, to time.Time) (string, error) {
	var first time.Time
	for _, century := range []string{"2", unsynced + "2"} { // in which a clock of ours may be
		err := l.spool.Scan(Namespace, century, func(key string, _ []byte) bool {
			hour, _, _, _ := parseKey(key)
			start, _, ok := parseHour(hour)
			if ok = ok && !start.IsZero(); ok && (first.IsZero() || start.Before(first)) {
				first = start
			}
			return !ok
		})
		if err != nil {
			return "", fmt.Errorf("billing: reading where the ledger begins: %w", err)
		}
	}
	switch {
	case first.IsZero():
		return "the ledger is empty: is it that of the gateway which sent this?", nil
	case !first.Before(to):
		return fmt.Sprintf("the ledger begins %s, after all of the report: is it of another month, or of another gateway?", first.Format("2006-01-02 15h")), nil
	case first.After(from):
		return fmt.Sprintf("up to all of it: what was sent before %s, when the ledger begins", first.Format("2006-01-02 15h")), nil
	}
	return "", nil
}

func (s *beside) compare(a account) []Compared {
	var out []Compared
	o, charged := s.here, s.charged
	items := []struct {
		name            string
		here, estimated int64
		causes          func(difference int64) []string
	}{
		{cur.Messages, o.Units + o.estimated.Messages, o.estimated.Messages, o.messages},
		{cur.Minutes, o.Minutes, 0, o.minutes},
		{cur.Rules, o.estimated.Rules, o.estimated.Rules, o.undeclared("rules", o.other.Rules)},
		{cur.Actions, o.estimated.Actions, o.estimated.Actions, o.undeclared("actions", o.other.Actions)},
		{cur.Shadow, o.estimated.Shadow, o.estimated.Shadow, o.shadow},
	}
	for _, i := range items {
		c := charged[i.name]
		if c == nil && i.here == 0 {
			continue
		}
		n := Compared{Account: a.id, Region: a.region, Item: i.name, Here: i.here, Estimated: i.estimated}
		if c != nil {
			n.AWS, n.USD = whole(c.Amount), c.USD.FloatString(6)
			n.Causes = o.price(a.region, i.name, c)
		}
		n.Causes = append(i.causes(n.AWS-n.Here), n.Causes...)
		out = append(out, n)
		delete(charged, i.name)
	}
	for _, item := range slices.Sorted(maps.Keys(charged)) {
		c := charged[item]
		out = append(out, Compared{Account: a.id, Region: a.region, Item: item, AWS: whole(c.Amount), USD: c.USD.FloatString(6), Causes: []string{"no gateway can see this usage type"}})
	}
	if len(s.notes) > 0 {
		out = append(out, Compared{Account: a.id, Region: a.region, Item: Besides, Causes: s.notes})
	}
	return out
}

// messages names where a difference of metered messages comes from.
func (o *ours) messages(d int64) (causes []string) {
	if o.other.Messages > 0 && d > 0 {
		n := min(d, o.other.Messages)
		causes = append(causes, fmt.Sprintf("%d: other clients of the account, as billing.other_usage says", n))
		d -= n
	}
	switch {
	case d == 0:
	case d > 0 && d <= o.Uncertain:
		causes = append(causes, fmt.Sprintf("%d: messages that were sent again, and billed both times (M26; %d were uncertain)", d, o.Uncertain))
	case o.more > 0 && d >= o.more && d <= o.more+o.Uncertain:
		causes = append(causes, unitIs(o.more, decimalUnit, d-o.more)...)
	case o.less > 0 && d >= -o.less && d <= -o.less+o.Uncertain && d < 0:
		causes = append(causes, unitIs(-o.less, DefaultUnit, d+o.less)...)
	case d > 0:
		if o.lost > 0 {
			causes = append(causes, fmt.Sprintf("up to %d: %s", o.lost, o.unplaced()))
		}
		if o.Uncertain > 0 {
			causes = append(causes, fmt.Sprintf("up to %d: messages that were sent again (M26)", o.Uncertain))
		}
		if least := d - o.Uncertain - o.lost; least > 0 {
			causes = append(causes, fmt.Sprintf("%d at least: what this gateway did not send: other clients of the account, subscribers that are not declared, copies stored for offline sessions (M13)", least))
			causes = o.since(causes)
		}
	default:
		causes = append(causes, o.fewer(-d)...)
	}
	return causes
}

// unitIs says that the other reading of "5 KB" is AWS's, and what is left then.
func unitIs(d, unit, again int64) []string {
	causes := []string{fmt.Sprintf("%d: 5 KB is %d bytes to AWS (M03); set billing.unit: %dB", d, unit, unit)}
	if again > 0 {
		causes = append(causes, fmt.Sprintf("%d: messages that were sent again, and billed both times (M26)", again))
	}
	return causes
}

// fewer names why AWS counted fewer messages than the gateway.
func (o *ours) fewer(d int64) (causes []string) {
	for _, c := range []struct {
		n    int64
		text string
	}{
		{o.less, fmt.Sprintf("5 KB is %d bytes to AWS (M03); set billing.unit", DefaultUnit)},
		{o.Retained, "retained copies are metered otherwise, as deletions may be (M10, M11)"},
		{o.Acks, "our PUBACKs are not billed (M08)"},
		{o.Answers, "the answers to requests over HTTPS are not billed (M18)"},
		{o.estimated.Messages, "declared subscribers were not there"},
		{o.unsynchronised, "hours that an unsynchronised clock told belong elsewhere"},
	} {
		if c.n == d {
			return []string{fmt.Sprintf("-%d: %s", d, c.text)}
		}
		if c.n > 0 {
			causes = append(causes, fmt.Sprintf("up to -%d: %s", min(c.n, d), c.text))
		}
	}
	return append(causes, fmt.Sprintf("-%d in all: the report may not be complete yet: AWS adds to it for days", d))
}

func (o *ours) minutes(d int64) (causes []string) {
	if d > 0 && o.other.Minutes > 0 {
		n := min(d, o.other.Minutes)
		causes = append(causes, fmt.Sprintf("%d: other clients of the account, as billing.other_usage says", n))
		d -= n
	}
	switch {
	case d == 0:
	case d < 0 && -d <= o.connects+1:
		causes = append(causes, fmt.Sprintf("%d: AWS rounds otherwise: %d connections have each a minute that was begun (M01)", d, o.connects))
	case d < 0:
		causes = append(causes, fmt.Sprintf("%d: the report may not be complete yet", d))
	default:
		causes = o.since(append(causes, fmt.Sprintf("%d: connections that are not this gateway's", d)))
	}
	return causes
}

// since adds to the causes of what AWS has more of that the ledger does not have all of the
// report's time.
func (o *ours) since(causes []string) []string {
	if o.begins == "" {
		return causes
	}
	return append(causes, o.begins)
}

func (o *ours) shadow(d int64) []string {
	if d == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%+d: AWS counts the whole document after an update, in KB (M20), and what others ask of registry and shadows", d)}
}

func (o *ours) undeclared(what string, elsewhere int64) func(int64) []string {
	return func(d int64) (causes []string) {
		if d > 0 && elsewhere > 0 {
			n := min(d, elsewhere)
			causes = append(causes, fmt.Sprintf("%d: the rest of the account, as billing.other_usage says", n))
			d -= n
		}
		switch {
		case d > 0:
			causes = append(causes, fmt.Sprintf("%d: %s that billing.declared_rules does not have", d, what))
		case d < 0:
			causes = append(causes, fmt.Sprintf("%d: %s are declared that did not run, or that AWS has not reported yet", d, what))
		}
		return causes
	}
}

// price names why the same usage costs something else.
func (o *ours) price(region, item string, c *cur.Charge) []string {
	n := whole(c.Amount)
	u := map[string]Usage{
		cur.Messages: {Messages: n}, cur.Minutes: {Minutes: n}, cur.Rules: {Rules: n}, cur.Actions: {Actions: n}, cur.Shadow: {Shadow: n},
	}[item]
	if o.prices == nil || n == 0 {
		return nil
	}
	want, ok := o.prices.Cost(region, u, o.free)
	if !ok {
		return []string{"no price for " + region + ": give a price_list that has it"}
	}
	if Dollars(want.Rat()) == Dollars(c.USD) {
		return nil
	}
	perMillion := new(big.Rat).Quo(c.USD, c.Amount)
	perMillion.Mul(perMillion, big.NewRat(1_000_000, 1))
	if c.USD.Sign() == 0 {
		return []string{fmt.Sprintf("price: AWS charged nothing, the list says $%s: the free tier or credits; see billing.free_tier", want)}
	}
	if free := whole(c.Free); free > 0 && Dollars(o.paid(region, u, free)) == Dollars(c.USD) {
		return []string{fmt.Sprintf("price: AWS charged nothing for %d of them: the free tier, of which other regions and clients of the account have a part, or credits; see billing.free_tier and billing.other_usage", free)}
	}
	if whole, _ := o.prices.Cost(region, u, true); o.free || Dollars(whole.Rat()) != Dollars(c.USD) {
		return []string{fmt.Sprintf("price: AWS charged $%s per million on average, our list of %s (%s) makes $%s: prices have changed, another tier was reached, or a discount", perMillion.FloatString(6), o.prices.AsOf, o.prices.Status(region, u), want)}
	}
	return []string{"price: the free tier was taken off; set billing.free_tier"}
}

// paid is what usage of one kind costs of which so much is free.
func (o *ours) paid(region string, u Usage, free int64) *big.Rat {
	for _, n := range []*int64{&u.Messages, &u.Minutes, &u.Rules, &u.Actions, &u.Shadow} {
		*n = max(*n-free, 0)
	}
	a, _ := o.prices.Cost(region, u, false)
	return a.Rat()
}

// whole is an amount of usage, rounded, and bounded so that no difference of two
// overflows.
func whole(r *big.Rat) int64 {
	const most = 1 << 61
	n, ok := new(big.Int).SetString(r.FloatString(0), 10)
	if !ok || n.CmpAbs(big.NewInt(most)) > 0 {
		return int64(r.Sign()) * most
	}
	return n.Int64()
}
