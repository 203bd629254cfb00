package billing

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// Over MQTT 3.1.1 no properties travel; an envelope does.
func TestOriginOfProtocols(t *testing.T) {
	n := Names{Topic: 20, Device: 12, Thing: 12}
	for _, mode := range []bridge.OriginMode{bridge.OriginUserProperties, bridge.OriginEnvelope} {
		now, old := OriginOf(mode, n, false), OriginOf(mode, n, true)
		if now.Rest == 0 || old.Rest != 0 || old.Payload != now.Payload || (now.Payload > 0) != (mode == bridge.OriginEnvelope) {
			t.Errorf("%v: %+v, over MQTT 3.1.1 %+v", mode, now, old)
		}
	}
}

// What an envelope adds: its names to each payload, a third and its encoding to what is not
// JSON, and in a batch what the device said of the message itself.
func TestEnvelopesAroundCells(t *testing.T) {
	was, then := Origin{Rest: 9}, Origin{Payload: 100, Rest: 25, envelope: true}
	for name, c := range map[string]struct {
		own, wrap     float64
		batched       bool
		payload, rest int64
	}{
		"alone":                  {40, 0, false, 4_000, 10 * (40 + 25)},
		"alone, not JSON":        {40, 1, false, 4_000 + 1_000 + 10*int64(named), 10 * (40 + 25)},
		"half of it not JSON":    {0, 0.5, false, 4_000 + (1_000+10*int64(named))/2, 10 * 25},
		"in a batch":             {40, 0, true, 4_000 + 10*(40+int64(ownInside)), 10 * int64(25-len(envelopeType))},
		"in a batch, said less":  {0, 0, true, 4_000, 10 * int64(25-len(envelopeType))},
		"in a batch, not JSON":   {0, 1, true, 4_000 + 1_000 + 10*int64(named), 10 * int64(25-len(envelopeType))},
		"nothing that it may be": {-9, 0, false, 4_000, 10 * 25},
	} {
		cells := []sizes.Cell{{Messages: 10, Payload: 3_000, Rest: 10 * (9 + int64(c.own))}}
		was.as(then, cells, c.wrap, c.batched)
		if got := cells[0]; got.Payload != c.payload || got.Rest != c.rest {
			t.Errorf("%s: payload %d, want %d; rest %d, want %d", name, got.Payload, c.payload, got.Rest, c.rest)
		}
	}
}

// A topic that gets longer is metered, and one that gets shorter is not any more.
func TestTopicsOfAnotherLength(t *testing.T) {
	near := traffic("telemetry", "dt/line", 100, 9, false, 5_000)
	for longer, want := range map[int]int64{0: 100, 50: 100, 200: 200, -5: 100} {
		if got := near.Usage(Treatment{Longer: longer}, DefaultUnit, nil).Messages; got != want {
			t.Errorf("%d bytes longer: %d metered messages, want %d", longer, got, want)
		}
	}
}

// An envelope is JSON whatever is in it: what is no JSON is a third longer in it, and not
// once more in a batch of JSON.
func TestEnvelopesOfWhatIsNotJSONInBatches(t *testing.T) {
	binary := traffic("telemetry", "dt/line", 30_000, 9, false, 1_000)
	for range 30_000 {
		binary.Sizes.NotJSON()
	}
	batch, _ := BatchFormat("json", 0)
	batch.Limit, batch.Own = decimalUnit, true
	how := Treatment{Batch: batch, Was: Origin{Rest: 9}, Then: Origin{Payload: 100, Rest: 25, envelope: true}}
	if got := binary.sent(how, DefaultUnit).messages; got != 10_000 { // 1,000 and 333 and about 120: three fit
		t.Errorf("%d batches, want 10,000", got)
	}
	how.Was, how.Then = Origin{}, Origin{}
	if got := binary.sent(how, DefaultUnit).messages; got != 10_000 { // as base64
		t.Errorf("%d batches without envelopes, want 10,000", got)
	}
}

// What is in envelopes has no user properties of the origin's that could be left out.
func TestNoOriginOfEnvelopes(t *testing.T) {
	const messages = 400_000
	traced := traffic("telemetry", "dt/line", messages, originSize+60, false, 450)
	for i := range messages {
		traced.Sizes.Owned("dt/line", uint64(i%1000)+1, 1)
	}
	f := oneRoute(traced)
	var batch, none []Measure
	for _, m := range f.Measures() {
		switch {
		case strings.Contains(m.Name, "with origin: envelope"):
			batch = append(batch, m)
		case strings.HasPrefix(m.Name, "origin: none"):
			none = append(none, m)
		}
	}
	if len(batch) != 1 || len(none) != 1 {
		t.Fatalf("%d measures of batches, %d of origins", len(batch), len(none))
	}
	if p := f.Plan(append(batch, none...)); p.Treatments[0].NoOrigin || !p.Treatments[0].Then.envelope {
		t.Errorf("%+v", p.Treatments[0])
	}
	if p := f.Plan(none); !p.Treatments[0].NoOrigin {
		t.Errorf("without batches %+v", p.Treatments[0])
	}
}
