package peers

import "testing"

// No two tests have the same address at once, and it is free again when one ends.
func TestFreeAddrsAreOfOneTest(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		addr := FreeAddr(t)
		if seen[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		seen[addr] = true
	}
	t.Run("another", func(t *testing.T) {
		if err := claim(t, 1); err != nil {
			t.Fatal(err)
		}
	})
	if err := claim(t, 1); err != nil {
		t.Errorf("it is not free again: %v", err)
	}
}
