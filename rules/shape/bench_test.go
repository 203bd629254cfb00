package shape

import (
	"fmt"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// sensible is a reading of about 240 bytes as a machine would send it.
func sensible(i int) string {
	return fmt.Sprintf(`{"ts":%d,"machine":"press-%02d","line":"4","v":%d.%d,"rpm":%d,"vibration":[%d.%02d,%d.%02d,%d.%02d],"pressure":%d.%d,"oil":{"temp":%d.%d,"level":%d},"state":"running","order":"A-%06d","operator":"shift-%d"}`,
		1_760_000_000_000+i*1000, i%40, i*7%31, i%10, 1400+i*13%97, i%3, i*31%100, i%4, i*37%100, i%5, i*41%100, 3+i%2, i*3%10, 60+i%9, i*7%10, i*11%100, i/40, i%3)
}

// What each step costs a message, with readings of 240 bytes from 40 sensors that
// share a topic at the upstream. The figures are of one core.
func BenchmarkStep(b *testing.B) {
	window := Window{Every: time.Minute, Fields: []string{"v"}}
	for _, c := range []struct {
		name   string
		origin bridge.OriginMode
		edit   func(*Options)
	}{
		{"batch json", bridge.OriginNone, func(o *Options) { o.Batch.Format = JSON }},
		{"batch ndjson", bridge.OriginNone, func(o *Options) { o.Batch.Format = NDJSON }},
		{"batch length_prefixed", bridge.OriginNone, func(o *Options) { o.Batch.Format = LengthPrefixed }},
		{"batch json, envelopes", bridge.OriginEnvelope, func(o *Options) { o.Batch.Format = JSON }},
		{"batch json, gzip", bridge.OriginNone, func(o *Options) { o.Batch.Format, o.Compress = JSON, Gzip }},
		{"batch json, zstd", bridge.OriginNone, func(o *Options) { o.Batch.Format, o.Compress = JSON, Zstd }},
		{"gzip alone", bridge.OriginNone, func(o *Options) { o.Compress = Gzip }},
		{"zstd alone", bridge.OriginNone, func(o *Options) { o.Compress = Zstd }},
		{"deadband", bridge.OriginNone, func(o *Options) { o.Deadband = Deadband{Field: "v", Absolute: 5} }},
		{"window", bridge.OriginNone, func(o *Options) { o.Window = window }},
		{"window, batch json", bridge.OriginNone, func(o *Options) { o.Window, o.Batch.Format = window, JSON }},
		{"split, small", bridge.OriginNone, func(o *Options) { o.Split = maxPayload }},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := DefaultOptions()
			c.edit(&o)
			l := New(o, false, queue, Unit)
			made, units := 0, 0
			out := func(p *bridge.Product) {
				for _, r := range p.Records {
					if !isPartial(r) {
						made++
						units += (metered(r) + Unit - 1) / Unit
					}
				}
			}
			var pool []*bridge.Stored
			for i := range 4000 {
				s := reading(fmt.Sprintf("dt/sensor-%02d", i%40), sensible(i), 0)
				s.Receiver.Topic, s.Receiver.Origin = "site1/telemetry", c.origin
				pool = append(pool, s)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				s := *pool[n%len(pool)]
				r := *s.Record
				r.Age = time.Duration(n) * time.Second / 40
				s.Record, s.Place = &r, bridge.Place(n+1)
				l.Take(&s, out)
				if n++; n%40 == 0 {
					l.Ripe(r.Age, out)
				}
			}
			b.ReportMetric(float64(n)/float64(max(made, 1)), "messages/product")
			b.ReportMetric(float64(units)/float64(n), "units/message")
		})
	}
}
