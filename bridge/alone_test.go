package bridge

import (
	"testing"
	"testing/synctest"
	"time"
)

// A message goes alone when all before it is answered, and when it has been quiet for a
// second after what is never answered; the line is told of that. It keeps its turn
// meanwhile, and until it is answered nothing goes beside it.
func TestWhatGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, add := lineWith(2, 0, 0, 1)
		answered := func() { l.settled++; l.giveBack() }
		give := func(alone bool, qos byte) *flight {
			fl := &flight{Stored: &Stored{Record: new(Record), Receiver: &Receiver{QoS: qos}}, lane: l.f.lanes[1], alone: alone}
			l.pending = append(l.pending, fl)
			l.publish()
			return fl
		}
		l.next()
		alone := give(true, 1)
		if l.next() != nil {
			t.Fatal("it goes while another is on its way")
		}
		add(0, 1) // more urgent, but it is too late
		answered()
		if l.next() != alone {
			t.Fatal("it has lost its turn")
		}
		if l.next() != nil {
			t.Error("another goes beside it")
		}
		l.unnext(alone)
		if l.solo {
			t.Error("what could not be sent keeps others back")
		}
		l.recall(func(*flight) bool { return true })

		give(false, 0)
		l.next() // written, that is all
		answered()
		alone = give(true, 1)
		<-l.wake
		begun := time.Now()
		if l.next() != nil {
			t.Fatal("it goes right after what is never answered")
		}
		<-l.wake
		if d := time.Since(begun); d != hushFor {
			t.Errorf("the line is told after %v", d)
		}
		if l.next() != alone {
			t.Error("it does not go when it is quiet")
		}
	})
}
