package delivery

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// mute is a broker that takes everything and answers nothing, from the nth request on.
type mute struct {
	*aws
	after, asked int
}

// Publish implements Transport.
func (m *mute) Publish(p *bridge.Message) error {
	if m.asked++; m.asked > m.after {
		return nil
	}
	return m.aws.Publish(p)
}

// TestSilence: where nobody delivers files a download ends with a word; one that has
// begun says it, and goes on.
func TestSilence(t *testing.T) {
	for name, after := range map[string]int{"from the beginning": 0, "later": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mute{aws: newAWS(t), after: after}
				m.client = NewClient("pump-7", CBOR, m)
				m.put("fw", 1, make([]byte, 300_000))
				said := 0
				d := &Download{Client: m.client, Stream: "fw", Path: filepath.Join(t.TempDir(), "fw.bin"), Block: 1024, Blocks: 4, Wait: 15 * time.Second,
					Say: func(text string) { said++ }}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				began := time.Now()
				_, err := d.Run(ctx)
				if after == 0 {
					if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "streams.enabled") || time.Since(began) > 2*time.Minute {
						t.Errorf("%v after %v", err, time.Since(began))
					}
					return
				}
				if !errors.Is(err, context.DeadlineExceeded) || said < 5 || said > 10 {
					t.Errorf("%v, said %d times", err, said)
				}
				m.asked = -1_000_000 // it speaks again
				if r, err := d.Run(t.Context()); err != nil || r.Resumed != 4096 {
					t.Errorf("%+v %v", r, err)
				}
			})
		})
	}
}
