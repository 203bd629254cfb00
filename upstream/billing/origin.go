package billing

import (
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// Origin is what a way of telling whose a message is adds to each, in bytes.
type Origin struct {
	Payload int // an envelope around it
	Rest    int // properties

	envelope bool
}

// Names are how long the names are that travel with messages, in bytes, on average.
type Names struct {
	Topic, Device, Thing int
}

// OriginOf is what a way adds to a message of so long names. Over MQTT 3.1.1, which has no
// properties, only an envelope travels.
func OriginOf(mode bridge.OriginMode, n Names, mqtt3 bool) Origin {
	text := func(n int) string { return strings.Repeat("x", n) }
	r := &bridge.Record{
		Message: bridge.Message{Topic: text(n.Topic), Payload: []byte("1")},
		Origin: bridge.Origin{Device: text(n.Device), Thing: text(n.Thing), Instant: bridge.Instant{
			Wall: time.Date(2026, 11, 21, 22, 4, 5, 0, time.UTC), Synced: true,
		}},
		Receivers: []bridge.Receiver{{Topic: text(n.Topic), QoS: 1, Origin: mode}},
	}
	m := bridge.Outgoing(&bridge.Stored{Record: r, Receiver: &r.Receivers[0]})
	o := Origin{Payload: len(m.Payload) - len(r.Payload), Rest: m.MeteredSize() - len(m.Payload) - len(m.Topic), envelope: mode == bridge.OriginEnvelope}
	if mqtt3 {
		o.Rest = 0
	}
	return o
}

// What an envelope adds to a payload that is not JSON, besides base64, and what it adds to
// what a device says of its message itself, when it stands inside of another.
const (
	named     = len(`"encoding":"base64",`) + len(`""`)
	ownInside = len(`"user_properties":{"":""},`)
)

// envelopeType is the content type of an envelope.
const envelopeType = "application/json"

// as changes cells to another way; wrap is the part of them that is not JSON. In a batch an
// envelope is around each message, with what the device says of it. What is in one already
// is taken for JSON.
func (o Origin) as(then Origin, cells []sizes.Cell, wrap float64, batched bool) {
	if o == then {
		return
	}
	for i := range cells {
		c := &cells[i]
		own := max(c.Rest-int64(o.Rest)*c.Messages, 0)
		payload := max(c.Payload-int64(o.Payload)*c.Messages, 0)
		c.Payload, c.Rest = payload+int64(then.Payload)*c.Messages, own+int64(then.Rest)*c.Messages
		if !then.envelope {
			continue
		}
		c.Payload += int64(float64(payload/3+int64(named)*c.Messages) * wrap)
		if batched {
			if c.Rest -= own + int64(len(envelopeType))*c.Messages; own > 0 {
				c.Payload += own + int64(ownInside)*c.Messages
			}
			c.Rest = max(c.Rest, 0)
		}
	}
}

// originSize is what the origin's user properties take of each message.
func (t Traffic) originSize() int64 {
	if t.device == 0 {
		return originSize
	}
	n := t.Names()
	return int64(OriginOf(bridge.OriginUserProperties, n, false).Rest - OriginOf(bridge.OriginNone, n, false).Rest)
}

// notJSON is the part of the messages whose payload is not JSON.
func (t Traffic) notJSON() float64 {
	return float64(t.Sizes.Others()) / float64(max(1, t.Sizes.Messages()))
}

// Names are those of the messages as the ledger has them, and of their topics as they were
// sent.
func (t Traffic) Names() Names { return Names{Topic: t.MeanTopic(), Device: t.device, Thing: t.thing} }
