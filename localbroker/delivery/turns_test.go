package delivery

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestManyNames: a device that asks for one unknown stream after the other, or many that
// do, cost another one a second at most, and the cloud one request a second.
func TestManyNames(t *testing.T) {
	for _, floods := range []int{1, 100} {
		t.Run(fmt.Sprint(floods), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAWS(t)
				a.put("fw", 1, []byte("firmware"))
				c := a.site(t.TempDir(), func(o *CloudOptions) { o.Recheck = time.Hour })
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				began := time.Now()
				for i := range floods {
					go func() {
						for n := 0; ctx.Err() == nil; n++ {
							_, _ = c.stream(ctx, fmt.Sprint("flood-", i), fmt.Sprintf("none-%d-%d", i, n))
						}
					}()
				}
				time.Sleep(10*time.Minute + time.Second/3) // of synctest
				synctest.Wait()
				asked := time.Now()
				if s, err := c.stream(ctx, "pump-7", "fw"); err != nil || s.Size() != 8 {
					t.Errorf("%+v, %v", s, err)
				}
				if took := time.Since(asked); took > turnEvery {
					t.Errorf("it took %v", took)
				}
				if n, most := a.count(verbDescribe), turnBurst+1+int(time.Since(began)/turnEvery); n > most {
					t.Errorf("the cloud was asked %d times, at most %d", n, most)
				}
				stop()
				synctest.Wait()
				if len(c.unknown.waiting) > 0 || len(c.known) > maxKnown {
					t.Errorf("%d wait, %d are known", len(c.unknown.waiting), len(c.known))
				}
				c.Close()
			})
		})
	}
}

// TestTurnsAreOneForAll: of many devices that ask for one stream one asks the cloud, and
// the turns of the others are there for others.
func TestTurnsAreOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAWS(t)
		a.put("fw", 1, []byte("firmware"))
		c := a.site(t.TempDir(), func(o *CloudOptions) { o.Recheck = time.Hour })
		defer c.Close()
		for i := range 100 {
			go func() {
				if _, err := c.stream(t.Context(), fmt.Sprint("pump-", i), "fw"); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if n := a.count(verbDescribe); n != 1 || c.unknown.free != turnBurst-1 {
			t.Errorf("asked %d times, %d turns left", n, c.unknown.free)
		}
	})
}

// TestTurnsForget: who had a turn is remembered within bounds.
func TestTurnsForget(t *testing.T) {
	turns := newTurns()
	for i := range maxRecalled + 5 {
		turns.noteLocked(fmt.Sprint(i), turns.counted.Add(time.Duration(i)*time.Second))
	}
	if len(turns.last) > maxRecalled || turns.last[fmt.Sprint(maxRecalled+4)].IsZero() {
		t.Errorf("%d remembered", len(turns.last))
	}
}
