package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/failover"
	"github.com/ebbgate/ebbgate/upstream/metered"
)

// memberLink is a link that nothing is sent on.
type memberLink struct {
	bridge.Link
	done chan struct{}
}

func (l memberLink) Done() <-chan struct{} { return l.done }
func (l memberLink) Flush()                {}
func (l memberLink) Err() error {
	select {
	case <-l.done:
		return context.Canceled
	default:
		return nil
	}
}
func (l memberLink) Close() error { close(l.done); return nil }

// member is one that is reached, or is not.
type member bool

func (m member) Connect(ctx context.Context) (bridge.Link, error) {
	if !m {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return memberLink{done: make(chan struct{})}, nil
}

// What waits for the windows of an upstream that some connection reaches waits, though
// others have gone over to another, whose windows count when all have. When only those
// that have gone over are closed their devices go by the rest.
func TestWhoseWindowsCount(t *testing.T) {
	t.Parallel()
	const none, home, over = -1, 0, 1
	for name, c := range map[string]struct {
		own, others string // gates: open, closed, or empty for none
		at          []int  // the connections
		left        bool   // those at home have just ended
		open        bool
		lines       string // which connections are open, as o or c
		held        bool
	}{
		"all at home, closed":                       {own: "closed", others: "open", at: []int{home, home}, lines: "oo"},
		"some at home, closed":                      {own: "closed", others: "open", at: []int{over, home}, lines: "oo"},
		"some at home, without a gate":              {others: "closed", at: []int{home, over}, open: true, lines: "oc"},
		"some at home, open":                        {own: "open", others: "closed", at: []int{over, home}, open: true, lines: "co"},
		"some at home, both closed":                 {own: "closed", others: "closed", at: []int{home, over}, lines: "oc"},
		"all over, the other open":                  {own: "closed", others: "open", at: []int{over, over}, open: true, lines: "oo"},
		"all over, the other closed":                {own: "open", others: "closed", at: []int{over, over}, lines: "cc", held: true},
		"all over, the other without a gate":        {own: "closed", at: []int{over, none}, lines: "co"}, // it goes by the upstream's
		"none anywhere, closed":                     {own: "closed", others: "open", at: []int{none, none}, lines: "oo"},
		"none anywhere, open":                       {own: "open", others: "closed", at: []int{none, none}, open: true, lines: "oo"},
		"some at home a moment ago, closed":         {own: "closed", others: "open", at: []int{home, over}, left: true, lines: "oo"},
		"some at home a moment ago, open":           {own: "open", others: "open", at: []int{home, over}, left: true, open: true, lines: "oo"},
		"some at home a moment ago, without a gate": {others: "closed", at: []int{home, over}, left: true, lines: "oc", held: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := spool.DefaultOptions()
				o.Dir, o.Durability = t.TempDir(), spool.OS
				s, err := spool.Open(o, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}()
				gate := func(is string) *metered.Gate {
					o := metered.DefaultOptions()
					o.Budget, o.TimeZone = 1_000_000, "UTC"
					if is == "" {
						return nil
					} else if is == "closed" {
						o.Windows = []string{strings.ToLower(time.Now().UTC().Add(72 * time.Hour).Weekday().String()[:3]) + " 00:00-24:00"}
					}
					g, err := metered.New("cloud", o, s, func() bridge.Instant { return bridge.Instant{Age: s.Age(), Wall: time.Now()} })
					if err != nil {
						t.Fatal(err)
					}
					return g
				}
				own, others := gate(c.own), gate(c.others)
				if others == nil {
					others = own
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var uplinks []uplink
				var links []bridge.Link
				for _, at := range c.at {
					ch := &chain{own: 1, gates: []*metered.Gate{own, others}}
					ch.Sender = failover.New([]failover.Member{{Sender: member(at == home), After: time.Second}, {Sender: member(at == over)}}, upstream.Hooks{})
					uplinks = append(uplinks, ch)
					if at == none {
						continue
					}
					l, err := ch.Connect(ctx)
					if err != nil {
						t.Fatal(err)
					}
					links = append(links, l)
				}
				synctest.Wait()
				u := usedGateOf(own, uplinks).(*usedGate)
				look := func() string {
					is := ""
					for _, up := range uplinks {
						is += map[bool]string{true: "o", false: "c"}[up.(*chain).Open(4)]
					}
					return is
				}
				<-time.After(time.Second)
				u.Open(4)
				if c.left {
					_ = links[0].Close()
					synctest.Wait()
				}
				if open, lines, held := u.Open(4), look(), u.held() != ""; open != c.open || lines != c.lines || held != c.held {
					t.Errorf("open %v, of the connections %s, told as held %v", open, lines, held)
				}
				cl := &cloud{name: "cloud", gate: own, open: u}
				text, byOther := cl.held()
				if (text == "") != c.open || byOther != c.held {
					t.Errorf("it is held for %q, by another: %v", text, byOther)
				}
				waits := (&gateway{health: new(bridge.Health)}).waitsFor("up/cloud/x", cl, telemetry.Upstream{Name: "cloud", Link: telemetry.LinkUp})
				if strings.Contains(waits, "another upstream") != c.held || strings.Contains(waits, "outside of its windows") == c.open {
					t.Error(waits)
				}
				if <-time.After(time.Minute); c.left && u.Open(4) != (c.others == "open") {
					t.Error("it goes by that of those at home, though there is none any more")
				}
				cancel()
				for i, l := range links {
					if i > 0 || !c.left {
						_ = l.Close()
					}
				}
			})
		})
	}
}
