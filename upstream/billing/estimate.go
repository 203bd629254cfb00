package billing

import "math/big"

// declared is what the declared rules and subscribers add to what was metered of
// one series, when all that may match does (most) and when only that does which
// certainly matches (least).
func (o Options) declared(s series, c Counts) (least, most Usage) {
	if s.direction != Up {
		return Usage{}, Usage{}
	}
	all, certain := o.rulesOf(s.prefix)
	sum := func(rules []DeclaredRule) Usage {
		u := declaredFor(rules, c.Units-c.Retained-c.Answers, max(0, c.Messages-c.Basic+c.basicMore)).Plus(declaredBasic(rules, c.Basic))
		u.Shadow = c.Shadow
		return u
	}
	return sum(certain), sum(all)
}

// rulesOf are those of the declared rules that may match what the ledger counts
// under a prefix, and those of them that match all of it.
func (o Options) rulesOf(prefix string) (all, certain []DeclaredRule) {
	for _, r := range o.DeclaredRules {
		how := covers(r.Topic, prefix, o.PrefixLevels)
		if how != coversNone {
			all = append(all, r)
		}
		if how == coversAll {
			certain = append(certain, r)
		}
	}
	return all, certain
}

// declaredFor is what rules add to messages of so many units.
func declaredFor(rules []DeclaredRule, units, messages int64) (u Usage) {
	for _, r := range rules {
		u = u.Plus(r.usage(units, messages))
	}
	return u
}

// declaredBasic is what becomes of so many units by Basic Ingest: the topic names a
// rule, which executes an action at least (M16, M19), and no subscriber is reached.
func declaredBasic(rules []DeclaredRule, units int64) Usage {
	u := declaredFor(rules, units, 0)
	return Usage{Rules: max(u.Rules, units), Actions: max(u.Actions, units)}
}

// usage is what happens to messages of so many units: rules and actions in 5 KB
// of the processed message, one action at least per rule (M19); deliveries by
// units (M07), and an answer for each message at QoS 1 (M08).
func (r DeclaredRule) usage(units, messages int64) Usage {
	u := Usage{Rules: units * int64(r.Rules), Actions: units * int64(max(r.Actions, r.Rules)), Messages: units * int64(r.Subscribers)}
	if r.QoS == "1" {
		u.Messages += messages * int64(r.Subscribers)
	}
	return u
}

// estimate fills in what was declared: of each line what it would cost alone, of
// each total its usage.
func (l *Ledger) estimate(lines []Line, totals map[string]*Total) {
	for i := range lines {
		n := &lines[i]
		o := l.options(n.Upstream)
		n.Hidden = o.hidden(n.series())
		least, most := o.declared(n.series(), n.Counts)
		if most == (Usage{}) {
			continue
		}
		t := totals[n.Upstream]
		t.EstimatedUsage = t.EstimatedUsage.Plus(most)
		t.leastUsage = t.leastUsage.Plus(least)
		if a, ok := l.part(n.Upstream).prices.cost(t.Region, most); ok {
			n.weight = a
			t.weight = sum(t.weight, a)
		}
	}
}

// hidden names what the cloud may bill for a series besides, and nobody has
// declared.
func (o Options) hidden(s series) string {
	switch {
	case s.direction == Down:
		return "stored copies"
	case s.direction == Link:
		return ""
	}
	for _, r := range o.DeclaredRules {
		if covers(r.Topic, s.prefix, o.PrefixLevels) != coversNone {
			return ""
		}
	}
	if IsBasicIngest(s.prefix) {
		return "more actions"
	}
	return "rules, subscribers"
}

// cost is what u costs at the prices of the first tier; a nil list has none.
func (p *PriceList) cost(region string, u Usage) (*big.Rat, bool) {
	if p == nil {
		return nil, false
	}
	a, ok := p.Cost(region, u, false)
	return a.Rat(), ok
}

func (n *Line) series() series {
	return series{upstream: n.Upstream, direction: n.Direction, device: n.Device, prefix: n.Topic, route: n.Route, thing: n.Thing}
}
