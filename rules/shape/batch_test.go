package shape

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// sensor is JSON of exactly n bytes.
func sensor(i, n int) string {
	s := fmt.Sprintf(`{"seq":%d,"pad":""}`, i)
	return strings.Replace(s, `""`, `"`+strings.Repeat("x", n-len(s))+`"`, 1)
}

// G09: records of 240 B under a topic of 32 B fill one metered message with 21,
// so the month of G08 costs 4.94 instead of 103.68 dollars.
func TestTwentyOneReadingsInOneMeteredMessage(t *testing.T) {
	const topic = "site1/line4/cell07/sensor0000012" // 32 bytes
	b := on(t, func(o *Options) { o.Batch.Format = JSON })
	const records = 21 * 40
	for i := range records {
		b.give(reading(topic, sensor(i, 240), time.Duration(i)*time.Millisecond))
	}
	b.ripe(time.Minute)
	if len(b.out) != 40 {
		t.Fatalf("%d records became %d batches, want 40 of 21", records, len(b.out))
	}
	for _, p := range b.out {
		r := p.Records[0]
		if len(p.Members) != 21 || metered(r) > Unit {
			t.Fatalf("a batch of %d records is metered as %d bytes, want 21 in at most %d", len(p.Members), metered(r), Unit)
		}
	}
	b.settled()
	const month = 40 * 86_400 * 30
	if batches := (month + 20) / 21; batches != 4_937_143 {
		t.Errorf("a month of 40 sensors is %d batches, want 4937143 (G09)", batches)
	}
}

func TestBatchKeepsItsLimits(t *testing.T) {
	for name, c := range map[string]struct {
		edit    func(*Options)
		records int
		want    []int // members of each product, before time has passed
	}{
		"count":  {func(o *Options) { o.Batch.Format, o.Batch.Count = JSON, 5 }, 12, []int{5, 5}},
		"size":   {func(o *Options) { o.Batch.Format, o.Batch.Size = NDJSON, 450 }, 9, []int{4, 4}},
		"a unit": {func(o *Options) { o.Batch.Format = LengthPrefixed }, 60, []int{50}},
		"units":  {func(o *Options) { o.Batch.Format, o.Batch.Units = LengthPrefixed, 2 }, 120, []int{100}},
	} {
		t.Run(name, func(t *testing.T) {
			b := on(t, c.edit)
			for i := range c.records {
				b.give(reading("dt/a", sensor(i, 100), 0))
			}
			var got []int
			for _, p := range b.out {
				got = append(got, len(p.Members))
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("batches of %v, want %v", got, c.want)
			}
			b.ripe(9 * time.Second)
			if len(b.out) != len(c.want) {
				t.Error("the open batch went before its age")
			}
			b.ripe(10 * time.Second)
			b.settled()
		})
	}
}

// What goes to different topics, or in different ways, is never in one batch.
func TestBatchPerTopic(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format = JSON })
	for i := range 6 {
		s := reading(fmt.Sprintf("dt/%d", i%3), fmt.Sprint(i), time.Duration(i))
		if i == 5 {
			s.Receiver.Origin = bridge.OriginEnvelope
		}
		b.give(s)
	}
	b.ripe(time.Hour)
	got := map[string]string{}
	for _, p := range b.out {
		got[p.Records[0].Receivers[0].Topic] += string(p.Records[0].Payload)
	}
	if got["dt/0"] != "[0,3]" || got["dt/1"] != "[1,4]" || !strings.HasPrefix(got["dt/2"], `[2][{"device":"d1"`) {
		t.Errorf("got %v", got)
	}
	b.settled()
}

func TestBatchSpeaksForItsMembers(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format, o.Batch.Count = JSON, 3 })
	first := reading("dt/a", "1", 5*time.Second)
	first.Receiver.QoS, first.Thing, first.HasExpiry, first.Expiry = 0, "pump", true, 60
	second := reading("dt/a", "2", 6*time.Second)
	second.Device, second.Hops, second.HasExpiry, second.Expiry = "d2", 3, true, 100
	third := reading("dt/a", "3", 7*time.Second)
	third.HasExpiry, third.Expiry = true, 10
	b.give(first)
	b.give(second)
	r := only(t, b.give(third))
	if r.ID != first.ID || r.Age != first.Age || r.Device != several || r.Thing != "" || r.Hops != 3 {
		t.Errorf("the batch's origin is %+v", r.Origin)
	}
	if to := r.Receivers[0]; to.QoS != 1 || to.Queue != queue {
		t.Errorf("the batch goes to %+v", to)
	}
	if !r.HasExpiry || r.Expiry != 101 { // the second lives until age 106 s
		t.Errorf("the batch expires after %d s (%v), its last message after 101", r.Expiry, r.HasExpiry)
	}
}

// A message that would expire in an open batch makes it go before.
func TestBatchGoesBeforeAMemberExpires(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format, o.Batch.Age = JSON, time.Hour })
	b.give(reading("dt/a", "1", 0))
	s := reading("dt/a", "2", 0)
	s.HasExpiry, s.Expiry = true, 30
	b.give(s)
	if len(b.ripe(29*time.Second)) != 0 || len(b.ripe(30*time.Second)) != 1 {
		t.Error("the batch did not go when its second message expires")
	}
}

// A request awaits its answer, and a birth names what the data after it means:
// neither is combined, and what was open before it goes before it.
func TestWhatIsNotCombined(t *testing.T) {
	request := reading("dt/a", "request", 0)
	request.ResponseTopic = "dt/a/answer"
	b := on(t, func(o *Options) { o.Batch.Format = JSON })
	b.give(reading("dt/a", "1", 0))
	b.give(reading("dt/b", "2", 0))
	b.give(request)
	b.give(reading("spBv1.0/g/NDATA/n", "3", 0))
	b.give(reading("spBv1.0/g/NBIRTH/n", "birth", 0))
	b.give(reading("spBv1.0/g/NDATA/n", "4", 0))
	b.ripe(time.Hour)
	var got []string
	for _, p := range b.out {
		got = append(got, string(p.Records[0].Payload))
	}
	if want := `[1] request [2] [3] birth [4]`; strings.Join(got, " ") != want {
		t.Errorf("came out as %q, want %q", strings.Join(got, " "), want)
	}
	if only(t, b.out[1:2]).ResponseTopic != "dt/a/answer" {
		t.Error("the request has lost its response topic")
	}
	b.settled()
}

// A message that its frame would make too large for AWS goes without.
func TestTheLargestPayloadIsNotFramed(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format = JSON })
	r := only(t, b.give(reading("dt/a", `"`+text(maxPayload-2)+`"`, 0)))
	if len(r.Payload) != maxPayload {
		t.Errorf("a payload of 128 KiB became %d bytes", len(r.Payload))
	}
}

// Compression multiplies what one metered message holds, and the batch keeps its
// limit after it.
func TestCompressedBatchIsFull(t *testing.T) {
	for _, format := range []string{Gzip, Zstd} {
		b := on(t, func(o *Options) { o.Batch.Format, o.Compress = JSON, format })
		for i := range 2000 {
			b.give(reading("dt/a", fmt.Sprintf(`{"seq":%d,"t":%d,"v":%d.%d}`, i, 1_700_000_000+i, i*7919%97, i*104729%89), 0))
		}
		full := b.out
		b.ripe(time.Hour)
		b.settled()
		if len(full) < 2 || len(full[0].Members) < 250 {
			t.Fatalf("%s: %d batches, the first of %d records: plain ones would hold 120", format, len(full), len(full[0].Members))
		}
		for _, p := range full {
			if n := metered(p.Records[0]); n > Unit || n < Unit*9/10 {
				t.Errorf("%s: a full batch is metered as %d bytes of %d", format, n, Unit)
			}
			if e, _ := p.Records[0].UserValue(PropEncoding); e != format {
				t.Errorf("the batch says %q of its compression", e)
			}
		}
	}
}

// With compression, too, a batch that goes by age is no larger than it may be:
// what a record adds cannot be known before.
func TestCompressedBatchByAge(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format, o.Compress = NDJSON, Gzip })
	for i := range 100 {
		b.give(reading("dt/a", `{"a":"`+strings.Repeat("a", 100)+`"}`, 0))
		if i == 99 { // nothing of this can be compressed
			b.give(reading("dt/a", `"`+noise(4900)+`"`, 0))
			b.give(reading("dt/a", `"`+noise(4000)+`"`, 0))
		}
	}
	b.ripe(time.Hour)
	b.settled()
	for _, p := range b.out {
		if n := metered(p.Records[0]); n > Unit && len(p.Members) > 1 {
			t.Errorf("a batch of %d records is metered as %d bytes", len(p.Members), n)
		}
	}
}

// A batch that compression would make larger travels as it is, and says so.
func TestASmallBatchIsNotCompressed(t *testing.T) {
	for _, format := range []string{Gzip, Zstd} {
		for _, c := range []struct {
			value string
			small bool
		}{{"1.0", false}, {text(2000), true}} {
			b := on(t, func(o *Options) { o.Batch.Format, o.Compress = JSON, format })
			for range 3 {
				b.give(reading("dt/a", `"`+c.value+`"`, 0))
			}
			b.ripe(time.Hour)
			b.settled()
			r := only(t, b.out)
			plain := `["` + c.value + `","` + c.value + `","` + c.value + `"]`
			if mark, ok := r.UserValue(PropEncoding); ok != c.small || c.small && mark != format || !c.small && string(r.Payload) != plain || len(r.Payload) > len(plain) {
				t.Errorf("%s: %d bytes became %d, marked %q", format, len(plain), len(r.Payload), mark)
			}
			out := 0
			err := (&Decoder{Batch: Auto}).Decode(Received{Topic: "dt/a", Payload: r.Payload, ContentType: r.ContentType, User: r.User}, func(Decoded) error { out++; return nil })
			if err != nil || out != 3 {
				t.Errorf("%s: decoded as %d messages, %v", format, out, err)
			}
		}
	}
}

// noise is text that hardly compresses.
func noise(n int) string {
	var b strings.Builder
	for x := uint32(1); b.Len() < n; {
		x = x*1664525 + 1013904223
		b.WriteByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[x>>26])
	}
	return b.String()
}

func TestElementsAreJSON(t *testing.T) {
	for _, payload := range []string{"", "21.5", " {\"a\": 1}\n", "not json", "\xff\x00", `{"base64":"eA=="}`, `{"b\u0061se64":"eA=="}`, `{"base64":1}`, "[1,\n2]"} {
		for _, f := range []framing{framings[JSON], framings[NDJSON]} {
			e := f.element([]byte(payload))
			if !json.Valid(e) || strings.ContainsAny(string(e), "\r\n") {
				t.Errorf("%q stands in a batch as %q", payload, e)
			}
		}
	}
}
