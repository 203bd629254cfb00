package shape

import (
	"fmt"
	"hash/maphash"
	"math"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/payload"
)

// Deadband reports a value when it has changed by more than a measure since it was
// last reported, or when that is long ago.
type Deadband struct {
	Field      string        `koanf:"field" doc:"Field of the JSON or CBOR payload that is watched, such as temp, data.temp or values[0]; . is the payload itself. Empty: no deadband."`
	Absolute   float64       `koanf:"absolute" doc:"Change that is reported, in the field's own unit: anything above it."`
	Percent    float64       `koanf:"percent" doc:"The same in percent of the value that was reported last. With both, either is enough; with neither, any change is."`
	MaxSilence time.Duration `koanf:"max_silence" doc:"A message is reported whatever its value when the last one is as old as this; 0s never."`
}

func (d Deadband) on() bool { return d.Field != "" }

// maxTopics bounds the topics whose last value is remembered; all are forgotten
// when there are more, and then the next message of each is reported.
const maxTopics = 16384

// deadband remembers what was reported of each topic. It keeps nothing on disk: at
// a start the first message of each topic is reported, which costs one message and
// tells the cloud where things stand.
type deadband struct {
	Deadband
	field  payload.Field
	drop   bool // messages that cannot be read are dropped
	seed   maphash.Seed
	topics map[uint64]reported // by the hash of a source: topics can be long
}

// source is one stream of messages: a topic of the devices, under its topic at the
// upstream.
type source struct{ topic, to, device string } // the device only where devices stay apart

func sourceOf(it *item) source { return source{topic: it.rec.Topic, to: it.to.Topic} }

func (s source) size() int { return len(s.topic) + len(s.to) + len(s.device) }

type reported struct {
	value float64
	age   time.Duration
}

func newDeadband(o Deadband, drop bool) *deadband {
	f, _ := payload.ParseField(o.Field) // Validate has read it
	return &deadband{Deadband: o, field: f, drop: drop, seed: maphash.MakeSeed(), topics: map[uint64]reported{}}
}

func (d *deadband) take(it *item, next func(*item)) {
	if it.order != joins {
		next(it)
		return
	}
	v, err := payload.Decode(it.rec.Payload)
	n, ok := d.field.Number(v)
	if err != nil || !ok {
		next(it.unread(d.drop))
		return
	}
	key := maphash.Comparable(d.seed, sourceOf(it))
	last, known := d.topics[key]
	if known && !d.changed(last.value, n) && (d.MaxSilence == 0 || it.rec.Age-last.age < d.MaxSilence) {
		next(it.kept("deadband"))
		return
	}
	if !known && len(d.topics) >= maxTopics {
		clear(d.topics)
	}
	d.topics[key] = reported{n, it.rec.Age}
	next(it)
}

// changed reports whether a value is to be reported after another. Both are finite; their
// difference need not be, nor a part of one: devices write the largest number for none.
func (d *deadband) changed(from, to float64) bool {
	change := math.Abs(to - from)
	if d.Absolute == 0 && d.Percent == 0 {
		return change > 0
	}
	most := math.Abs(from) * d.Percent / 100
	if math.IsInf(most, 1) {
		most = math.Abs(from) / 100 * d.Percent
	}
	return math.IsInf(change, 1) || d.Absolute > 0 && change > d.Absolute || d.Percent > 0 && change > most
}

func (d *deadband) ripe(time.Duration, func(*item)) time.Duration { return never }

func (v *validation) deadband(d Deadband, r Around) {
	v.field("deadband.field", d.Field)
	if d.Absolute < 0 {
		v.add("deadband.absolute", fmt.Sprintf("%v is negative", d.Absolute), "write how much a value may change unreported, or 0")
	}
	if d.Percent < 0 {
		v.add("deadband.percent", fmt.Sprintf("%v is negative", d.Percent), "write how much a value may change unreported, or 0")
	}
	if d.MaxSilence < 0 {
		v.add("deadband.max_silence", d.MaxSilence.String()+" is negative", "write 0s for no bound")
	}
	if r.Retain {
		v.add("deadband.field", "holds back messages whose retain flag is kept: the retained one would be old", "write retain: clear, or give retained messages a route of their own")
	}
}

// field checks the name of a field.
func (v *validation) field(path, text string) {
	if _, err := payload.ParseField(text); err != nil {
		v.add(path, err.Error(), "write it as temp, data.temp or values[0].v")
	}
}

// unread is the item as one whose payload cannot be read: it goes on as it is, or
// is dropped.
func (it *item) unread(drop bool) *item {
	it.order = max(it.order, alone)
	if drop {
		it.reason = "unreadable"
	}
	return it
}

// kept is the item as one that a step holds back for good.
func (it *item) kept(step string) *item {
	it.step = step
	return it
}

// gone is the product of an item that goes no further, nil of one that does.
func (it *item) gone() *bridge.Product {
	if it.step == "" && it.reason == "" {
		return nil
	}
	return &bridge.Product{Members: it.members, Step: it.step, Reason: it.reason}
}
