package localbroker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestCrashesUnderLoad kills the broker again and again while one device
// publishes and another comes, takes some, and goes: nothing that had its PUBACK
// is missing, and first arrivals are in order, however little memory reads
// ahead.
func TestCrashesUnderLoad(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		c := &clock{}
		disk := newDisk(c)
		h := disk.house(t, c, plain(profileAWSEdge))
		h.join(version, "d", persistent(3600)).subscribe(1, "t")
		var seen []int
		next := 0
		take := func(d *device, most int) {
			for range most {
				_ = d.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := d.in.Peek(1); err != nil {
					return
				}
				pk, err := d.read()
				if err != nil {
					return
				}
				n, err := strconv.Atoi(string(pk.Payload))
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, n)
				if rnd.IntN(10) > 0 { // some are never acknowledged
					d.puback(pk.PacketID)
				}
			}
		}
		for range 8 {
			disk.mu.Lock()
			disk.lazy = rnd.IntN(2) == 0
			disk.mu.Unlock()
			pub := h.join(4, "pub")
			acked := make(chan int)
			burst, at := 100+rnd.IntN(400), next
			go func() {
				n := 0
				defer func() { acked <- n }()
				for i := range burst {
					if _, err := pub.Write(encode(t, publish(uint16(i+1), "t", fmt.Sprint(at+i)), 4)); err != nil {
						return
					}
					if i >= 20 {
						if pk, err := pub.read(); err != nil || pk.FixedHeader.Type != packets.Puback {
							return
						}
						n++
					}
				}
			}()
			for range rnd.IntN(4) {
				d := h.join(version, "d", persistent(3600))
				take(d, rnd.IntN(200))
				if rnd.IntN(2) == 0 {
					h.leave(d, "d")
				}
			}
			next += <-acked
			h, disk = disk.crashed(t, h, c, plain(profileAWSEdge))
		}
		for h.sessions.find("d").info().Waiting > 0 { // what it does not acknowledge fills its window
			d := h.join(version, "d", persistent(3600))
			take(d, 1000)
			h.leave(d, "d")
		}
		first := map[int]bool{}
		last := -1
		for _, n := range seen {
			if !first[n] && n < last {
				t.Fatalf("message %d arrives for the first time after %d", n, last)
			}
			first[n] = true
			last = max(last, n)
		}
		var missing []int
		for n := range next {
			if !first[n] {
				missing = append(missing, n)
			}
		}
		if len(missing) > 0 || next == 0 {
			t.Errorf("%d acknowledged, %d missing, such as %v", next, len(missing), slices.Compact(missing)[:min(len(missing), 10)])
		}
	})
}
