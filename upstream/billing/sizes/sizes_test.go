package sizes

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSumsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h, other Histogram
		var want Cell
		n := rapid.IntRange(0, 400).Draw(t, "messages")
		for i := range n {
			p, tp, r := rapid.IntRange(0, 200_000).Draw(t, "payload"), rapid.IntRange(1, 256).Draw(t, "topic"), rapid.IntRange(0, 300).Draw(t, "rest")
			into := &h
			if i%3 == 0 {
				into = &other
			}
			into.Add(p, tp, r, i%2 == 0)
			want.Messages++
			want.Payload += int64(p)
			want.Topic += int64(tp)
			want.Rest += int64(r)
			if i%2 == 0 {
				want.Retained++
			}
		}
		h.Merge(other)
		back, err := Decode(h.Encode())
		if err != nil {
			t.Fatal(err)
		}
		var got Cell
		for _, c := range back.Cells() {
			got.Messages += c.Messages
			got.Payload += c.Payload
			got.Topic += c.Topic
			got.Rest += c.Rest
			got.Retained += c.Retained
		}
		if got != want || back.Messages() != want.Messages {
			t.Fatalf("%+v, want %+v", got, want)
		}
		if len(back.Cells()) > MaxCells {
			t.Fatalf("%d cells", len(back.Cells()))
		}
	})
}

// A cell never holds sizes on both sides of a unit's end, so its mean costs what
// its messages cost.
func TestNoUnitEndsInsideACell(t *testing.T) {
	for unit := range 25 {
		for _, n := range []int{5120 * (unit + 1), 1024 * (unit + 1)} {
			if index(n) == index(n+1) {
				t.Errorf("%d and %d bytes are in one cell", n, n+1)
			}
		}
	}
	last := index(0)
	for size := 1; size < 1<<18; size++ {
		at := index(size)
		if at < last || at > last+1 {
			t.Fatalf("%d bytes are in cell %d, after %d", size, at, last)
		}
		last = at
	}
}

func TestManySizesAreBounded(t *testing.T) {
	var h Histogram
	for size := range 100_000 {
		h.Add(size, 0, 0, false)
	}
	if n := len(h.Cells()); n != MaxCells || h.Messages() != 100_000 {
		t.Errorf("%d cells of %d messages", n, h.Messages())
	}
}

// Topics are told apart as well as a few percent, and by the same bits after a start.
func TestTopicsAreCounted(t *testing.T) {
	for _, n := range []int{0, 1, 2, 20, 300, 3000} {
		var h, other Histogram
		for i := range 2 * n { // each comes twice
			into := &h
			if i%3 == 0 {
				into = &other
			}
			name := fmt.Sprintf("dt/site/dev-%d/temp", i%n)
			into.Add(10, len(name), 0, false)
			into.Named(name)
		}
		h.NotJSON()
		other.NotJSON()
		h.Merge(other)
		back, err := Decode(h.Encode())
		if err != nil || back.Others() != 2 {
			t.Fatalf("%d are not JSON, %v", back.Others(), err)
		}
		if got := back.Topics(); math.Abs(float64(got-int64(n))) > 0.1*float64(n) {
			t.Errorf("%d topics are told as %d", n, got)
		}
	}
	var full Histogram
	for i := range 100_000 {
		full.Named(fmt.Sprint(i))
	}
	if n := full.Topics(); n < 4_000 {
		t.Errorf("too many to be told are %d", n)
	}
}

// What is told to be the most topics is so, and not many more than there were.
func TestTopicsAtMost(t *testing.T) {
	for n, most := range map[int]float64{0: 0, 1: 1, 2: 2.5, 20: 24, 453: 530, 2168: 2700, 4000: 6000} {
		more := 0
		for place := range 100 {
			var h Histogram
			for i := range n {
				h.Named(fmt.Sprintf("plant-%d/machine-%d/values", place, i))
			}
			if got := h.TopicsAtMost(); got > most {
				t.Errorf("%d topics are %v at most, want no more than %v", n, got, most)
			} else if got < float64(n) {
				more++
			}
		}
		if more > 1 {
			t.Errorf("in %d of 100 places there were more topics than %d", more, n)
		}
	}
	var full Histogram
	for i := range 100_000 {
		full.Named(fmt.Sprint(i))
	}
	if got := full.TopicsAtMost(); !math.IsInf(got, 1) {
		t.Errorf("more than are told apart are %v at most", got)
	}
}

// A ledger of before has no topics.
func TestOldHistogramsAreRead(t *testing.T) {
	var h Histogram
	h.Add(240, 12, 9, true)
	h.Named("dt/line-1/temp")
	var bare Histogram
	bare.Add(240, 12, 9, true)
	cells := bare.Encode()[len((&Histogram{}).Encode()):]
	old, err := Decode(append([]byte{oldVersion}, cells...))
	if err != nil || !slices.Equal(old.Cells(), h.Cells()) || old.Topics() != 0 || h.Topics() != 1 {
		t.Errorf("%v of %d topics, %v", old.Cells(), old.Topics(), err)
	}
	var many Histogram
	for i := range 200 {
		many.Named(fmt.Sprint(i))
	}
	for name, whole := range map[string][]byte{"few": h.Encode()[:4], "many": many.Encode()} {
		for n := range whole {
			if _, err := Decode(whole[:n]); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s topics, cut off after %d bytes: %v", name, n, err)
			}
		}
	}
}

// What devices say of their messages is told apart, and written only where there is some: a
// histogram without it is read by earlier versions.
func TestUserPropertiesAreCounted(t *testing.T) {
	var h, other Histogram
	if h.Encode()[0] != plain {
		t.Error("an empty one is not as before")
	}
	for i := range 400 {
		into := &h
		if i%3 == 0 {
			into = &other
		}
		topic, set, changes := fmt.Sprint("dt/", i%4), uint64(0), int64(0)
		if i%10 == 0 {
			set = Hash(7, "unit") | 1
		}
		if i%10 < 2 {
			changes = 1
		}
		into.Add(10, len(topic), 0, false)
		into.Named(topic)
		into.Owned(topic, set, changes)
	}
	h.Merge(other)
	whole := h.Encode()
	back, err := Decode(whole)
	if err != nil || whole[0] != owned {
		t.Fatalf("version %d, %v", whole[0], err)
	}
	if n, changes := back.Own(); n != 40 || changes != 80 || back.Topics() != 4 || back.Alike() != 6 { // of two topics with and without
		t.Errorf("%d messages, %d changes, %d topics, %d kinds", n, changes, back.Topics(), back.Alike())
	}
	for n := range len(whole) - len((&Histogram{cells: h.cells}).Encode()) {
		if _, err := Decode(whole[:1+n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut off after %d bytes: %v", 1+n, err)
		}
	}
	if _, err := Decode(append([]byte{owned}, (&Histogram{}).Encode()[1:]...)); !errors.Is(err, ErrDamaged) {
		t.Errorf("without any: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	var h Histogram
	h.Add(240, 12, 9, true)
	h.Add(5000, 12, 9, false)
	f.Add(h.Encode())
	f.Add([]byte{})
	h.Owned("dt/a", 5, 1)
	f.Add(h.Encode())
	f.Add([]byte{plain, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := Decode(in)
		if err != nil {
			return
		}
		again, err := Decode(h.Encode())
		if err != nil || !slices.Equal(again.Cells(), h.Cells()) {
			t.Fatalf("%v came back as %v (%v)", h.Cells(), again.Cells(), err)
		}
	})
}

// Cells that are put into a histogram keep their sums, those of about one size in one cell.
func TestCellsArePut(t *testing.T) {
	var h Histogram
	h.Add(100, 20, 30, true)
	h.Put(Cell{Messages: 3, Payload: 301, Topic: 60, Rest: 90, Retained: 1})
	h.Put(Cell{Messages: 2, Payload: 4000, Topic: 40, Rest: 60})
	h.Put(Cell{})
	want := []Cell{{4, 401, 80, 120, 2}, {2, 4000, 40, 60, 0}}
	if got := h.Cells(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
