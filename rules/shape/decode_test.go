package shape

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// received is a product as its receiver gets it.
func received(r *bridge.Record) Received {
	m := bridge.Outgoing(&bridge.Stored{Record: r, Receiver: &r.Receivers[0]})
	return Received{Topic: m.Topic, Payload: m.Payload, ContentType: m.ContentType, User: m.User}
}

// payload is what a decoded message holds.
func (d *Decoded) payload(t testing.TB) string {
	t.Helper()
	if d.Encoding != "base64" {
		return string(d.Payload)
	}
	var text string
	if err := json.Unmarshal(d.Payload, &text); err != nil {
		t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Whatever a device publishes comes out of "ebbgate decode" as it was published,
// through every combination of steps.
func TestWhatIsUndoneIsWhatWasPublished(t *testing.T) {
	payloads := []string{
		`{"v":21.5}`, `21`, `"text"`, `null`, "", "plain words", "\x00\xff\x1f\x8b", `{"base64":"eA=="}`,
		`[1,2,3]`, `{"device":"x"}`, `{"long":"` + strings.Repeat("abc", 400) + `"}`, "\x1f\x8b\x08 not gzip",
	}
	for _, format := range []string{None, JSON, NDJSON, LengthPrefixed} {
		for _, packed := range []string{None, Gzip, Zstd} {
			for _, origin := range []bridge.OriginMode{bridge.OriginNone, bridge.OriginUserProperties, bridge.OriginEnvelope} {
				t.Run(fmt.Sprint(format, packed, origin), func(t *testing.T) {
					if format == None && packed == None {
						return // no line
					}
					b := on(t, func(o *Options) { o.Batch.Format, o.Compress = format, packed })
					for i, p := range payloads {
						s := reading("dt/a", p, time.Duration(i)*time.Second)
						s.Receiver.Origin = origin
						b.give(s)
					}
					b.ripe(time.Hour)
					b.settled()
					d := Decoder{Batch: Auto}
					if format == None {
						d.Batch = None // an array is a device's own
					}
					var got []string
					for _, p := range b.out {
						m := received(p.Records[0])
						if err := d.Decode(m, func(one Decoded) error {
							got = append(got, one.payload(t))
							if (one.ID == "") != (origin == bridge.OriginNone) {
								t.Errorf("origin %v: %+v", origin, one)
							}
							return nil
						}); err != nil {
							t.Fatal(err)
						}
					}
					if !slices.Equal(got, payloads) {
						t.Errorf("got\n%q\nwant\n%q", got, payloads)
					}
				})
			}
		}
	}
}

// A batch whose messages each have an envelope tells of each who sent it, when.
func TestEnvelopesInABatch(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format = JSON })
	for i := range 2 {
		s := reading("dt/a", "1", time.Duration(i)*time.Second)
		s.Device, s.Receiver.Origin = fmt.Sprint("d", i), bridge.OriginEnvelope
		b.give(s)
	}
	b.ripe(time.Hour)
	var got []string
	err := (&Decoder{Batch: Auto}).Decode(received(b.out[0].Records[0]), func(d Decoded) error {
		got = append(got, d.Device+" "+d.Accepted+" "+d.Topic+" "+string(d.Payload))
		return nil
	})
	want := []string{"d0 2026-03-01T12:00:00.000000000Z dt/a 1", "d1 2026-03-01T12:00:01.000000000Z dt/a 1"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// What is compressed, has lost the property that says so, and is damaged is given out as it
// came, with a word; so is a device's own text that begins so.
func TestWhatOnlyLooksCompressedIsToldOf(t *testing.T) {
	whole := []byte(`[{"v":1},{"v":2}]`)
	flipped := func(b []byte, at int) string {
		b = slices.Clone(b)
		b[at] ^= 4
		return string(b)
	}
	gz, zs := slices.Clone(newCodec(Gzip).compress(whole)), slices.Clone(newCodec(Zstd).compress(whole))
	for name, c := range map[string]struct {
		payload string
		told    bool
		want    int // messages
	}{
		"gzip":               {string(gz), false, 2},
		"zstd":               {string(zs), false, 2},
		"a bit of gzip":      {flipped(gz, len(gz)-2), true, 1},
		"a bit of zstd":      {flipped(zs, len(zs)-6), true, 1},
		"gzip cut short":     {string(gz[:len(gz)-3]), true, 1},
		"a device's own":     {"\x1f\x8b\x08 not gzip", true, 1},
		"nothing compressed": {string(whole), false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var told []error
			n := 0
			d := Decoder{Batch: Auto, Doubt: func(why error) { told = append(told, why) }}
			err := d.Decode(Received{Topic: "dt/a", Payload: []byte(c.payload)}, func(one Decoded) error {
				if n++; c.want == 1 && one.payload(t) != c.payload {
					t.Errorf("came out as %q", one.payload(t))
				}
				return nil
			})
			if err != nil || n != c.want || (len(told) == 1) != c.told || c.told && !strings.Contains(told[0].Error(), `topic "dt/a": it begins as what is compressed does`) {
				t.Errorf("%d messages, %v, told %v", n, err, told)
			}
		})
	}
}

// No batch is empty: what would be one is a device's own.
func TestAnEmptyListIsADevicesOwn(t *testing.T) {
	for _, c := range []struct{ batch, contentType, payload string }{
		{Auto, "", "[]"}, {Auto, typeJSON, " [ ] "}, {JSON, "", "[]"}, {NDJSON, "", ""}, {LengthPrefixed, "", ""}, {Auto, typeNDJSON, ""},
	} {
		var got []string
		err := (&Decoder{Batch: c.batch}).Decode(Received{Payload: []byte(c.payload), ContentType: c.contentType}, func(d Decoded) error {
			got = append(got, d.payload(t))
			return nil
		})
		if err != nil || !slices.Equal(got, []string{c.payload}) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

// What comes from elsewhere is refused within bounds, or taken as it is.
func TestDecoderRefuses(t *testing.T) {
	bomb := newCodec(Gzip).compress(make([]byte, 1<<20))
	for name, c := range map[string]struct {
		d    Decoder
		m    Received
		want string
	}{
		"a bomb":             {Decoder{Batch: Auto, Most: 1000}, Received{Payload: bomb}, "more than 1000 bytes"},
		"a zstd bomb":        {Decoder{Batch: Auto, Most: 1000}, Received{Payload: newCodec(Zstd).compress(make([]byte, 1<<20))}, "more than 1000 bytes"},
		"cut gzip":           {Decoder{Batch: Auto}, Received{Payload: bomb[:20], User: []bridge.UserProperty{{Key: PropEncoding, Value: Gzip}}}, "cannot be decompressed"},
		"unknown encoding":   {Decoder{Batch: Auto}, Received{User: []bridge.UserProperty{{Key: PropEncoding, Value: "br"}}}, "unknown"},
		"a line is not JSON": {Decoder{Batch: NDJSON}, Received{Payload: []byte("1\nx")}, "line 2"},
		"a length too long":  {Decoder{Batch: LengthPrefixed}, Received{Payload: []byte{1, 'a', 200, 1}}, "message 2"},
		"no array":           {Decoder{Batch: JSON}, Received{Payload: []byte("{}")}, "not a batch of json"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.d.Decode(c.m, func(Decoded) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	n := 0
	err := (&Decoder{Batch: Auto}).Decode(Received{Payload: []byte("[ not an array")}, func(d Decoded) error {
		n++
		if d.Encoding != "base64" {
			t.Errorf("text became %+v", d)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("text that begins like an array: %d, %v", n, err)
	}
}
