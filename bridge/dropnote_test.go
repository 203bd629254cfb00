package bridge

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func someEntries() (out []DropEntry) {
	at := time.Date(2026, 11, 21, 9, 0, 0, 5e6, time.UTC)
	for i := range 300 {
		e := DropEntry{
			Reason: Expired.String(), Queue: "up/cloud/all", Device: fmt.Sprint("pump-", i%7), Topic: fmt.Sprint("dt/pump-", i%7, "/t"),
			Size: 200 + i, Accepted: at.Add(time.Duration(i) * time.Millisecond), Dropped: at.Add(time.Hour), Synced: i%2 == 0,
		}
		e.ID[0], e.ID[15] = byte(i/100), byte(i)
		if i%50 == 0 {
			e.Detail, e.Accepted = "refused with 0x90", time.Time{} // a clock that was never set
		}
		out = append(out, e)
	}
	return out
}

func TestDropBlock(t *testing.T) {
	want := someEntries()
	var w blockWriter
	var b []byte
	for i := range want {
		b = w.append(b, &want[i])
	}
	var got []DropEntry
	more, err := eachInBlock(b, func(e *DropEntry) bool { got = append(got, *e); return true })
	if !more || err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d of %d entries come back the same: %v", len(got), len(want), err)
	}
	if n := len(b) / len(want); n > 20 {
		t.Errorf("an entry takes %d bytes", n)
	}
	first := 0
	if more, _ := eachInBlock(b, func(*DropEntry) bool { first++; return false }); more || first != 1 {
		t.Error("reading goes on when it should not")
	}
	for cut := 0; cut < len(b); cut += 7 { // damage ends it, and nothing is made up
		n := 0
		_, err := eachInBlock(b[:cut], func(e *DropEntry) bool {
			if *e != want[n] {
				t.Fatalf("cut at %d: entry %d is %+v", cut, n, e)
			}
			n++
			return true
		})
		if cut == 0 && err == nil {
			t.Error("no block at all, and no error")
		}
	}
}

// A batch that notes more than a transaction of the state takes keeps the ids.
func TestDropBlockIsBounded(t *testing.T) {
	d := &dropBook{book: book{spool: ageless{}, limits: DefaultDropLimits()}}
	var b Batch
	for i := range 1 << 10 {
		d.note(&b, &DropEntry{ID: MessageID{15: byte(i)}, Reason: "expired", Device: fmt.Sprintf("%0128d", i), Topic: fmt.Sprintf("%0256d", i)})
		if i == 100 && b.heavy() || i == 200 && !b.heavy() {
			t.Errorf("heavy at %d entries: %v", i, b.heavy())
		}
	}
	if n := len(b.Puts[0].Value); n > 128<<10 {
		t.Errorf("the block has %d bytes", n)
	}
	n := 0
	if _, err := eachInBlock(b.Puts[0].Value, func(*DropEntry) bool { n++; return true }); n != 1<<10 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
}

type ageless struct{ Spool }

func (ageless) Age() time.Duration { return 0 }

func FuzzDropBlock(f *testing.F) {
	var w blockWriter
	var b []byte
	for _, e := range someEntries() {
		b = w.append(b, &e)
	}
	f.Add(b)
	f.Add([]byte{blockVersion, flagNear, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_, _ = eachInBlock(b, func(*DropEntry) bool { n++; return true })
		if n > len(b) {
			t.Fatalf("%d entries of %d bytes", n, len(b))
		}
	})
}
