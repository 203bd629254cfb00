package upload

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestEaseRests: who reads a file rests after each piece while there are messages, twice as
// long as the piece took, with what was done with it; between the two bounds. Without
// messages nobody rests.
func TestEaseRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := int64(0)
		e := &ease{pacer: &pacer{messages: func() int64 { return messages }}}
		rests := func(n int) time.Duration {
			began := time.Now()
			e.took(n)
			return time.Since(began)
		}
		for _, c := range []struct {
			name     string
			messages int64 // that have come
			takes    time.Duration
			read     int
			want     time.Duration
		}{
			{"no messages", 0, 5 * time.Millisecond, yieldPiece, 0},
			{"the first rest", 1, 5 * time.Millisecond, yieldPiece, yieldRead},
			{"a quick piece", 1, 10 * time.Microsecond, yieldPiece, yieldRead},
			{"half a piece", 1, 3 * time.Millisecond, yieldPiece / 2, 0},
			{"its other half", 1, 3 * time.Millisecond, yieldPiece / 2, 12 * time.Millisecond},
			{"a slow disk", 2, 20 * time.Millisecond, yieldPiece, 40 * time.Millisecond},
			{"a thin link", 3, 10 * time.Second, yieldPiece, 50 * time.Millisecond},
			{"messages have ended", 3, 2 * yieldFor, yieldPiece, 0},
		} {
			messages = c.messages
			time.Sleep(c.takes)
			if got := rests(c.read); got != c.want {
				t.Errorf("%s: rests for %v, want %v", c.name, got, c.want)
			}
		}
	})
}
