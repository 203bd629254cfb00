package demo

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// Escape sequences of ANSI terminals.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[2J"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
	bold        = "\x1b[1m"
	red         = "\x1b[1;31m"
	plain       = "\x1b[0m"
)

// view is one picture of the demo.
type view struct {
	now      time.Time
	running  time.Duration
	cut      time.Duration // since the cut; 0: the link is up
	status   *telemetry.Status
	fleet    devices.Stats
	cloud    sandbox.Counts
	waiting  int64   // acknowledged and not arrived
	pace     float64 // messages a second that devices got acknowledged, over paceWindow
	yours    string
	events   []event
	happened int // events so far
	quitting bool
}

func (l *live) view() view {
	v := view{
		now: time.Now(), running: time.Since(l.started), status: l.status.Load(), fleet: l.fleet.Stats(),
		cloud: l.cloud.Arrivals().Counts(), waiting: l.account().Lost, yours: l.yourLine(),
	}
	v.pace = l.pace.Observe(v.now, v.fleet.Acked)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cutAt.IsZero() {
		v.cut = max(time.Since(l.cutAt), 1)
	}
	v.events = append(v.events, l.events...)
	v.happened, v.quitting = l.told, l.quit
	return v
}

// frame draws the view on a screen of this size. Where it is too small for all,
// the oldest events are left out.
func (v view) frame(columns, rows int) string {
	var lines, news []string
	for _, line := range v.screen() {
		lines = append(lines, fold(line, columns)...)
	}
	rows = max(1, rows-1)
	lines = lines[:min(len(lines), rows)]
	for _, line := range slices.Backward(v.news()) {
		parts := fold(line, columns)
		if len(lines)+len(parts)+len(news) > rows {
			break
		}
		news = append(parts, news...)
	}
	lines = append(lines, news...)
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line)
		b.WriteString(plain + clearLine)
	}
	b.WriteString(clearBelow)
	return b.String()
}

func (v view) screen() []string {
	lines := []string{
		bold + "Ebbgate demo" + plain + "  " + clock(v.running) + "   gateway, sandbox cloud and devices on this machine",
		"",
		label("link") + v.link(),
	}
	if s := v.status; s != nil {
		lines = append(lines,
			label("spool")+fmt.Sprintf("%s, %s, the oldest %s", messages(s.Spool.Depth), size(s.Spool.Bytes), clock(duration(s.Spool.OldestAge))),
			label("disk")+fmt.Sprintf("%s used, %s free", size(s.Spool.DiskUsed), size(s.Spool.DiskFree)),
			label("rates")+fmt.Sprintf("%.1f/s in, %.1f/s out, %s", s.Rates.In, s.Rates.Out, v.drain()),
			label("bill")+fmt.Sprintf("%s metered today, $%s", messages(s.Bill.UnitsToday), s.Bill.USDToday),
			label("")+fmt.Sprintf("30 days at the devices' pace of the last minute: %s", v.projection()),
		)
		for _, w := range s.Warnings[:min(len(s.Warnings), 3)] {
			lines = append(lines, label("warning")+printable(w.Text))
		}
	} else {
		lines = append(lines, label("gateway")+red+"does not answer"+plain)
	}
	return append(lines,
		label("devices")+fmt.Sprintf("%d connected, %s sent, %s acknowledged, %s sent again", v.fleet.Connected, thousands(v.fleet.Sent), thousands(v.fleet.Acked), thousands(v.fleet.Resent)),
		label("cloud")+fmt.Sprintf("%s arrived, %s on the way, %s duplicates, %s out of order", thousands(v.cloud.Distinct), thousands(v.waiting), thousands(v.cloud.Duplicates), thousands(v.cloud.OutOfOrder)),
		"",
		"Send a message of your own:",
		"  "+v.yours,
		"",
		bold+"c"+plain+" cut the link   "+bold+"r"+plain+" restore it   "+bold+"p"+plain+" kill the gateway   "+
			bold+"d"+plain+" break a policy   "+bold+"q"+plain+" quit",
		"",
	)
}

// news are the events, the newest last.
func (v view) news() (lines []string) {
	for _, e := range v.events {
		lines = append(lines, e.at.Format("15:04:05")+"  "+e.text)
	}
	return lines
}

// The projection is of what devices send and not of what the cloud gets: that
// stands still during a cut and doubles after it. It needs some seconds to mean
// anything.
const (
	paceWindow = time.Minute
	paceLeast  = 5 * time.Second
)

// projection is what the cloud bills when the devices go on at their present
// pace for 30 days, at the size and price of what has arrived so far.
func (v view) projection() string {
	arrived := v.cloud.Distinct + v.cloud.Others
	usd, err := strconv.ParseFloat(v.status.Bill.USDToday, 64)
	if err != nil || v.running < paceLeast || arrived == 0 || v.status.Bill.UnitsToday == 0 {
		return "not known yet"
	}
	units := float64(v.cloud.FirstUnits) / float64(arrived)
	price := usd / float64(v.status.Bill.UnitsToday)
	return fmt.Sprintf("$%.2f", v.pace*units*price*(30*24*time.Hour).Seconds())
}

// line is the view in one line, for a log.
func (v view) line() string {
	s := v.status
	if s == nil {
		return fmt.Sprintf("%s link %s, gateway does not answer, devices acknowledged %d, cloud arrived %d", clock(v.running), v.linkWord(), v.fleet.Acked, v.cloud.Distinct)
	}
	return fmt.Sprintf("%s link %s, spool %d (%s, oldest %s), disk %s, in %.1f/s, out %.1f/s, %s, 30 days at the devices' pace %s, acknowledged %d, arrived %d, on the way %d",
		clock(v.running), v.linkWord(), s.Spool.Depth, size(s.Spool.Bytes), clock(duration(s.Spool.OldestAge)), size(s.Spool.DiskUsed),
		s.Rates.In, s.Rates.Out, v.drain(), v.projection(), v.fleet.Acked, v.cloud.Distinct, v.waiting)
}

func (v view) link() string {
	switch word := v.linkWord(); {
	case v.cut > 0:
		return red + "CUT" + plain + " for " + clock(v.cut) + " (the gateway says: " + word + ")"
	case v.quitting:
		return word + ", quitting: the backlog drains"
	default:
		return word
	}
}

func (v view) linkWord() string {
	if v.status == nil || len(v.status.Upstreams) == 0 {
		return "unknown"
	}
	return v.status.Upstreams[0].Link
}

func (v view) drain() string {
	if len(v.status.Upstreams) == 0 || float64(v.status.Spool.Depth) <= 1+v.status.Rates.In {
		return "keeps up" // at most what came in during a second
	}
	if d := v.status.Upstreams[0].Drain; d > 0 {
		return "empty in about " + clock(duration(d))
	}
	return "not draining"
}

func label(name string) string { return fmt.Sprintf("%s%-10s%s", bold, name, plain) }

// fold breaks a line at blanks so that each part fits; what follows the first
// stands under the values.
func fold(line string, columns int) (out []string) {
	const indent = "          "
	for {
		head := fit(line, columns)
		if head == line || columns <= 2*len(indent) {
			return append(out, head)
		}
		if at := strings.LastIndexByte(head, ' '); at > len(indent) {
			head = head[:at]
		}
		out = append(out, head+plain)
		line = indent + strings.TrimLeft(line[len(head):], " ")
	}
}

// fit cuts a line to the columns; escape sequences take none.
func fit(line string, columns int) string {
	visible, escaped := 0, false
	for i, r := range line {
		switch {
		case r == '\x1b':
			escaped = true
		case escaped:
			escaped = !unicode.IsLetter(r)
		default:
			if visible++; visible > columns {
				return line[:i]
			}
		}
	}
	return line
}

// printable keeps what strangers send from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}

// clock writes a duration as 1:02:03 or 02:03.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// size writes bytes with a unit.
func size(n int64) string {
	for _, u := range []struct {
		unit string
		n    int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.n {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.n), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// messages is "1 message" or "1,234 messages".
func messages(n int64) string {
	if n == 1 {
		return "1 message"
	}
	return thousands(n) + " messages"
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func splitAddr(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, ""
	}
	return host, port
}
