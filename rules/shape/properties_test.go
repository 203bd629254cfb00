package shape

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The user properties of devices come out of a batch as they went in: in envelopes
// each message has its own, without them a batch has those that all of its messages
// have in common. What is a gateway's word is no part of them.
func TestPropertiesSurviveABatch(t *testing.T) {
	for name, c := range map[string]struct {
		origin  bridge.OriginMode
		batches int
	}{
		"envelopes":  {bridge.OriginEnvelope, 1},
		"none":       {bridge.OriginNone, 6}, // each differs from the one before it
		"properties": {bridge.OriginUserProperties, 6},
	} {
		t.Run(name, func(t *testing.T) {
			b := on(t, func(o *Options) { o.Batch.Format, o.Compress = JSON, Gzip })
			want := []string{"{}", `{"unit":"C"}`, `{"tag":["a","b"],"unit":"C"}`, `{"unit":"C"}`, "{}", `{"tag":["a","b"],"unit":"C"}`}
			for i, w := range want {
				s := reading("dt/a", fmt.Sprint(i), time.Duration(i)*time.Second)
				s.Receiver.Origin = c.origin
				if strings.Contains(w, "unit") {
					s.User = append(s.User, bridge.UserProperty{Key: "unit", Value: "C"})
				}
				if strings.Contains(w, "tag") {
					s.User = append(s.User, bridge.UserProperty{Key: "tag", Value: "a"}, bridge.UserProperty{Key: "tag", Value: "b"})
				}
				s.User = append(s.User, bridge.UserProperty{Key: bridge.PropID, Value: fmt.Sprint("of another gateway ", i)})
				b.give(s)
			}
			b.ripe(time.Hour)
			b.settled()
			if len(b.out) != c.batches {
				t.Errorf("%d batches, want %d", len(b.out), c.batches)
			}
			got := make([]string, len(want))
			d := Decoder{Batch: Auto}
			for _, p := range b.out {
				m := received(p.Records[0])
				if n := (&bridge.Message{Topic: m.Topic, Payload: m.Payload, Properties: bridge.Properties{ContentType: m.ContentType, User: m.User}}).MeteredSize(); n != metered(p.Records[0]) {
					t.Errorf("the batch counts %d bytes, and has %d", metered(p.Records[0]), n)
				}
				if err := d.Decode(m, func(one Decoded) error {
					text, err := one.User.MarshalJSON()
					got[one.Payload[0]-'0'] = string(text)
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// A message that goes alone keeps its properties beside it, and the decoder finds
// them there.
func TestPropertiesBesideAMessage(t *testing.T) {
	for _, origin := range []bridge.OriginMode{bridge.OriginNone, bridge.OriginUserProperties, bridge.OriginEnvelope} {
		b := on(t, func(o *Options) { o.Compress = Gzip })
		s := reading("dt/a", strings.Repeat("1", 200), 0)
		s.Receiver.Origin, s.User = origin, []bridge.UserProperty{{Key: "unit", Value: "C"}}
		m := received(only(t, b.give(s)))
		if strings.Contains(string(m.Payload), "user_properties") {
			t.Errorf("origin %v: %s", origin, m.Payload)
		}
		d := Decoder{Batch: None}
		if err := d.Decode(m, func(one Decoded) error {
			if fmt.Sprint(one.User) != "map[unit:[C]]" {
				t.Errorf("origin %v: properties %v", origin, one.User)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// M03: a batch fills metered messages of the size that the upstream's billing says.
func TestBatchFollowsTheUnit(t *testing.T) {
	for _, c := range []struct{ units, unit, want int }{
		{0, 5120, 5120}, {1, 5000, 5000}, {3, 5000, 15_000}, {25, 5120, 128_000}, {2, 1 << 20, maxPayload}, {1, 1, minBatchSize}, {2, 0, 2 * Unit},
	} {
		if got := (Batch{Units: c.units}).Limit(c.unit); got != c.want {
			t.Errorf("%d units of %d bytes are %d, want %d", c.units, c.unit, got, c.want)
		}
		if got := (Batch{Size: 300}).Limit(c.unit); got != 300 {
			t.Errorf("a size of 300 becomes %d", got)
		}
	}
	o := DefaultOptions()
	o.Batch.Format = JSON
	b := &bench{t: t, line: New(o, false, queue, Terms{Unit: 5000}), size: map[bridge.Place]int{}}
	for i := range 400 {
		b.give(reading("dt/a", sensor(i, 60), 0))
	}
	for _, p := range b.out {
		if n := metered(p.Records[0]); n > 5000 || n < 4900 {
			t.Errorf("a full batch is metered as %d bytes, one metered message is 5000", n)
		}
	}
	if len(b.out) < 4 {
		t.Errorf("%d batches", len(b.out))
	}
}

// Messages of many topics that wait for long in batches that are never full keep
// to the bound all the same: each costs more than its payload.
func TestOpenBatchesAreBounded(t *testing.T) {
	b := on(t, func(o *Options) { o.Batch.Format, o.Batch.Age = JSON, 24*time.Hour })
	const records = 3 * maxWaiting / heldBytes
	for i := range records {
		b.give(reading(fmt.Sprintf("dt/%d", i%maxGroups), "1", 0))
	}
	if w := b.line.(*line).steps[0].(*batcher).waiting; w > maxWaiting {
		t.Errorf("%d bytes wait", w)
	}
	b.ripe(48 * time.Hour)
	b.settled()
}
