package filesend

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// TestChanged: a file that is changed while it is sent is sent once, given up there, and
// told; one that is as it was is sent anew when the far side has something else.
func TestChanged(t *testing.T) {
	for name, c := range map[string]struct {
		changed bool
		blind   bool // it cannot be seen without a close look
		loses   bool // the far side
		want    error
		sent    int // times
	}{
		"changed":               {true, false, false, ErrChanged, 1},
		"changed, hard to see":  {true, true, false, ErrChanged, 1},
		"the far side has less": {false, false, true, nil, 2},
		"nothing has happened":  {false, false, false, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				s := f.sends()
				if c.changed {
					s.Content = strings.NewReader(strings.ToUpper(content))
				}
				s.Still = func(_ context.Context, closely bool) (bool, error) { return !c.changed || c.blind && !closely, nil }
				lost := false
				f.script = func(_ int, rest string) verdict {
					if c.loses && !lost && strings.HasPrefix(rest, "fin") {
						lost = true
						return verdict{code: 0x80, word: "checksum_mismatch"}
					}
					if rest == commandAbort {
						return verdict{word: "success"}
					}
					return verdict{}
				}
				if _, err := s.Run(t.Context()); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				n := len(slices.DeleteFunc(slices.Clone(f.commands), func(s string) bool { return s != "0" }))
				if aborted := slices.Contains(f.commands, commandAbort); n != c.sent || aborted != (c.want != nil) {
					t.Errorf("sent %d times, aborted: %v: %q", n, aborted, f.commands)
				}
			})
		})
	}
}
