package upstream

import (
	"strings"
	"testing"
	"time"
)

// §4.4: 1,000 messages a second need 12 connections at 90 a second; 600,000 bytes
// a second need two at 448 KiB.
func TestSizer(t *testing.T) {
	auto := PoolOptions{Connections: Auto, MaxConnections: 20}
	for _, c := range []struct {
		name       string
		o          PoolOptions
		limits     Limits
		perSecond  int64
		size, wait int64 // bytes of a message, messages that wait
		want       int
	}{
		{"nothing", auto, DefaultLimits(), 0, 0, 0, 1},
		{"one is enough", auto, DefaultLimits(), 85, 200, 0, 1},
		{"the rate of §4.4", auto, DefaultLimits(), 1000, 200, 0, 12},
		{"bytes", auto, DefaultLimits(), 60, 10_000, 0, 2},
		{"a backlog", auto, DefaultLimits(), 0, 200, 300_000, 6},
		{"bounded", auto, DefaultLimits(), 5000, 200, 0, 20},
		{"no limits", auto, Limits{}, 5000, 200, 1 << 30, 1},
		{"given", PoolOptions{Connections: 3, MaxConnections: 20}, DefaultLimits(), 5000, 200, 0, 3},
	} {
		z, now, l := NewSizer(c.o, c.limits), time.Now(), Load{Records: c.wait, Bytes: c.wait * c.size}
		if c.size > 0 {
			l.Records, l.Bytes = l.Records+1, l.Bytes+c.size
		}
		got := z.Want(now, l)
		for range 300 {
			now = now.Add(time.Second)
			l.Acked += c.perSecond
			got = z.Want(now, l)
		}
		if got != c.want {
			t.Errorf("%s: %d connections, want %d", c.name, got, c.want)
		}
	}
}

// A pool grows at once and shrinks late: a lull between two bursts costs no
// connections.
func TestSizerShrinksLate(t *testing.T) {
	z, now := NewSizer(PoolOptions{Connections: Auto, MaxConnections: 20}, DefaultLimits()), time.Now()
	busy := Load{Records: 300_000, Bytes: 300_000}
	if n := z.Want(now, busy); n != 6 {
		t.Fatalf("%d connections for a backlog of 300,000", n)
	}
	idle := Load{Acked: 300_000}
	for passed := time.Second; passed < 15*time.Minute; passed += time.Second {
		n := z.Want(now.Add(passed), idle)
		if passed < 5*time.Minute && n < 6 {
			t.Fatalf("%d connections after %v", n, passed)
		}
		if passed > 12*time.Minute && n != 1 {
			t.Fatalf("%d connections after %v", n, passed)
		}
	}
}

func TestConnectionsText(t *testing.T) {
	for text, want := range map[string]Connections{"auto": Auto, "1": 1, "64": 64} {
		var c Connections
		if err := c.UnmarshalText([]byte(text)); err != nil || c != want || c.String() != text {
			t.Errorf("%q is read as %v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "0", "65", "-1", "many", "1.5"} {
		if err := new(Connections).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestPoolOptionsValidate(t *testing.T) {
	if p := DefaultPool().Validate("gateway"); len(p) > 0 {
		t.Errorf("the default is refused: %v", p)
	}
	bad := PoolOptions{Connections: Auto, MaxConnections: 65, Account: AccountLimits{MessagesPerSecond: -1, BytesPerSecond: 1}, PriorityWeight: 1}
	if p := bad.Validate(strings.Repeat("x", 127)); len(p) != 5 {
		t.Errorf("problems %v", p)
	}
}
