package shape

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// large is JSON of n bytes that does not compress to nothing.
func large(n int) string { return `"` + noise(n-2) + `"` }

// What is above the limit goes in parts, each within it, and comes out whole in
// whatever order they arrive, twice or not.
func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*Options)
		origin bridge.OriginMode
	}{
		"plain":      {func(*Options) {}, bridge.OriginNone},
		"properties": {func(*Options) {}, bridge.OriginUserProperties},
		"envelope":   {func(*Options) {}, bridge.OriginEnvelope},
		"compressed": {func(o *Options) { o.Compress = Gzip }, bridge.OriginEnvelope},
		"batched":    {func(o *Options) { o.Batch.Format, o.Compress = JSON, Zstd }, bridge.OriginNone},
	} {
		t.Run(name, func(t *testing.T) {
			b := on(t, func(o *Options) { o.Split = 16 << 10; c.edit(o) })
			var want []string
			for i, n := range []int{100, 200_000, 16 << 10, 16<<10 + 1} {
				s := reading("dt/a", large(n), 0)
				s.Receiver.Origin, s.ContentType = c.origin, "application/json"
				if i == 1 {
					s.User = []bridge.UserProperty{{Key: "k", Value: "v"}}
				}
				want = append(want, string(s.Payload))
				b.give(s)
			}
			b.ripe(1 << 40)
			b.settled()
			var all []Received
			ids := map[bridge.MessageID]bool{}
			for _, p := range b.out {
				for _, r := range p.Records {
					if n := len(received(r).Payload); n > 16<<10 {
						t.Errorf("a message has %d bytes", n)
					}
					if ids[r.ID] {
						t.Errorf("two messages have the id %s", r.ID)
					}
					ids[r.ID] = true
					all = append(all, received(r))
				}
			}
			all = append(all, all...)
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			d := Decoder{Batch: Auto}
			var got []string
			for _, m := range all {
				if err := d.Decode(m, func(one Decoded) error { got = append(got, one.payload(t)); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			if n := d.Incomplete(); n > 0 {
				t.Errorf("%d messages are said to be incomplete", n)
			}
			slices.Sort(want)
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("%d messages came out, want %d", len(got), len(want))
			}
		})
	}
}

// What does not fit together is refused, and what is missing is told.
func TestPartsThatAreWrong(t *testing.T) {
	b := on(t, func(o *Options) { o.Split = 1 << 10 })
	first := b.give(reading("dt/a", large(5000), 0))[0].Records
	second := b.give(reading("dt/a", large(3000), 0))[0].Records
	none := func(Decoded) error { t.Error("something came out"); return nil }

	d := Decoder{Batch: Auto}
	for _, r := range first[1:] {
		if err := d.Decode(received(r), none); err != nil {
			t.Fatal(err)
		}
	}
	if d.Incomplete() != 1 {
		t.Errorf("%d messages are incomplete", d.Incomplete())
	}
	damaged := received(first[0])
	damaged.Payload = slices.Clone(damaged.Payload)
	damaged.Payload[len(damaged.Payload)-1] ^= 1
	if err := d.Decode(damaged, none); err == nil || !strings.Contains(err.Error(), "do not make the whole") {
		t.Errorf("a damaged part: %v", err)
	}
	if err := d.Decode(received(second[0]), none); err != nil {
		t.Fatal(err)
	}
	p, _, _ := parsePart(second[1].Payload)
	p.count++
	if err := d.Decode(Received{Payload: p.encode()}, none); err == nil || !strings.Contains(err.Error(), "contradict") {
		t.Errorf("a part of another count: %v", err)
	}
	for n := range second[0].Payload[:60] {
		if n > len(partMagic) {
			_ = d.Decode(Received{Payload: second[0].Payload[:n]}, none) // an error or nothing, and no panic
		}
	}
	small := Decoder{Batch: Auto, Most: 1000}
	if err := small.Decode(received(second[0]), none); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("above the bound: %v", err)
	}
}

// Parts that never come take no memory for ever: with too many, or too large, the
// message that began first is given up, and counted.
func TestPartsThatNeverCome(t *testing.T) {
	d := Decoder{Batch: Auto, Most: 100_000}
	none := func(Decoded) error { t.Error("something came out"); return nil }
	b := on(t, func(o *Options) { o.Split = 1 << 10 })
	const messages = 2 * maxAssemblies
	var last []*bridge.Record
	for range messages {
		last = b.give(reading("dt/a", large(3000), 0))[0].Records
		if err := d.Decode(received(last[0]), none); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.assemblies); n > maxAssemblies || d.waiting > d.Most || len(d.oldest) != n {
		t.Errorf("%d messages of %d bytes wait", n, d.waiting)
	}
	if d.Incomplete() != messages {
		t.Errorf("%d messages are said to be incomplete, want %d", d.Incomplete(), messages)
	}
	whole := 0
	for _, r := range last[1:] {
		if err := d.Decode(received(r), func(Decoded) error { whole++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if whole != 1 {
		t.Error("the last message did not come whole")
	}
}
