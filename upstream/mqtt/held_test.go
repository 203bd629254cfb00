package mqtt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// notes are a memory. before is asked for the how many-th time something is to be kept,
// and may refuse it.
type notes struct {
	before func(ctx context.Context, n int) error

	mu      sync.Mutex
	filters []string
	known   bool
	broken  error
	n       int
}

func noted(filters ...string) *notes { return &notes{filters: filters, known: true} }

func (n *notes) Filters() ([]string, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.filters), n.known, n.broken
}

func (n *notes) Keep(ctx context.Context, filters []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.n++; n.before != nil {
		if err := n.before(ctx, n.n); err != nil {
			return err
		}
	}
	n.filters, n.known = filters, true
	return nil
}

func (n *notes) String() string {
	filters, _, _ := n.Filters()
	return strings.Join(filters, " ")
}

// fields are filters as in a line of a test; "20*x/" are x/0 to x/19.
func fields(line string) (out []string) {
	for _, f := range strings.Fields(line) {
		if n, prefix := 0, ""; strings.Contains(f, "*") {
			_, _ = fmt.Sscanf(f, "%d*%s", &n, &prefix)
			for i := range n {
				out = append(out, prefix+fmt.Sprint(i))
			}
			continue
		}
		out = append(out, f)
	}
	return out
}

// keeper is a broker with a session, that says what it was asked, and what had been
// noted by then.
type keeper struct {
	present bool
	refuse  map[string]byte // codes of SUBSCRIBE
	relents time.Duration   // it refuses nothing any more after so long; 0: never
	stay    map[string]byte // codes of UNSUBSCRIBE
	silent  bool            // it does not answer UNSUBSCRIBE
	hangUp  bool            // it hangs up on UNSUBSCRIBE
	freed   bool            // it refuses nothing any more after an UNSUBSCRIBE
	short   bool            // it answers UNSUBSCRIBE with one code too few
	notes   *notes
	asked   chan string
}

func (k keeper) play(b *broker) {
	expect[*packets.Connect](b)
	began, room := time.Now(), false
	b.send(&packets.Connack{SessionPresent: k.present, Properties: &packets.Properties{}})
	for cp := b.next(); cp != nil; cp = b.next() {
		switch p := cp.Content.(type) {
		case *packets.Pingreq:
			_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
		case *packets.Subscribe:
			answer := &packets.Suback{PacketID: p.PacketID, Properties: &packets.Properties{}}
			var filters []string
			for _, s := range p.Subscriptions {
				filters = append(filters, s.Topic)
				code, refused := k.refuse[s.Topic]
				if !refused || room || k.relents > 0 && time.Since(began) > k.relents {
					code = 1
				}
				answer.Reasons = append(answer.Reasons, code)
				if kept, _, _ := k.notes.Filters(); !slices.Contains(kept, s.Topic) {
					b.t.Errorf("%s was asked for before it was noted, but %v", s.Topic, kept)
				}
			}
			k.asked <- "S " + strings.Join(filters, " ")
			b.send(answer)
		case *packets.Unsubscribe:
			k.asked <- "U " + strings.Join(p.Topics, " ")
			for _, f := range p.Topics {
				if kept, known, _ := k.notes.Filters(); known && !slices.Contains(kept, f) {
					b.t.Errorf("%s was forgotten before it was taken back", f)
				}
			}
			room = k.freed
			if k.hangUp {
				return
			}
			if k.silent {
				continue
			}
			answer := &packets.Unsuback{PacketID: p.PacketID, Properties: &packets.Properties{}}
			for _, f := range p.Topics {
				answer.Reasons = append(answer.Reasons, k.stay[f])
			}
			if k.short {
				answer.Reasons = answer.Reasons[1:]
			}
			b.send(answer)
		}
	}
}

// remembering is a downlink with a memory, in virtual time, that plays with brokers one
// after the other; the last has all further connections.
func remembering(t *testing.T, filters []string, n *notes, health *bridge.Health, brokers ...keeper) *Downlink {
	d := NewDownlink(quick("pipe"), "gateway-down", filters, func(*bridge.Message, int, func()) {}, discard(), upstream.Hooks{
		Raise: func(w bridge.Warning) { health.Raise(w) },
		Clear: func(code string) { health.Clear(code) },
	})
	d.Remember(n)
	var plays []func(*broker)
	for _, k := range brokers {
		plays = append(plays, k.play)
	}
	piped(t, &d.dialer, plays...)
	return d
}

// all empties a channel.
func all(c chan string) string {
	var out []string
	for len(c) > 0 {
		out = append(out, <-c)
	}
	return strings.Join(out, " | ")
}

// What a session holds and nobody wants is taken back, behind what is wanted where they
// overlap and before it where not (Q17), and only then forgotten.
func TestWhatIsNotWantedIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		name    string
		filters string
		notes   *notes
		broker  keeper
		asked   string // and how often
		left    string // in the notes
		warns   string
	}{
		{"a new session", "cmd/#", &notes{}, keeper{}, "S cmd/#", "cmd/#", ""},
		{"nothing is known of a session", "cmd/+/ret cmd/#", &notes{}, keeper{present: true}, "S cmd/# | U cmd/+/ret", "cmd/#", ""},
		{"nothing is known, and nothing is needless", "cmd/# fw/#", &notes{}, keeper{present: true}, "S cmd/# fw/#", "cmd/# fw/#", ""},
		{"the notes cannot be read", "cmd/+/ret cmd/#", &notes{known: true, filters: []string{"fw/#"}, broken: errors.New("broken")},
			keeper{present: true}, "S cmd/# | U cmd/+/ret", "cmd/#", ""},
		{"as it was", "cmd/#", noted("cmd/#"), keeper{present: true}, "S cmd/#", "cmd/#", ""},
		{"taken out", "cmd/#", noted("cmd/#", "fw/#"), keeper{present: true}, "U fw/# | S cmd/#", "cmd/#", ""},
		{"covered now", "cmd/+/ret cmd/#", noted("cmd/+/ret"), keeper{present: true}, "S cmd/# | U cmd/+/ret", "cmd/#", ""},
		{"an older version ran between", "cmd/+/ret cmd/#", noted("cmd/#"), keeper{present: true}, "S cmd/# | U cmd/+/ret", "cmd/#", ""},
		{"narrowed", "cmd/+/ret", noted("cmd/#"), keeper{present: true}, "S cmd/+/ret | U cmd/#", "cmd/+/ret", ""},
		{"one apart, and one that overlaps", "cmd/a/# fw/#", noted("cmd/+/ret", "old/#"), keeper{present: true}, "U old/# | S cmd/a/# fw/# | U cmd/+/ret", "cmd/a/# fw/#", ""},
		{"no room before", "cmd/+/ret", noted("cmd/#"), keeper{present: true, refuse: map[string]byte{"cmd/+/ret": 0x97}, freed: true},
			"S cmd/+/ret | U cmd/# | S cmd/+/ret", "cmd/+/ret", ""},
		{"the session has ended", "cmd/#", noted("cmd/#", "fw/#"), keeper{}, "S cmd/#", "cmd/#", ""},
		{"eight in a packet", "cmd/#", noted(fields("20*fw/")...), keeper{present: true},
			"U " + strings.Join(fields("8*fw/"), " ") + " | U fw/8 fw/9 fw/10 fw/11 fw/12 fw/13 fw/14 fw/15 | U fw/16 fw/17 fw/18 fw/19 | S cmd/#", "cmd/#", ""},
		{"the wider one is refused", "cmd/+/ret cmd/#", noted("cmd/+/ret"), keeper{present: true, refuse: map[string]byte{"cmd/#": 0x87}},
			"S cmd/# | S cmd/+/ret", "cmd/+/ret cmd/#", "downlink-filters-refused"},
		{"one that was granted is refused", "cmd/#", noted("cmd/#", "fw/#"), keeper{present: true, refuse: map[string]byte{"cmd/#": 0x87}},
			"U fw/# | S cmd/#", "cmd/#", "downlink-filters-refused"},
		{"it was never subscribed to", "cmd/#", noted("cmd/#", "fw/#"), keeper{present: true, stay: map[string]byte{"fw/#": 0x11}}, "U fw/# | S cmd/#", "cmd/#", ""},
		{"it is not given back", "cmd/#", noted("a", "cmd/#", "fw/#", "b"), keeper{present: true, stay: map[string]byte{"fw/#": 0x87}},
			"U a fw/# b | S cmd/#", "cmd/# fw/#", "downlink-filters-kept"},
		{"an answer with a code too few", "cmd/#", noted("cmd/#", "fw/#"), keeper{present: true, short: true}, "U fw/# | S cmd/#", "cmd/# fw/#", "downlink-filters-kept"},
		{"no answer", "cmd/#", noted(append(fields("20*fw/"), "cmd/#")...), keeper{present: true, silent: true},
			"U " + strings.Join(fields("8*fw/"), " ") + " | S cmd/#", strings.Join(fields("20*fw/ cmd/#"), " "), "downlink-filters-kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var health bridge.Health
				c.broker.notes, c.broker.asked = c.notes, make(chan string, 100)
				d := remembering(t, fields(c.filters), c.notes, &health, c.broker)
				stop := peers.Run(t, d.Run)
				time.Sleep(time.Minute)
				if got := all(c.broker.asked); got != c.asked {
					t.Errorf("the broker was asked %q, want %q", got, c.asked)
				}
				if got := c.notes.String(); got != c.left {
					t.Errorf("noted is %q, want %q", got, c.left)
				}
				if c.notes.n == 0 {
					t.Error("nothing was noted by this start")
				}
				var codes []string
				for _, w := range health.Warnings() {
					codes = append(codes, w.Code)
				}
				if got := strings.Join(codes, " "); got != c.warns {
					t.Errorf("warnings %v, want %q", health.Warnings(), c.warns)
				}
				if s := d.Status(); !s.Up || s.Connects != 1 {
					t.Errorf("it is %+v: no answer is worth a connection", s)
				}
				stop()
				if w := health.Warnings(); len(w) != 0 {
					t.Errorf("%v outlive the downlink", w)
				}
			})
		})
	}
}

// What the broker did not take back is tried again with the next connection, and the
// warning goes when it did.
func TestWhatIsNotTakenBackIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var health bridge.Health
		n, asked := noted("cmd/#", "fw/#"), make(chan string, 100)
		first := keeper{present: true, silent: true, notes: n, asked: asked}
		second := keeper{present: true, notes: n, asked: asked}
		d := remembering(t, fields("cmd/#"), n, &health, first, second)
		stop := peers.Run(t, d.Run)
		defer stop()
		time.Sleep(time.Minute)
		if w := health.Warnings(); len(w) != 1 || w[0].Code != "downlink"+filtersKept || !strings.Contains(w[0].Text, `"fw/#"`) || !strings.Contains(w[0].Text, "next connection") {
			t.Errorf("warnings %v", w)
		}
		d.live.Load().fail(errors.New("a cut"))
		time.Sleep(time.Minute)
		if got, want := all(asked), "U fw/# | S cmd/# | U fw/#"; got != want || n.String() != "cmd/#" || len(health.Warnings()) != 0 {
			t.Errorf("asked %q, want %q; noted %q, warnings %v", got, want, n, health.Warnings())
		}
	})
}

// A broker that hangs up on UNSUBSCRIBE must not keep commands away.
func TestABrokerThatHangsUpOnUnsubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var health bridge.Health
		n, asked := noted("cmd/#", "fw/#"), make(chan string, 1000)
		d := remembering(t, fields("cmd/#"), n, &health, keeper{present: true, hangUp: true, notes: n, asked: asked})
		stop := peers.Run(t, d.Run)
		defer stop()
		time.Sleep(time.Minute)
		if s := d.Status(); !s.Up || s.Connects != mostEnded+1 {
			t.Fatalf("it is %+v", s)
		}
		if w := health.Warnings(); !slices.ContainsFunc(w, func(w bridge.Warning) bool {
			return w.Code == "downlink"+filtersKept && strings.Contains(w.Text, "1h0m0s")
		}) {
			t.Errorf("warnings %v", w)
		}
		all(asked)
		d.live.Load().fail(errors.New("a cut"))
		time.Sleep(time.Minute)
		if got := all(asked); got != "" {
			t.Errorf("%q were asked at once", got)
		}
		time.Sleep(triedAgain)
		d.live.Load().fail(errors.New("a cut"))
		time.Sleep(time.Minute)
		if got := all(asked); got != "U fw/#" || !d.Status().Up {
			t.Errorf("asked %q after an hour; up %v", got, d.Status().Up)
		}
	})
}

// A wide filter that is granted at last makes needless what was asked for in its place.
func TestAFilterThatIsGrantedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var health bridge.Health
		n, asked := &notes{}, make(chan string, 100)
		k := keeper{notes: n, asked: asked, refuse: map[string]byte{"cmd/#": 0x87}, relents: refusedRetry / 2}
		d := remembering(t, fields("cmd/+/ret cmd/#"), n, &health, k)
		stop := peers.Run(t, d.Run)
		defer stop()
		time.Sleep(refusedRetry + time.Minute)
		if got, want := all(asked), "S cmd/# | S cmd/+/ret | S cmd/# | U cmd/+/ret"; got != want || n.String() != "cmd/#" {
			t.Errorf("asked %q, want %q; noted %q", got, want, n)
		}
	})
}

// A disk that takes no note keeps no command away, and the note comes later.
func TestADiskThatTakesNoNote(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(ctx context.Context) error
	}{
		{"it refuses", func(context.Context) error { return errors.New("full") }},
		{"it hangs", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var health bridge.Health
				n, asked := noted("fw/#"), make(chan string, 100)
				n.before = func(ctx context.Context, n int) error {
					if n == 1 {
						return c.fail(ctx)
					}
					return nil
				}
				d := NewDownlink(quick("pipe"), "gateway-down", fields("cmd/#"), func(*bridge.Message, int, func()) {}, discard(), upstream.Hooks{Raise: func(w bridge.Warning) { health.Raise(w) }})
				d.Remember(n)
				piped(t, &d.dialer, keeper{present: true, notes: &notes{filters: []string{"cmd/#"}}, asked: asked}.play)
				stop := peers.Run(t, d.Run)
				defer stop()
				time.Sleep(keepWithin + time.Second)
				if got, want := all(asked), "U fw/# | S cmd/#"; got != want || n.String() != "cmd/#" {
					t.Errorf("asked %q, want %q; noted %q", got, want, n)
				}
			})
		})
	}
}

// What a broker never takes back is bounded, and what is wanted is always noted.
func TestNotesAreBounded(t *testing.T) {
	n := noted(fields("2000*old/")...)
	d := NewDownlink(quick("pipe"), "gateway-down", fields("600*cmd/"), nil, discard(), upstream.Hooks{})
	d.Remember(n)
	d.recall(true)
	d.note(t.Context(), d.filters)
	kept, _, _ := n.Filters()
	if len(kept) != 600+mostGone || kept[0] != "old/1500" || kept[len(kept)-1] != "cmd/599" {
		t.Errorf("%d are kept, %s to %s", len(kept), kept[0], kept[len(kept)-1])
	}
}

// An answer that nobody awaits, or twice, is passed over, and packet identifiers go round
// without 0, which is none.
func TestAnswersToUnsubscribe(t *testing.T) {
	r := newReceiver(nil, nil)
	r.lastID = 65534
	if a, b := r.number(), r.number(); a != 65535 || b != 1 {
		t.Errorf("packet identifiers %d and %d", a, b)
	}
	r.leaving.Store(7)
	for _, id := range []uint16{6, 7, 7} {
		if err := r.unsubscribed(&packets.Unsuback{PacketID: id}); err != nil {
			t.Errorf("%d: %v", id, err)
		}
	}
	if u := <-r.unsuback; u.PacketID != 7 || len(r.unsuback) != 0 {
		t.Errorf("%d is taken for the answer, and %d more", u.PacketID, len(r.unsuback))
	}
}
