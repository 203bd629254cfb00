package billing

import (
	"cmp"
	"fmt"
	"math/big"
	"strings"

	"github.com/ebbgate/ebbgate/upstream/billing/cur"
)

// beside is what stands against each other: the ledger's part and the report's.
type beside struct {
	here    *ours
	charged map[string]*cur.Charge // by item
	notes   []string
}

// sides puts the lines of a report beside the ledger's accounts.
func (l *Ledger) sides(b *Bill, r *cur.Report) map[account]*beside {
	out := map[account]*beside{}
	at := func(a account) *beside {
		if out[a] == nil {
			out[a] = &beside{here: &ours{}, charged: map[string]*cur.Charge{}}
		}
		return out[a]
	}
	for a, o := range l.byAccount(b) {
		at(a).here = o
	}
	whose, in := l.whose(b), map[string]bool{} // accounts that the report has
	unnamed := map[string]map[string]bool{}    // accounts of the report by region, when no upstream names one
	for _, c := range r.Charges {
		a, why := whose.takes(c)
		s := at(a)
		if why != "" {
			s.notes = append(s.notes, fmt.Sprintf("%s of %s, $%s: %s", c.Amount.FloatString(0), c.Item, c.USD.FloatString(6), why))
			continue
		}
		in[a.id] = true
		if unnamed[c.Region] == nil {
			unnamed[c.Region] = map[string]bool{}
		}
		unnamed[c.Region][c.Account] = true
		if c.Kind != "Usage" {
			s.notes = append(s.notes, fmt.Sprintf("%s of $%s on %s is not usage", strings.ToLower(c.Kind), c.USD.FloatString(6), c.Item))
			continue
		}
		if was := s.charged[c.Item]; was != nil {
			was.Amount.Add(was.Amount, c.Amount)
			was.USD.Add(was.USD, c.USD)
			was.Free.Add(was.Free, c.Free)
			continue
		}
		c.Amount, c.USD, c.Free = new(big.Rat).Set(c.Amount), new(big.Rat).Set(c.USD), new(big.Rat).Set(c.Free) // the report stays as it is
		s.charged[c.Item] = &c
	}
	for _, t := range b.Totals {
		for _, s := range out {
			if t.Region != "" || t.Units == 0 {
				continue
			}
			switch {
			case t.Gone:
				s.here.gone = append(s.here.gone, t.Upstream)
			case t.Of != "":
				s.here.nowhere = append(s.here.nowhere, t.Upstream)
			default: // it is no cloud of AWS's
				continue
			}
			s.here.lost += t.Units
		}
	}
	for a, s := range out {
		for _, t := range b.Totals {
			if t.Gone && t.Region != "" && l.accountOf(t.Upstream) == a && t.Units > 0 {
				s.notes = append(s.notes, fmt.Sprintf("%d metered messages here are those of %s, which the configuration does not have any more", t.Units, t.Upstream))
			}
		}
		switch n := len(unnamed[a.region]); {
		case len(whose) == 0 && n > 1:
			s.notes = append(s.notes, fmt.Sprintf("the report is of %d accounts, all of which are compared together: say in billing.account which is this gateway's", n))
		case len(whose) > 0 && !in[a.id] && len(s.here.upstreams) > 0:
			s.notes = append(s.notes, s.here.absent(a))
			s.here = &ours{}
		}
	}
	return out
}

// absent says of upstreams why they are not compared.
func (o *ours) absent(a account) string {
	if a.id == "" {
		return fmt.Sprintf("not compared: %s, with %d metered messages here: no account is named (billing.account), as others do", strings.Join(o.upstreams, ", "), o.Units)
	}
	return fmt.Sprintf("not compared: %s, with %d metered messages here: the report has no line of account %s", strings.Join(o.upstreams, ", "), o.Units, a.id)
}

// accounts are the regions of each account that an upstream names.
type accounts map[string]map[string]bool

// whose are the accounts of the upstreams, where they are, and where they were in the
// bill's span. It is empty when none is named: all that a report has is ours then.
func (l *Ledger) whose(b *Bill) accounts {
	out := accounts{}
	for _, t := range b.Totals {
		if t.Account != "" {
			if out[t.Account] == nil {
				out[t.Account] = map[string]bool{}
			}
			out[t.Account][t.Region] = true
		}
	}
	return out
}

// takes is the account that a line of a report is compared with, or why with none.
func (w accounts) takes(c cur.Charge) (a account, why string) {
	switch {
	case len(w) == 0:
		return account{region: c.Region}, ""
	case c.Account != "" && w[c.Account] == nil:
		return account{id: c.Account, region: c.Region}, "no upstream names that account"
	case c.Account != "":
		return account{id: c.Account, region: c.Region}, ""
	}
	var there []string // a report need not name accounts
	for id, regions := range w {
		if regions[c.Region] || len(w) == 1 {
			there = append(there, id)
		}
	}
	if len(there) != 1 {
		return account{region: c.Region}, "the report does not say of which account: export it with lineItem/UsageAccountId"
	}
	return account{id: there[0], region: c.Region}, ""
}

func (a account) compare(b account) int {
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.region, b.region))
}

// byAccount sums up what the upstreams of each account have in each region.
func (l *Ledger) byAccount(b *Bill) map[account]*ours {
	out := map[account]*ours{}
	for _, t := range b.Totals {
		if t.Region == "" {
			continue
		}
		a := l.accountOf(t.Upstream)
		o := out[a]
		if o == nil {
			o = &ours{prices: l.part(t.Upstream).prices, other: l.otherUsageOf(a), free: l.freeTier(t.Upstream) != Usage{}}
			out[a] = o
		}
		o.add(t.Counts)
		o.more += max(t.Other, 0)
		o.less += max(-t.Other, 0)
		o.unsynchronised += t.Unsynchronised
		o.estimated = o.estimated.Plus(t.EstimatedUsage)
		o.upstreams = append(o.upstreams, t.Upstream)
		for _, n := range b.Lines {
			if n.Upstream == t.Upstream && n.Direction == Link && n.Topic == ConnectPacket {
				o.connects += n.Messages
			}
		}
	}
	return out
}
