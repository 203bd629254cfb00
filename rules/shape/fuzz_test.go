package shape

import (
	"bytes"
	"encoding/json"
	"hash/crc32"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// FuzzDecode gives the decoder what anybody may have published. It must end,
// keep to its bound, and give out payloads that can be written as JSON.
func FuzzDecode(f *testing.F) {
	for _, payload := range []string{"", "[1,2]", `[{"base64":"eA=="}]`, "1\n2\n", "\x01a\x02bc", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd",
		`{"device":"d","id":"00000000000000000000000000000001","accepted":"t","clock":"c","topic":"t","encoding":"base64","payload":"eA=="}`} {
		for _, kind := range []string{"", typeJSON, typeNDJSON, typeLengthPrefixed} {
			f.Add([]byte(payload), kind, "")
		}
		f.Add([]byte(payload), "", Gzip)
	}
	whole := part{count: 1, whole: 5, sum: crc32.Checksum([]byte("[1,2]"), castagnoli), contentType: typeJSON, data: []byte("[1,2]")}
	f.Add(whole.encode(), typePart, "")
	f.Add(newCodec(Gzip).compress([]byte("[1,2]")), typeJSON, Gzip)
	f.Add(newCodec(Zstd).compress([]byte("[1,2]")), typeJSON, Zstd)
	f.Fuzz(func(t *testing.T, payload []byte, contentType, encoding string) {
		d := Decoder{Batch: Auto, Most: 1 << 20}
		m := Received{Topic: "t", Payload: payload, ContentType: contentType}
		if encoding != "" {
			m.User = []bridge.UserProperty{{Key: PropEncoding, Value: encoding}}
		}
		total := 0
		_ = d.Decode(m, func(one Decoded) error {
			total += len(one.payload(t))
			return nil
		})
		if total > d.Most+len(payload) {
			t.Fatalf("%d bytes came of %d", total, len(payload))
		}
	})
}

// FuzzBatch publishes any payload in a batch of three, and undoes it.
func FuzzBatch(f *testing.F) {
	for i, payload := range []string{"", "21.5", "{\"a\":1}\n", `{"base64":"eA=="}`, "\xff"} {
		f.Add([]byte(payload), byte(i))
	}
	formats := []string{JSON, NDJSON, LengthPrefixed}
	f.Fuzz(func(t *testing.T, payload []byte, how byte) {
		o := DefaultOptions()
		o.Batch.Format, o.Compress = formats[how%3], []string{None, Gzip, Zstd}[how/3%3]
		o.Batch.Size = 128 << 10
		b := &bench{t: t, line: New(o, false, queue, Unit), size: map[bridge.Place]int{}}
		b.give(reading("dt/a", "1", 0))
		b.give(reading("dt/a", string(payload), 0))
		b.give(reading("dt/a", "2", 0))
		b.ripe(time.Hour)
		b.settled()
		var got []string
		for _, p := range b.out {
			m := received(p.Records[0])
			d := Decoder{Batch: formats[how%3]}
			if m.ContentType == "" { // it went by itself
				d.Batch = None
			}
			if err := d.Decode(m, func(one Decoded) error { got = append(got, one.payload(t)); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		want, same := string(payload), func(a, b string) bool { return a == b }
		if o.Batch.Format != LengthPrefixed && json.Valid(payload) { // JSON keeps its value, not the blanks around it
			same = func(a, b string) bool { return compact(t, a) == compact(t, b) }
		}
		if _, envelope := openEnvelope(payload); len(got) != 3 || !envelope && !same(got[1], want) {
			t.Fatalf("%q became %q", payload, got)
		}
	})
}

func compact(t *testing.T, text string) string {
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return out.String()
}
