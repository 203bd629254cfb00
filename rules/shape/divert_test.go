package shape

import (
	"strings"
	"testing"

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
