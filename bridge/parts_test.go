package bridge

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// A block of parts gives back what it was made of, in a byte or two a member, and
// hostile bytes end it without harm.
func TestPartsBlock(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	id := func(boot byte, n uint64) (x MessageID) {
		x[0] = boot
		for i := range 8 {
			x[15-i] = byte(n >> (8 * i))
		}
		return x
	}
	var all []into
	var want []PartOf
	at := Instant{Wall: time.UnixMilli(1_700_000_000_123).UTC(), Synced: true, Age: 7 * time.Second}
	for i := range 300 {
		x := into{product: id(1, uint64(i*20))}
		switch {
		case i%50 == 49:
			x = into{step: "deadband"}
		case i%70 == 69: // as far apart as ids can be, and of another start
			x.product = id(1, 1<<63)
			x.members = append(x.members, id(1, 0), id(2, 5), id(1, ^uint64(0)))
		}
		for j := range rnd.IntN(40) {
			x.members = append(x.members, id(1, uint64(i*20+j)))
		}
		for _, m := range x.members {
			want = append(want, PartOf{Member: m, Product: x.product, Step: x.step, Queue: "up/aws/a", When: at.Wall, Synced: true, Age: at.Age})
		}
		all = append(all, x)
	}
	block := encodeParts("up/aws/a", at, all)
	if most := 2*len(want) + 4*len(all); len(block) > most {
		t.Errorf("%d bytes for %d members of %d products, want %d at most", len(block), len(want), len(all), most)
	}
	var got []PartOf
	if more, err := eachPart(block, func(p *PartOf) bool { got = append(got, *p); return true }); err != nil || !more || !reflect.DeepEqual(got, want) {
		t.Fatalf("%d come back of %d: %v", len(got), len(want), err)
	}
	if more, err := eachPart(block, func(*PartOf) bool { return false }); err != nil || more {
		t.Errorf("it goes on after the first: %v", err)
	}
	damaged := 0
	for range 2000 {
		hostile := append([]byte{}, block[:rnd.IntN(len(block)+1)]...)
		for range rnd.IntN(4) {
			if len(hostile) > 0 {
				hostile[rnd.IntN(len(hostile))] = byte(rnd.Uint32())
			}
		}
		if _, err := eachPart(hostile, func(*PartOf) bool { return true }); err != nil {
			damaged++
		}
	}
	if damaged == 0 {
		t.Error("no damage was met")
	}
}

// What idBytes promises is what an id takes: a batch is cut by it.
func TestIDBytes(t *testing.T) {
	ids := []MessageID{{}, {0: 1}, {0: 1, 15: 1}, {0: 1, 15: 200}, {0: 1, 8: 0x80}, {0: 1, 8: 0xFF, 15: 9}, {0: 2}}
	for _, prev := range ids {
		for _, x := range ids {
			all := []into{{product: prev}}
			before := len(encodeParts("", Instant{}, all))
			all[0].members = []MessageID{x}
			if n := len(encodeParts("", Instant{}, all)) - before; n != idBytes(x, prev) && prev != (MessageID{}) {
				t.Errorf("%s after %s takes %d bytes, idBytes says %d", x, prev, n, idBytes(x, prev))
			}
		}
	}
}

// What goes on as it is, or is in the drop log, is no part of anything.
func TestWhatIsNoPart(t *testing.T) {
	a, b := MessageID{15: 1}, MessageID{15: 2}
	one, two := []Member{{ID: a}}, []Member{{ID: a}, {ID: b}, {}}
	rec := []*Record{{Origin: Origin{ID: a}}}
	for i, c := range []struct {
		Product
		want string
	}{
		{Product{Records: rec, Members: one}, "[]"},
		{Product{Members: one, Reason: "unreadable"}, "[]"},
		{Product{Records: []*Record{{}}, Members: two}, "[]"},
		{Product{Records: rec, Members: two}, fmt.Sprint([]into{{product: a, members: []MessageID{a, b}}})},
		{Product{Records: []*Record{{}}, Members: two, Into: b}, fmt.Sprint([]into{{product: b, members: []MessageID{a, b}}})},
		{Product{Members: one, Step: "deadband"}, fmt.Sprint([]into{{step: "deadband", members: []MessageID{a}}})},
	} {
		if got := fmt.Sprint(notePart(nil, &c.Product)); got != c.want {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
	}
}
