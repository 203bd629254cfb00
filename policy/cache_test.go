package policy

import (
	"fmt"
	"testing"
)

func TestCacheIsBoundedAndKeepsWhatIsAsked(t *testing.T) {
	c := newCache[string, *program](8)
	often := &program{}
	c.put("often", often)
	for i := range 1000 {
		c.put(fmt.Sprint(i), &program{})
		if c.get("often") != often {
			t.Fatalf("forgotten after %d others", i)
		}
		if n := len(c.young) + len(c.old); n > 8 {
			t.Fatalf("%d programs", n)
		}
	}
	if c.get("0") != nil {
		t.Error("the first is still there")
	}
}

// Clients that a policy does not tell apart share one program.
func TestProgramsAreShared(t *testing.T) {
	s := loadExample(t).current.Load()
	var first *program
	for _, id := range []string{"a", "b"} {
		p, err := s.program(t.Context(), standing{session: session{clientID: id, sourceIP: "10.0.0." + id}, policies: []string{"operator"}})
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && p != first {
			t.Error("two programs for one answer")
		}
		first = p
	}
}
