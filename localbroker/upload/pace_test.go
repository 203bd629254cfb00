package upload

import (
	"context"
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

// TestPiecesRest: between two pieces that are written there is a rest of twice what the
// first took, within its bounds.
func TestPiecesRest(t *testing.T) {
	for _, c := range []struct {
		name        string
		takes, want time.Duration
	}{
		{"a fast disk", 100 * time.Microsecond, yieldLeast},
		{"a slow one", 8 * time.Millisecond, 16 * time.Millisecond},
		{"one that is busy with others", time.Second, yieldMost},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p pacer
				var begun, ended []time.Time
				for range 3 {
					err := p.piece(t.Context(), func() error {
						begun = append(begun, time.Now())
						time.Sleep(c.takes)
						ended = append(ended, time.Now())
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				for i := range 2 {
					if got := begun[i+1].Sub(ended[i]); got != c.want {
						t.Errorf("rest %d is %v, want %v", i, got, c.want)
					}
				}
				stopped, stop := context.WithCancel(t.Context())
				stop()
				began := time.Now()
				if _ = p.piece(stopped, func() error { return nil }); time.Since(began) != 0 {
					t.Error("the end waits")
				}
			})
		})
	}
}
