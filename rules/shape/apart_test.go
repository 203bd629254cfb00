package shape

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Where devices stay apart, nothing is made of the messages of two of them, also
// where they share a topic, and what is made bears the name of the one. So it goes
// on that device's connection, like all that is made of its messages.
func TestDevicesStayApart(t *testing.T) {
	for name, edit := range map[string]func(*Options){
		"batches":            func(o *Options) { o.Batch.Format, o.Batch.Count = JSON, 5 },
		"compressed batches": func(o *Options) { o.Batch.Format, o.Compress = NDJSON, Gzip },
		"windows":            minute,
		"batches of windows": func(o *Options) { minute(o); o.Batch.Format = JSON },
	} {
		for _, apart := range []bool{true, false} {
			seed := rand.Uint64()
			t.Run(fmt.Sprint(name, apart, seed), func(t *testing.T) {
				o := DefaultOptions()
				edit(&o)
				b := &bench{t: t, line: New(o, false, queue, Terms{Unit: Unit, Apart: apart}), size: map[bridge.Place]int{}}
				r, from, now := rand.New(rand.NewPCG(seed, 0)), map[bridge.Place]string{}, time.Duration(0)
				mixed, seen := 0, 0
				settle := func() {
					for more := true; more; more = b.again() {
						part := b.place
						for _, p := range b.out[seen:] {
							for _, m := range p.Members {
								if from[m.Place] != p.Records[0].Device {
									mixed++
								}
							}
							if isPartial(p.Records[0]) {
								part++ // where it will be in the raw queue
								from[part] = p.Records[0].Device
							}
						}
						seen = len(b.out)
					}
				}
				for range 3000 { // windows fold
					now += time.Duration(r.IntN(100)) * time.Millisecond
					s := reading("dt/shared", fmt.Sprintf(`{"v":%d}`, r.IntN(50)), now)
					s.Device = fmt.Sprint("d", r.IntN(3))
					from[b.place+1] = s.Device
					b.give(s)
					settle()
				}
				for range 3 { // a window folds once more before it ends
					b.ripe(now + time.Hour)
					settle()
				}
				b.settled()
				if apart != (mixed == 0) {
					t.Errorf("%d messages went under another name than their device's", mixed)
				}
			})
		}
	}
}
