package bridge

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// accused is a forwarder of one queue that runs not, and what makes flights of it.
func accused() (f *Forwarder, of func(device string, seq Seq) *flight) {
	f = NewForwarder(ForwarderConfig{Upstream: "cloud", Queues: []QueueRef{{Name: "q"}}}, ageless{}, []Sender{nil}, uncounted{}, new(DropLog), new(Health), slog.New(slog.DiscardHandler))
	s := f.lanes[0].sources[0]
	f.holds, s.tries = map[holdKey]*hold{}, map[Place]tried{}
	return f, func(device string, seq Seq) *flight {
		return &flight{
			Stored: &Stored{Seq: seq, Place: Place(seq), Record: &Record{Origin: Origin{Device: device}}, Receiver: &Receiver{Queue: "q", QoS: 1}},
			source: s, lane: f.lanes[0], attempt: 1, line: f.lines[0], slot: f.slotOf(device),
		}
	}
}

type uncounted struct{ Meter }

func (uncounted) Uncertain(*Batch, string, *Stored, Outcome) {}

// A device rests from the fifth poison in a row on, twice as long after each further
// one, up to ten minutes.
func TestRestsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, of := accused()
		var rests []time.Duration
		for i := range 12 {
			f.rest(of("buggy", Seq(i)), "hangs up on")
			if h := f.holds[holdKey{by: "buggy"}]; h != nil {
				rests = append(rests, time.Until(h.until))
				delete(f.holds, holdKey{by: "buggy"})
			} else if len(f.health.Warnings()) > 0 {
				t.Errorf("told after %d", i+1)
			}
		}
		if want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute}; !slices.Equal(rests, want) {
			t.Errorf("it rests %v, want %v", rests, want)
		}
	})
}

// emptied is a spool from which everything is released.
type emptied struct{ ageless }

func (emptied) Released(string, Place) bool { return true }

// full is one from which nothing is.
type full struct{ ageless }

func (full) Released(string, Place) bool { return false }

// What others give up is taken back from the line when its release is seen, and nothing
// of it is left: it would keep its device where it is, or in suspicion, for ever.
func TestWhatIsGivenUpIsTakenBack(t *testing.T) {
	f, of := accused()
	fl, now := of("d", 7), time.Now()
	s := fl.source
	s.flying, s.tries[fl.Place] = map[Place]*flight{fl.Place: fl}, tried{times: 1}
	f.suspectFor(fl)
	fl.slot.out, s.out = 1, 1
	fl.line.pending = append(fl.line.pending, fl)
	f.spool, f.givenUp = full{}, -1 // somebody has given something up
	f.takeDropped(now)
	if len(s.flying) != 1 {
		t.Fatal("it is taken back before it is seen")
	}
	f.spool = emptied{}
	f.takeDropped(now.Add(dropSeen / 2))
	if len(s.flying)+len(s.tries)+len(f.suspects)+fl.slot.out+s.out+fl.slot.suspects > 0 || fl.line.waiting() > 0 {
		t.Errorf("%d flying, %d tries, %d suspects, %d and %d out, %d wait", len(s.flying), len(s.tries), len(f.suspects), fl.slot.out, s.out, fl.line.waiting())
	}
}

// What a person drops is suspected no more, and what follows of the device waits no
// longer.
func TestWhatIsDroppedIsForgotten(t *testing.T) {
	f, of := accused()
	fl := of("d", 7)
	f.tellOf(f.suspectFor(fl), fl, ErrClosedByPeer)
	h := f.hold(fl)
	f.spool = emptied{}
	f.forgetReleased()
	if len(f.suspects) > 0 || fl.slot.suspects > 0 || len(f.health.Warnings()) > 0 || !h.until.IsZero() {
		t.Errorf("%d suspects, %d counted, %v, held until %v", len(f.suspects), fl.slot.suspects, f.health.Warnings(), h.until)
	}
}

// However many devices and messages are hung up on, what is remembered of them is
// bounded; what is worst stays.
func TestSuspicionsAreBounded(t *testing.T) {
	f, of := accused()
	const more = 50
	for i := range maxSuspects + more {
		f.rest(of(fmt.Sprint("d", i), 1), "hangs up on")
		f.suspectFor(of("x", Seq(i))).closes = 1 + i%2
	}
	if len(f.streaks) != maxSuspects || len(f.suspects) != maxSuspects || f.slots[0].suspects != maxSuspects {
		t.Errorf("%d streaks and %d messages, %d counted, want %d", len(f.streaks), len(f.suspects), f.slots[0].suspects, maxSuspects)
	}
	kept := 0
	for i := range maxSuspects + more {
		if i%2 == 1 && f.suspects[Seq(i)] != nil {
			kept++
		}
	}
	if kept != (maxSuspects+more)/2 {
		t.Errorf("%d of those that it hung up on twice are remembered, of %d", kept, (maxSuspects+more)/2)
	}
	if f.suspects[0] == nil || f.suspects[maxSuspects-2] != nil {
		t.Error("of two that are as bad the older is forgotten")
	}
	for i := range 2 * maxDoubts {
		f.settle(report{flight: of("y", Seq(i)), Outcome: Outcome{Result: ResultLost}})
	}
	if n := len(f.lines[0].lost); n != maxDoubts {
		t.Errorf("%d messages of one hang-up are remembered, want %d", n, maxDoubts)
	}
}

// A device stands aside for as long as the worst of its messages asks for, whichever of
// them is looked at last.
func TestTheWorstOfADeviceSaysHowLongItStandsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, of := accused()
		l := f.lines[0]
		f.slotOf("buggy").line = l
		f.suspectFor(of("buggy", 0)).closes = aloneAt
		for i := range Seq(50) {
			f.suspectFor(of("buggy", i+1)).doubted = true
		}
		f.standAside(l)
		h := f.holds[holdKey{by: "buggy"}]
		if h == nil || h.aside != asideLeast || time.Until(h.until) != 2*asideLeast {
			t.Errorf("%+v", h)
		}
	})
}

// Whatever is taken of a paused queue ends its pause, also what was on its way before:
// it is not the route that is denied.
func TestWhatIsTakenEndsAPause(t *testing.T) {
	f, of := accused()
	fl := of("good", 9)
	s := fl.source
	s.front, s.paused, s.denials, s.barred = &tip{source: s}, time.Now().Add(time.Hour), 3, mostDenied
	f.health.Raise(Warning{Code: "route-paused-q"})
	f.answered(fl)
	if !s.paused.IsZero() || s.denials+s.barred > 0 || len(f.health.Warnings()) > 0 {
		t.Errorf("paused until %v after %d denials, %d barred, %v", s.paused, s.denials, s.barred, f.health.Warnings())
	}
}
