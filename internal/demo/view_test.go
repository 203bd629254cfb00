package demo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func picture() view {
	return view{
		running: 83 * time.Second,
		status: &telemetry.Status{
			Upstreams: []telemetry.Upstream{{Link: telemetry.LinkUp, Drain: 192}},
			Spool:     telemetry.SpoolState{Depth: 18234, Bytes: 4 << 20, OldestAge: 37, DiskUsed: 12 << 20, DiskFree: 64 << 30},
			Rates:     telemetry.Rates{In: 40, Out: 95},
			Bill:      telemetry.BillState{UnitsToday: 1234, USDToday: "0.001481"},
			Warnings:  []telemetry.Warning{{Text: "the spool is \x1b[31mnearly full"}},
		},
		fleet:   devices.Stats{Connected: 20, Sent: 12345, Acked: 12345, Resent: 7},
		cloud:   sandbox.Counts{Distinct: 11034, Duplicates: 3, FirstUnits: 2 * 11034},
		waiting: 1311,
		pace:    40,
		yours:   "mosquitto_pub …",
		events:  []event{{time.Date(2026, 11, 20, 12, 3, 4, 0, time.UTC), "the link is back"}},
	}
}

// text is a screen without escape sequences.
func text(screen string) string {
	var b strings.Builder
	escaped := false
	for _, r := range screen {
		switch {
		case r == '\x1b':
			escaped = true
		case escaped:
			escaped = r < '@' || r == '['
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestScreen(t *testing.T) {
	want := `Ebbgate demo  01:23   gateway, sandbox cloud and devices on this machine

link      up
spool     18,234 messages, 4.0 MiB, the oldest 00:37
disk      12.0 MiB used, 64.0 GiB free
rates     40.0/s in, 95.0/s out, empty in about 03:12
bill      1,234 messages metered today, $0.001481
          30 days at the devices' pace of the last minute: $248.87
warning   the spool is ·[31mnearly full
devices   20 connected, 12,345 sent, 12,345 acknowledged, 7 sent again
cloud     11,034 arrived, 1,311 on the way, 3 duplicates, 0 out of order

Send a message of your own:
  mosquitto_pub …

c cut the link   r restore it   p kill the gateway   d break a policy   q quit

12:03:04  the link is back`
	if got := text(strings.Join(append(picture().screen(), picture().news()...), "\n")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestScreenSaysWhatIsWrong(t *testing.T) {
	v := picture()
	v.cut, v.status.Upstreams[0].Link = 12*time.Second, telemetry.LinkConnecting
	if got := text(v.link()); got != "CUT for 00:12 (the gateway says: connecting)" {
		t.Errorf("cut: %q", got)
	}
	v.status = nil
	if got := text(strings.Join(v.screen(), "\n")); !strings.Contains(got, "gateway   does not answer") {
		t.Errorf("no gateway:\n%s", got)
	}
	if got := v.line(); !strings.Contains(got, "does not answer") {
		t.Errorf("no gateway: %s", got)
	}
}

func TestFrameFitsTheTerminal(t *testing.T) {
	for _, size := range []struct{ columns, rows int }{{140, 40}, {80, 24}, {20, 5}, {1, 1}, {0, 0}} {
		lines := strings.Split(text(picture().frame(size.columns, size.rows)), "\r\n")
		if len(lines) > max(1, size.rows-1) {
			t.Errorf("%+v: %d lines", size, len(lines))
		}
		for _, l := range lines {
			if n := len([]rune(l)); n > size.columns {
				t.Errorf("%+v: %d columns: %q", size, n, l)
			}
		}
	}
}

func TestLine(t *testing.T) {
	want := "01:23 link up, spool 18234 (4.0 MiB, oldest 00:37), disk 12.0 MiB, in 40.0/s, out 95.0/s, empty in about 03:12, 30 days at the devices' pace $248.87, acknowledged 12345, arrived 11034, on the way 1311"
	if got := picture().line(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range [][2]string{
		{thousands(0), "0"}, {thousands(999), "999"}, {thousands(-1234), "-1,234"}, {thousands(1234567), "1,234,567"},
		{size(12), "12 B"}, {size(2048), "2.0 KiB"}, {clock(59 * time.Second), "00:59"}, {clock(3723 * time.Second), "1:02:03"},
		{messages(0), "0 messages"}, {messages(1), "1 message"}, {messages(2000), "2,000 messages"},
		{printable("a\x00\x1b[2Jü"), "a··[2Jü"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, want %q", c[0], c[1])
		}
	}
}

// Nothing that a person needs is cut off on a terminal of 80 columns.
func TestFold(t *testing.T) {
	line := label("warning") + "the disk has 12MiB left, spool.headroom keeps 64MiB free: make room, or wait until the cloud has taken the backlog"
	parts := fold(line, 80)
	var joined []string
	for _, p := range parts {
		visible := text(p)
		if n := len([]rune(visible)); n > 80 {
			t.Errorf("%d columns: %q", n, visible)
		}
		joined = append(joined, strings.Fields(visible)...)
	}
	if got, want := strings.Join(joined, " "), strings.Join(strings.Fields(text(line)), " "); got != want || len(parts) < 2 {
		t.Errorf("got %q, want %q", got, want)
	}
}

// On a small screen warnings and old events make room for the newest event.
func TestFrameKeepsTheNewestEvents(t *testing.T) {
	v := picture()
	v.events = nil
	for i := range keepEvents {
		v.events = append(v.events, event{text: fmt.Sprintf("event %d", i)})
	}
	for range 3 {
		v.status.Warnings = append(v.status.Warnings, telemetry.Warning{Text: strings.Repeat("too long for one line ", 5)})
	}
	drawn := text(v.frame(80, 24))
	if newest := fmt.Sprintf("event %d", keepEvents-1); !strings.Contains(drawn, newest) || strings.Contains(drawn, "event 0") {
		t.Errorf("the newest event is not there, or the oldest is:\n%s", drawn)
	}
	if roomy := text(v.frame(80, 60)); !strings.Contains(roomy, "event 0") {
		t.Errorf("an event is missing:\n%s", roomy)
	}
}

// The projection is of what devices send: a cut and the replay after it do not
// move it, and it says nothing before it knows something.
func TestProjection(t *testing.T) {
	v := picture()
	calm := v.projection()
	v.cloud.Distinct, v.cloud.FirstUnits = 100*v.cloud.Distinct, 100*v.cloud.FirstUnits // a replay
	v.status.Bill.UnitsToday, v.status.Bill.USDToday = 123400, "0.148100"
	v.status.Rates.Out, v.status.Bill.USDProjected = 0, "280.000000"
	if got := v.projection(); got != calm {
		t.Errorf("a cut and its replay move it from %s to %s", calm, got)
	}
	for name, change := range map[string]func(*view){
		"just started": func(v *view) { v.running = 4 * time.Second },
		"nothing came": func(v *view) { v.cloud.Distinct = 0 },
		"not metered":  func(v *view) { v.status.Bill = telemetry.BillState{USDToday: "0.000000"} },
		"no price":     func(v *view) { v.status.Bill.USDToday = "" },
	} {
		v := picture()
		change(&v)
		if got := v.projection(); got != "not known yet" {
			t.Errorf("%s: %s", name, got)
		}
	}
}
