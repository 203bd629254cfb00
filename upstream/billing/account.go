package billing

import (
	"maps"
	"slices"
	"strings"
)

// Tiers belong to an account in a region (M28), whichever of its upstreams used
// them up; the free tier is the account's in all regions together, but for
// GovCloud. The upstreams of one account are priced in the order of their names,
// each after those before it: what they cost together is what the account is
// charged.

// account is what shares tiers.
type account struct{ id, region, alone string }

// accountOf is the account of a part of an upstream: two that name none are taken for
// one's.
func (l *Ledger) accountOf(upstream string) account { return l.part(upstream).account() }

// hasFree reports whether the free tier counts what an account uses here.
func (a account) hasFree() bool { return a.alone == "" && !strings.HasPrefix(a.region, "us-gov-") }

// otherUsage is what the rest of an upstream's account was declared to use in its
// region.
func (l *Ledger) otherUsage(upstream string) Usage { return l.otherUsageOf(l.accountOf(upstream)) }

// otherUsageOf is what the rest of an account was declared to use in a region.
// Each of the account's upstreams may say it, and it is one figure.
func (l *Ledger) otherUsageOf(a account) Usage {
	out := Usage{}
	for _, name := range slices.Sorted(maps.Keys(l.upstreams)) {
		if l.accountOf(name) == a {
			u := l.upstreams[name].OtherUsage
			out.Messages, out.Minutes, out.Shadow = max(out.Messages, u.Messages), max(out.Minutes, u.Minutes), max(out.Shadow, u.Shadow)
			out.Rules, out.Actions = max(out.Rules, u.Rules), max(out.Actions, u.Actions)
		}
	}
	return out
}

// freeTier is what of an upstream's usage in its region the free tier covers: all
// that the account's usage in other regions, so far, has left of it.
func (l *Ledger) freeTier(upstream string, used ...shared) Usage {
	mine, list := l.accountOf(upstream), l.part(upstream).prices
	if !mine.hasFree() || list == nil || !l.granted(mine.id) {
		return Usage{}
	}
	elsewhere := map[account]bool{}
	for _, p := range l.parts.shown {
		if a := p.account(); a.hasFree() && a.id == mine.id {
			elsewhere[a] = a != mine
		}
	}
	left := list.Free
	for a, other := range elsewhere {
		if !other {
			continue
		}
		left = left.less(l.otherUsageOf(a))
		for _, s := range used {
			left = left.less(s[a])
		}
	}
	return left
}

// granted reports whether an account has the free tier: one of its upstreams says so, or,
// where it has none any more, the configuration did when it had one.
func (l *Ledger) granted(id string) bool {
	said, now, then, others := false, false, false, false
	for _, p := range l.parts.shown {
		if a := p.account(); !a.hasFree() || a.id != id {
			others = others || a.hasFree() && p.now && p.options.FreeTier
			continue
		}
		if said = said || p.now; p.now {
			now = now || p.options.FreeTier
		}
		then = then || p.options.FreeTier
	}
	if said {
		return now
	}
	// What has gone and named no account is perhaps of one that is named now: the free tier
	// is not given twice.
	return then && (id != "" || !others)
}

// shared is what the upstreams of each account have used.
type shared map[account]Usage

func (s shared) add(a account, u Usage) { s[a] = s[a].Plus(u) }
