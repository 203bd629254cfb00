package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

// billRows bounds a table; what is below is summed in one row. dearest is how
// many topics are looked at closely.
const (
	billRows = 20
	dearest  = 10
	columns  = 80
)

// billTable prints bills for a terminal of 80 columns.
type billTable struct {
	out  io.Writer
	name func(by string) func(billing.Line) string
	by   string
	err  error // the first of writing
}

func (t *billTable) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(t.out, format, args...); err != nil && t.err == nil {
		t.err = err
	}
}

// print prints one period: a table per upstream and grouping, and what it means.
func (t *billTable) print(title string, b *billing.Bill) {
	t.printf("%s (UTC)\n", title)
	for _, total := range b.Totals {
		t.total(b, total)
	}
	t.together(b)
	if n := b.Unknown.Units; n > 0 {
		t.paragraph("", fmt.Sprintf("%s metered messages were counted while the clock was wrong, and belong to no day.", thousands(n)))
	}
	t.printf("\n")
}

// together sums up over all upstreams by what several of them may have in common.
func (t *billTable) together(b *billing.Bill) {
	used := map[string]bool{}
	for _, n := range b.Lines {
		used[n.Upstream] = true
	}
	if len(used) < 2 || t.by != byRegion && t.by != byAccount && t.by != byUpstream {
		return
	}
	t.printf("\nall upstreams\n")
	t.row(t.by, "metered", "USD, here", "USD, est.", "not visible here")
	for _, r := range tableRows(b.Lines, billRows, t.by, t.name(t.by)) {
		t.row(r.Name, thousands(r.Units), r.USD, r.Estimated, r.Hidden)
	}
}

func (t *billTable) total(b *billing.Bill, total billing.Total) {
	t.printf("\n")
	t.paragraph("", priced(total))
	lines := linesOf(b, total.Upstream)
	groups := []string{byDevice, byTopic}
	if t.by != "" {
		groups = []string{t.by}
	}
	for _, group := range groups {
		t.row(group, "metered", "USD, here", "USD, est.", "not visible here")
		for _, r := range tableRows(lines, billRows, group, t.name(group)) {
			t.row(r.Name, thousands(r.Units), r.USD, r.Estimated, r.Hidden)
		}
		t.row("total", thousands(total.Units), total.USD, total.Estimated, "see below")
	}
	t.known(total)
	t.fill(lines, total)
	t.causes(lines, total)
}

// tableRows sums lines by their names, the dearest first, and hours and days in
// their order, all of them.
func tableRows(lines []billing.Line, limit int, by string, name func(billing.Line) string) []billing.Sum {
	if by != byHour && by != byDay {
		return billing.Group(lines, limit, name)
	}
	rows := billing.Group(lines, len(lines), name)
	slices.SortFunc(rows, func(a, b billing.Sum) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// row prints one row of a table, cut to the columns.
func (t *billTable) row(name, metered, here, estimated, hidden string) {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	t.printf("  %-20s %13s %11s %11s  %s\n", cut(name, 20), metered, dash(here), dash(estimated), cut(dash(hidden), 18))
}

// known says how well the total is known.
func (t *billTable) known(total billing.Total) {
	if total.USDRange != "" {
		t.paragraph("  ", fmt.Sprintf("metered here between $%s: prices that no source says, or 5 KB read as the other number (%s)", strings.Replace(total.USDRange, " to ", " and $", 1), reread(total.Other)))
	}
	if total.EstimatedRange != "" {
		t.paragraph("  ", fmt.Sprintf("estimated between $%s (prices: %s)", strings.Replace(total.EstimatedRange, " to ", " and $", 1), total.EstimateStatus))
	}
	if u := total.EstimatedUsage; u != (billing.Usage{}) {
		t.paragraph("  ", fmt.Sprintf("estimated: %s rules triggered, %s actions, %s messages to subscribers, %s shadow operations",
			thousands(u.Rules), thousands(u.Actions), thousands(u.Messages), thousands(u.Shadow)))
	}
	if total.Minutes > 0 {
		t.paragraph("  ", fmt.Sprintf("%s minutes of connectivity%s", thousands(total.Minutes), dollars(": $", total.USDMinutes)))
	}
	if total.LinkUSD != "" || total.Units == 0 && total.LinkBytes() > 0 { // such as S3's: bytes are all it has
		t.paragraph("  ", link(total))
	}
	if total.Requests != nil {
		t.paragraph("  ", requests(total))
	}
	if total.Unsynchronised > 0 {
		t.paragraph("  ", fmt.Sprintf("%s of them in hours that an unsynchronised clock told", thousands(total.Unsynchronised)))
	}
}

// reread says what the other reading of 5 KB makes of the metered messages.
func reread(other int64) string {
	if other < 0 {
		return thousands(-other) + " metered messages fewer"
	}
	return thousands(other) + " metered messages more"
}

// requests says what those to a store of files cost.
func requests(total billing.Total) string {
	r := total.Requests
	text := fmt.Sprintf("requests to S3: %s PUT, COPY, POST and LIST, %s GET and others, %s that are free", thousands(r.Puts), thousands(r.Gets), thousands(r.Free))
	if total.USDRequests != "" {
		text += ": $" + total.USDRequests
		if total.USDRequestsRange != "" {
			text += fmt.Sprintf(", between $%s", strings.Replace(total.USDRequestsRange, " to ", " and $", 1))
		}
	}
	return text + " (" + total.RequestsNote + "), besides the total"
}

// link says what the link costs, and for which bytes.
func link(total billing.Total) string {
	price := "no price (link_price_per_mb)"
	if total.LinkUSD != "" {
		price = "$" + total.LinkUSD
	}
	if total.Socket < total.Wire {
		return fmt.Sprintf("link: %s for %s bytes of packets; what else the sockets carry is written once a minute", price, thousands(total.Wire))
	}
	text := fmt.Sprintf("link: %s for %s bytes at the socket, TLS included, TCP and IP not", price, thousands(total.Socket))
	if total.Wire > 0 && total.Wire != total.Socket {
		text += fmt.Sprintf("; %s of them are packets of messages", thousands(total.Wire))
	}
	return text
}

// fill prints the dearest topics, and how full their metered messages were.
func (t *billTable) fill(lines []billing.Line, total billing.Total) {
	publishes := slices.DeleteFunc(slices.Clone(lines), func(n billing.Line) bool { return n.Direction == billing.Link || n.Units == 0 })
	if len(publishes) == 0 {
		return
	}
	t.printf("  the dearest topics, and how full a metered message is\n")
	for _, s := range billing.Group(publishes, dearest, t.name(byTopic)) {
		if s.Name == billing.Rest {
			break
		}
		used := "not recorded"
		if n, ok := s.Fill(); ok {
			used = fmt.Sprintf("%s of %s B used", thousands(n), thousands(total.Unit))
		}
		t.printf("    %-36s %15s  %s\n", cut(s.Name, 36), dollars("$", s.USD), used)
	}
}

// causes prints what the messages that nobody needed cost.
func (t *billTable) causes(lines []billing.Line, total billing.Total) {
	var connects, subscribes billing.Counts
	for _, n := range lines {
		if n.Direction == billing.Link {
			switch n.Topic {
			case billing.ConnectPacket:
				connects.Units += n.Units
				connects.Messages += n.Messages
			case billing.SubscribePacket:
				subscribes.Units += n.Units
			}
		}
	}
	if connects.Units+subscribes.Units+total.Uncertain+total.Retained+total.Acks+total.Answers+total.Throttled == 0 {
		return
	}
	t.printf("  what outages, retries and copies cost\n")
	row := func(what string, units int64, note string) {
		if units == 0 {
			return
		}
		t.printf("    %-28s %12s %13s  %s\n", what, thousands(units), share(total, units), note)
	}
	row("connects and subscriptions", connects.Units+subscribes.Units, fmt.Sprintf("%s connects", thousands(connects.Messages)))
	row("sent, fate unknown", total.Uncertain, "if they were billed")
	row("retained copies", total.Retained, "")
	row("our answers to deliveries", total.Acks, "PUBACK, QoS 1")
	row("the cloud's answers", total.Answers, "HTTPS, errors too")
	if total.Throttled > 0 {
		t.printf("    %s refused for now or for good, not billed\n", thousands(total.Throttled))
	}
}

// share is what units of a total's cost, at its average.
func share(total billing.Total, units int64) string {
	usd, ok := total.Share(units)
	if !ok {
		return "-"
	}
	return "$" + usd
}

func priced(t billing.Total) string {
	t.Upstream, t.Of, t.Region, t.Account = printable(t.Upstream), printable(t.Of), printable(t.Region), printable(t.Account)
	s := t.Upstream
	if t.Account != "" && !strings.HasSuffix(s, "account "+t.Account+")") { // the name of a part may have it
		s += " (account " + t.Account + ")"
	}
	if t.Gone && t.Region == "" && t.Units > 0 { // else it is a store of files
		return s + ": not priced, since the configuration has no such upstream any more; put it back, without routes, until its last month is over"
	}
	switch {
	case t.Gone && t.Units > 0:
		s += ", which the configuration does not have any more"
	case t.Of != "":
		s += ", where " + t.Of + " is not any more"
	}
	if t.USD == "" {
		s += fmt.Sprintf(": metered in units of %d bytes, no prices", t.Unit)
		if t.Region != "" {
			s += " for " + t.Region + " are known, and none are guessed: what it costs is not told; give a list that has it (billing.price_list)"
		} else if t.Of != "" && !t.Gone {
			s += " where no region was said; should it have been billed where " + t.Of + " is now, set its billing.past to as_now"
		}
		return s
	}
	s += fmt.Sprintf(": prices of %s as of %s (%s), metered in units of %d bytes", t.Region, t.PricesAsOf, t.PriceStatus, t.Unit)
	if t.Uncertain > 0 {
		s += fmt.Sprintf("; %s uncertain, $%s more if every one of them was billed", thousands(t.Uncertain), t.USDUncertain)
	}
	return s
}

func dollars(before, amount string) string {
	if amount == "" {
		return ""
	}
	return before + amount
}

// paragraph prints a text, wrapped, each line after indent.
func (t *billTable) paragraph(indent, text string) {
	line := indent
	for _, word := range strings.Fields(text) {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns && strings.TrimSpace(line) != "" {
			t.printf("%s\n", strings.TrimRight(line, " "))
			line = strings.Repeat(" ", len(indent)-len(strings.TrimLeft(indent, " "))) + "  "
		}
		if line != indent && !strings.HasSuffix(line, " ") {
			line += " "
		}
		line += word
	}
	t.printf("%s\n", line)
}

// cut shortens a text in its middle to n runes.
func cut(s string, n int) string {
	r := []rune(printable(s))
	if len(r) <= n {
		return string(r)
	}
	half := (n - 1) / 2
	return string(r[:n-1-half]) + "…" + string(r[len(r)-half:])
}

// printable takes out of a name what a terminal would obey, the marks included that
// turn the direction of what follows: names are the devices' own.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return '?'
		}
		return r
	}, s)
}

// thousands writes a number as people read it: 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
