package billing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Step is one step of an explanation: what, and how many metered messages that
// are.
type Step struct {
	Text  string
	Units int64
	Sum   bool // it sums up what stands above
}

// Explain takes lines of a bill apart, down to their metered messages: sizes,
// copies, answers, and the tiers of the price. The lines belong to one total.
func (l *Ledger) Explain(b *Bill, upstream string, lines []Line) ([]Step, error) {
	at := b.spanOf(lines)
	traffic, err := l.Traffic(l.part(upstream).of, at.from, at.to)
	if err != nil {
		return nil, err
	}
	unit := int64(l.options(upstream).Unit)
	var steps []Step
	var all Counts
	shown := map[shelf]bool{}
	for _, n := range lines {
		all.add(n.Counts)
		steps = append(steps, n.step())
		id := shelf{n.Topic, n.Route}
		if n.Direction != Up || shown[id] {
			continue
		}
		shown[id] = true
		recorded := int64(0)
		for _, t := range traffic {
			if t.Topic == n.Topic && t.Route == n.Route {
				steps = append(steps, sizesOf(t, unit)...)
				recorded += t.Sizes.Messages()
			}
		}
		steps = append(steps, b.unsized(n, at, recorded)...)
	}
	steps = append(steps, Step{Text: "metered messages, acknowledged", Units: all.Units, Sum: true})
	if all.Uncertain > 0 {
		steps = append(steps, Step{Text: "sent, with an unknown fate: billed or not (M26)", Units: all.Uncertain})
	}
	if all.Throttled > 0 {
		steps = append(steps, Step{Text: fmt.Sprintf("%d refused for now: not billed (M26)", all.Throttled)})
	}
	return append(steps, l.tiers(b, upstream, all)...), nil
}

// lineSpan is the time that explained lines are of: on a bill that tells hours or days
// apart ([Ledger.Detail]) their own, else the bill's.
type lineSpan struct {
	from, to time.Time
	starts   map[time.Time]bool // of the lines
}

func (b *Bill) spanOf(lines []Line) lineSpan {
	at := lineSpan{b.From, b.To, map[time.Time]bool{}}
	for i, n := range lines {
		at.starts[n.Start] = true
		if n.Start.IsZero() {
			continue
		}
		if i == 0 || n.Start.Before(at.from) {
			at.from = n.Start
		}
		if end := n.Start.Add(ledgerHour); i == 0 || end.After(at.to) {
			at.to = end
		}
	}
	return at
}

// unsized says by how much the sizes of a line's route and topic are not those of the
// explained lines: the last minute before a kill has none; they are of whole days, of
// all places of an upstream, and of each topic by its own name.
func (b *Bill) unsized(n Line, at lineSpan, recorded int64) (steps []Step) {
	billed, elsewhere, day, folded := int64(0), int64(0), int64(0), false
	dayStart, _ := Today(at.from)
	_, dayEnd := Today(at.to.Add(-1))
	for _, o := range b.Lines {
		if o.Name() != n.Name() || o.Direction != Up {
			continue
		}
		within := o.Start.IsZero() || !o.Start.Before(dayStart) && o.Start.Before(dayEnd)
		folded = folded || o.Topic == other && within
		if o.Topic != n.Topic || o.Route != n.Route || !within {
			continue
		}
		if day += o.Messages; !at.starts[o.Start] {
			continue
		}
		billed += o.Messages
		if o.Upstream != n.Upstream {
			elsewhere += o.Messages
		}
	}
	if elsewhere > 0 {
		steps = append(steps, Step{Text: fmt.Sprintf("  sizes are recorded of all places of %s together, where %d were billed that are not of %s", n.Name(), elsewhere, n.Upstream)})
	}
	switch {
	case recorded < billed && n.Topic == other:
		steps = append(steps, Step{Text: fmt.Sprintf("  all devices: %d in all, above what is told apart; their sizes are recorded at the topics that they had", billed)})
	case recorded < billed:
		steps = append(steps, Step{Text: fmt.Sprintf("  all devices: %d more, whose sizes are not recorded", billed-recorded)})
	case recorded > billed:
		var why []string
		if whole := at.from.Equal(dayStart) && at.to.Equal(dayEnd); day > billed || at.starts[time.Time{}] && !whole {
			why = append(why, "of other hours")
		}
		if folded {
			why = append(why, "on the bill as "+other)
		}
		text := fmt.Sprintf("  sizes are recorded by the day: %d of these are %s", recorded-billed, strings.Join(why, ", or "))
		if len(why) == 0 { // they are not written in one commit with the ledger
			text = fmt.Sprintf("  %d of these are not on this bill: they were sent again after a crash, or of hours that were put right since", recorded-billed)
		}
		steps = append(steps, Step{Text: text})
	}
	return steps
}

// step says what a line is made of.
func (n *Line) step() Step {
	text := n.Direction + " " + n.Topic
	switch {
	case n.Direction == Link && n.Topic == "" && n.Minutes == 0 && n.Device == "":
		return Step{Text: fmt.Sprintf("the sockets: %d bytes, which the link's price is of; no metered messages", n.Socket)}
	case n.series().isRequest():
		return Step{Text: fmt.Sprintf("the store of files: %d requests %s; no metered messages, and priced beside them", n.Messages, n.Topic)}
	case n.Direction == Link && n.Topic == "":
		return Step{Text: fmt.Sprintf("connection %s: %d minutes, each one begun counts (M01)", n.Device, n.Minutes)}
	case n.Direction == Link:
		return Step{Text: fmt.Sprintf("connection %s: %d %s packets (M04, M05)", n.Device, n.Messages, n.Topic), Units: n.Units}
	}
	if n.Device != "" {
		text += ", device " + n.Device
	}
	if n.Route != "" {
		text += ", route " + n.Route
	}
	text += fmt.Sprintf(": %d messages with %d bytes of payload, topic and properties (M06)", n.Messages, n.Bytes)
	for _, part := range []struct {
		n    int64
		text string
	}{
		{n.Retained, "of the units %d are retained copies (M10)"}, {n.Acks, "of the units %d are our PUBACKs (M08)"},
		{n.Answers, "of the units %d are the cloud's answers to requests over HTTPS (M18)"},
		{n.Basic, "Basic Ingest: not metered (M16), %d rule units instead"}, {n.Shadow, "%d shadow operations besides (M21)"},
	} {
		if part.n > 0 {
			text += "; " + fmt.Sprintf(part.text, part.n)
		}
	}
	return Step{Text: text, Units: n.Units}
}

// maxSizeSteps bounds how many sizes are listed.
const maxSizeSteps = 12

func sizesOf(t Traffic, unit int64) []Step {
	var out []Step
	cells, of := t.Sizes.Cells(), "all devices"
	switch t.Kind {
	case Alone:
		of += ", what goes alone"
	case Batched:
		of += ", in batches"
	}
	for i, c := range cells {
		if i == maxSizeSteps {
			return append(out, Step{Text: fmt.Sprintf("  … and %d sizes more", len(cells)-i)})
		}
		n := c.Messages
		mean, topic := (c.Payload+c.Topic+c.Rest)/n, fmt.Sprintf("topic %d", c.Topic/n)
		if t.HTTP {
			mean, topic = (c.Payload+c.Rest)/n, "topic in the URL, free"
		}
		text := fmt.Sprintf("  %s: %d of about %d B (payload %d, %s, properties %d): %d metered each",
			of, n, mean, c.Payload/n, topic, c.Rest/n, Units(int(mean), unit))
		if IsBasicIngest(t.Topic) {
			text = fmt.Sprintf("  %s: %d of about %d B: free, by Basic Ingest", of, n, mean)
		}
		if t.HTTP {
			text += ", and its answer (M18)"
		}
		out = append(out, Step{Text: text})
	}
	return out
}

// tiers says what the metered messages and minutes of a month are charged.
func (l *Ledger) tiers(b *Bill, upstream string, c Counts) []Step {
	i := slices.IndexFunc(b.Totals, func(t Total) bool { return t.Upstream == upstream })
	list := l.part(upstream).prices
	if i < 0 || list == nil || b.Totals[i].USD == "" {
		return []Step{{Text: "no price: the upstream has no region of the price list"}}
	}
	t := b.Totals[i]
	r := list.Regions[t.Region]
	var out []Step
	for k, tier := range r.Messages {
		upTo := "and more"
		if k+1 < len(r.Messages) {
			upTo = "to " + strconv.FormatInt(r.Messages[k+1].From, 10)
		}
		out = append(out, Step{Text: fmt.Sprintf("$%s per million from %d %s a month (M28; %s, as of %s)", tier.PerMillion.FloatString(2), tier.From, upTo, tier.Status, list.AsOf)})
	}
	if c.Minutes > 0 {
		out = append(out, Step{Text: fmt.Sprintf("$%s per million minutes (%s)", r.Minutes.PerMillion.FloatString(3), r.Minutes.Status)})
	}
	if free := l.freeTier(upstream); free != (Usage{}) { // an upstream of the account says it, not always this one
		out = append(out, Step{Text: fmt.Sprintf("the first %d messages and %d minutes of the account's month are free", free.Messages, free.Minutes)})
	}
	if used := l.otherUsage(upstream); used.Messages > 0 || used.Minutes > 0 {
		out = append(out, Step{Text: fmt.Sprintf("after %d messages and %d minutes that the rest of the account was declared to use", used.Messages, used.Minutes)})
	}
	share := Amount{}
	if t.Units > 0 {
		share = share.Plus(t.messages.Times(c.Units, t.Units))
	}
	if t.Minutes > 0 {
		share = share.Plus(t.minutes.Times(c.Minutes, t.Minutes))
	}
	text := "$" + share.String() + ", as its part of " + upstream + "'s $" + t.USD
	if share.Ranged() {
		text += " (between $" + share.Range() + ")"
	}
	return append(out, Step{Text: text, Sum: true})
}

// Share is what units of the total cost, at the average of its metered messages,
// as decimals; false without a price.
func (t *Total) Share(units int64) (string, bool) {
	if t.USD == "" || t.Units == 0 {
		return "", false
	}
	return t.messages.Times(units, t.Units).String(), true
}
