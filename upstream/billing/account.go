package billing

import (
	"maps"
	"slices"
)

// Tiers and the free tier belong to an account in a region, whichever of its
// upstreams used them up. The upstreams of one are priced in the order of their
// names, each after those before it: what they cost together is what the account
// is charged.

// account is what shares tiers.
type account struct{ id, region, alone string }

// accountOf is the account of an upstream: two that name none are taken for one's.
// What has no region is not priced, and shares nothing.
func (l *Ledger) accountOf(upstream string) account {
	o := l.options(upstream)
	if o.Region == "" {
		return account{alone: upstream}
	}
	return account{id: o.Account, region: o.Region}
}

// otherUsage is what the rest of an upstream's account was declared to use. Each
// of the account's upstreams may say it, and it is one figure.
func (l *Ledger) otherUsage(upstream string) Usage {
	out, mine := Usage{}, l.accountOf(upstream)
	for _, name := range slices.Sorted(maps.Keys(l.upstreams)) {
		if l.accountOf(name) == mine {
			u := l.upstreams[name].OtherUsage
			out.Messages, out.Minutes, out.Shadow = max(out.Messages, u.Messages), max(out.Minutes, u.Minutes), max(out.Shadow, u.Shadow)
			out.Rules, out.Actions = max(out.Rules, u.Rules), max(out.Actions, u.Actions)
		}
	}
	return out
}

// freeTier reports whether the free tier is taken off an upstream's account.
func (l *Ledger) freeTier(upstream string) bool {
	mine := l.accountOf(upstream)
	for name, o := range l.upstreams {
		if o.FreeTier && l.accountOf(name) == mine {
			return true
		}
	}
	return l.options(upstream).FreeTier
}

// shared is what the upstreams of each account have used.
type shared map[account]Usage

func (s shared) add(a account, u Usage) { s[a] = s[a].Plus(u) }
