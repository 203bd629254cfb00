package shape

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// What is above the limit, as it would be sent, goes as a file; what is between the
// two limits goes in parts. Sparkplug's order would not survive it.
func TestDivert(t *testing.T) {
	b := on(t, func(o *Options) { o.Split, o.Divert = 2<<10, 8<<10 })
	for _, c := range []struct {
		topic  string
		bytes  int
		origin bridge.OriginMode
		file   bool
		parts  int
	}{
		{"dt/a", 2 << 10, bridge.OriginNone, false, 1},
		{"dt/a", 8 << 10, bridge.OriginNone, false, 5},
		{"dt/a", 8<<10 + 1, bridge.OriginNone, true, 1},
		{"dt/a", 8 << 10, bridge.OriginEnvelope, true, 1}, // the envelope makes it larger
		{"spBv1.0/g/NDATA/n", 10 << 10, bridge.OriginNone, false, 6},
		{"spBv1.0/g/NBIRTH/n", 10 << 10, bridge.OriginNone, false, 6},
	} {
		s := reading(c.topic, strings.Repeat("x", c.bytes), 0)
		s.Receiver.Origin = c.origin
		out := b.give(s)
		if len(out) != 1 || out[0].File != c.file || len(out[0].Records) != c.parts {
			t.Errorf("%s of %d bytes: %d products, %+v", c.topic, c.bytes, len(out), out[0])
		}
	}
	b.settled()
}

// With batches, too, a file is what the device has sent, or that compressed: the open batch
// goes first, and the small messages around it in batches.
func TestWhatIsDivertedIsInNoBatch(t *testing.T) {
	image := "\xff\xd8\xff" + strings.Repeat("jpeg", 16<<10)
	for _, c := range []struct {
		format, compress string
		origin           bridge.OriginMode
	}{{JSON, None, bridge.OriginNone}, {NDJSON, None, bridge.OriginEnvelope}, {LengthPrefixed, Gzip, bridge.OriginNone}, {JSON, Zstd, bridge.OriginUserProperties}} {
		b := on(t, func(o *Options) {
			o.Batch.Format, o.Compress, o.Divert = c.format, c.compress, 8<<10
		})
		give := func(topic, payload, contentType string) {
			s := reading(topic, payload, 0)
			s.ContentType, s.Receiver.Origin = contentType, c.origin
			b.give(s)
		}
		give("dt/a", "1", "")
		give("spBv1.0/g/NDATA/n", image, "")
		give("dt/a", image, "image/jpeg")
		give("dt/a", "2", "")
		b.ripe(time.Hour)
		b.settled()
		var files []*bridge.Record
		gone := false // the first message
		for _, p := range b.out {
			if gone = gone || p.Members[0].Place == 1; p.File {
				if files = append(files, p.Records[0]); !gone {
					t.Errorf("%+v: the open batch does not go first", c)
				}
			}
		}
		if c.compress != None { // it is below the limit then, and goes as a message by itself
			if len(files) != 0 {
				t.Errorf("%+v: %d files", c, len(files))
			}
			continue
		}
		if len(files) != 1 || string(files[0].Payload) != image || files[0].ContentType != "image/jpeg" || files[0].Device != "d1" {
			t.Errorf("%+v: %d files", c, len(files))
		}
	}
}

// What stays large when it is compressed is a file that is compressed, and says so.
func TestAFileBesideBatchesIsCompressed(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format, o.Compress, o.Divert = JSON, Gzip, 8<<10 })
	noise, r := make([]byte, 60<<10), rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = "0123456789abcdef"[r.IntN(16)]
	}
	out := b.give(reading("dt/a", string(noise), 0))
	if len(out) != 1 || !out[0].File {
		t.Fatalf("%+v", out)
	}
	rec := out[0].Records[0]
	if name, _ := rec.UserValue(PropEncoding); name != Gzip || len(rec.Payload) > 40<<10 {
		t.Errorf("%d bytes, %q", len(rec.Payload), name)
	}
}

func TestDivertIsChecked(t *testing.T) {
	for _, c := range []struct {
		edit func(*Options)
		want string
	}{
		{func(o *Options) { o.Divert = 128 << 10 }, ""},
		{func(o *Options) { o.Divert = 1000 }, "out of range"},
		{func(o *Options) { o.Divert = 1 << 30 }, "out of range"},
		{func(o *Options) { o.Split, o.Divert = 4<<10, 4<<10 }, "not above split"},
		{func(o *Options) { o.Batch.Format, o.Divert = JSON, 4<<10 }, "below the size of a batch"},
	} {
		o := DefaultOptions()
		c.edit(&o)
		ps := o.Validate(Around{})
		if c.want == "" && len(ps) > 0 || c.want != "" && (len(ps) != 1 || ps[0].Path != "divert" || !strings.Contains(ps[0].Text, c.want)) {
			t.Errorf("%+v: %v, want %q", o, ps, c.want)
		}
	}
}
