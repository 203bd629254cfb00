package billing

import "math/big"

// declared is what the declared rules and subscribers add to what was metered of
// one series, when all that may match does (most) and when only that does which
// certainly matches (least).
func (o Options) declared(s series, c Counts) (least, most Usage) {
	if s.direction != Up {
		return Usage{}, Usage{}
	}
	if c.Shadow > 0 {
		least.Shadow, most.Shadow = c.Shadow, c.Shadow
	}
	// A Basic Ingest topic triggers its rule, which executes an action (M16, M19).
	basicRule := Usage{Rules: c.Basic, Actions: c.Basic}
	least, most = least.Plus(basicRule), most.Plus(basicRule)
	units := c.Units - c.Retained + c.Basic
	for _, r := range o.DeclaredRules {
		how := covers(r.Topic, s.prefix, o.PrefixLevels)
		if how == coversNone || units == 0 {
			continue
		}
		u := r.usage(units, c.Messages)
		if c.Basic > 0 { // its rule is counted already, with one action
			u = u.less(Usage{Rules: c.Basic, Actions: c.Basic})
			u.Messages = 0 // Basic Ingest reaches no subscriber
		}
		most = most.Plus(u)
		if how == coversAll {
			least = least.Plus(u)
		}
	}
	return least, most
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

// estimate fills in what was declared: of each line its cost, of each total its
// usage and the lower bound of its cost.
func (l *Ledger) estimate(lines []Line, totals map[string]*Total) {
	low := map[string]Usage{}
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
		low[n.Upstream] = low[n.Upstream].Plus(least)
		if a, ok := l.prices[n.Upstream].cost(t.Region, most); ok {
			n.estimate = a
		}
	}
	for name, u := range low {
		if list := l.prices[name]; list != nil {
			a, _ := list.Cost(totals[name].Region, u, l.options(name).FreeTier)
			totals[name].estimated = a
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
