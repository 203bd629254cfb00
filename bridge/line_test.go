package bridge

import (
	"math/rand/v2"
	"testing"
)

// lineWith is a line of three priorities, on which n messages of each wait.
func lineWith(weight float64, n ...int) (l *line, add func(priority, n int)) {
	f := &Forwarder{wake: make(chan struct{}, 1), lanes: newLanes([]QueueRef{{Name: "a", Priority: 6}, {Name: "b", Priority: 5}, {Name: "c", Priority: 4}}, weight)}
	l = newLine(0, 1, f, nil)
	l.open(1 << 20)
	add = func(lane, n int) {
		for range n {
			r := &Record{Message: Message{Payload: make([]byte, 10)}}
			l.pending = append(l.pending, &flight{Stored: &Stored{Record: r, Receiver: &Receiver{QoS: 1}}, lane: f.lanes[lane]})
		}
		l.publish()
	}
	for lane, n := range n {
		add(lane, n)
	}
	return l, add
}

// take counts which lanes the next n messages are of.
func (l *line) take(n int) (of [3]int) {
	for range n {
		of[l.next().lane.n]++
	}
	return of
}

// With a weight each priority goes as much more often than the next as it says,
// and none starves; with 0 the lower waits for the higher.
func TestPriorityWeight(t *testing.T) {
	for _, c := range []struct {
		weight float64
		want   [3]int
	}{{2, [3]int{80, 40, 20}}, {10, [3]int{126, 12, 2}}, {0, [3]int{140, 0, 0}}} {
		l, _ := lineWith(c.weight, 200, 200, 200)
		got := l.take(140)
		for i, n := range got {
			if n < c.want[i]-2 || n > c.want[i]+2 {
				t.Errorf("weight %v: %v of 140, want %v", c.weight, got, c.want)
				break
			}
		}
	}
}

// What could not be sent at once goes first when it can be, and its place in the
// window is free meanwhile.
func TestUnnext(t *testing.T) {
	for _, waiting := range []int{1, 3} {
		l, _ := lineWith(2, waiting, 0, 0)
		room := l.room
		first := l.next()
		l.unnext(first)
		if l.room != room || l.out != 0 || l.queues[0].bytes != waiting*first.Size() || l.next() != first {
			t.Errorf("of %d waiting: room %d, %d out, %d bytes", waiting, l.room, l.out, l.queues[0].bytes)
		}
	}
}

// What comes while a backlog is sent goes next, if it is of a higher priority;
// and having been idle gives no priority more than its share.
func TestAnAlarmGoesNext(t *testing.T) {
	l, add := lineWith(2, 0, 0, 500)
	l.take(300)
	add(0, 1)
	if got := l.take(1); got[0] != 1 {
		t.Error("the alarm waits behind the backlog")
	}
	l.take(100)
	add(1, 90)
	if got := l.take(90); got[1] < 58 || got[1] > 62 {
		t.Errorf("of 90 messages %v, want two thirds of the middle", got)
	}
}

// A line gives what it was given, in order and once, however it is taken back and
// given again meanwhile.
func TestLineQueueLosesNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	l, _ := lineWith(2)
	next, want := Place(1), Place(1)
	for range 2000 {
		switch rnd.IntN(3) {
		case 0:
			for range rnd.IntN(40) {
				l.pending = append(l.pending, &flight{Stored: &Stored{Place: next, Record: new(Record), Receiver: &Receiver{QoS: 1}}, lane: l.f.lanes[1]})
				next++
			}
			l.publish()
		case 1:
			for range rnd.IntN(50) {
				fl := l.next()
				if fl == nil {
					break
				}
				if fl.Place != want {
					t.Fatalf("place %d after %d", fl.Place, want-1)
				}
				want++
			}
		default:
			from := want + Place(rnd.IntN(20))
			back := l.recall(func(fl *flight) bool { return fl.Place >= from })
			for i, fl := range back {
				if fl.Place != from+Place(i) {
					t.Fatalf("place %d is taken back as number %d from %d", fl.Place, i, from)
				}
			}
			l.look()
			next = want + Place(l.held[1])
		}
	}
}
