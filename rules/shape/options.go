package shape

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options are the steps of one route, as written in the configuration. Start
// from [DefaultOptions].
type Options struct {
	Deadband Deadband    `koanf:"deadband" doc:"Sends a message only when a value in it has changed."`
	Window   Window      `koanf:"window" doc:"Makes one message of all that a topic brings in a stretch of time."`
	Batch    Batch       `koanf:"batch" doc:"Puts many messages of one topic at the upstream into one."`
	Compress string      `koanf:"compress" enum:"none,gzip,zstd" doc:"Compresses the payload (of a batch: the whole of it) where that makes it smaller; the user property content-encoding says so."`
	Split    bridge.Size `koanf:"split" doc:"Sends a payload above this size in several messages, 1KiB to 128KiB; ebbgate decode puts them together. 0: AWS refuses payloads above 128KiB."`
	Divert   bridge.Size `koanf:"divert" doc:"Sends a payload above this size as a file, 1KiB to 1792KiB: it goes where file_transfer.export says, and a small message with its name, place and checksum in its stead. With split as well, what is above split and not above divert goes in parts. 0: none."`
}

// Batch collects messages. A batch is sent when the next message would make it
// too large, or when it has its count or its age.
type Batch struct {
	Format string        `koanf:"format" enum:"none,json,ndjson,length_prefixed" doc:"How the messages stand in a batch: json is one array, ndjson a JSON value a line, length_prefixed each payload after its length as a varint; none makes no batches."`
	Size   bridge.Size   `koanf:"size" doc:"Most bytes that AWS meters of a batch, its topic and properties included, 128B to 128KiB; 0 is what units say."`
	Units  int           `koanf:"units" min:"0" max:"25" doc:"Most metered messages that a batch costs, each of the upstream's billing.unit bytes, 0 to 25; 0 is what size says. With both at 0 a batch costs one."`
	Count  int           `koanf:"count" min:"0" max:"2048" doc:"Most messages in a batch, 0 to 2048; 0 is as many as fit."`
	Age    time.Duration `koanf:"age" doc:"How long a message waits for others, 100ms to 24h."`
}

// The values of Batch.Format and Options.Compress.
const (
	None           = "none"
	JSON           = "json"
	NDJSON         = "ndjson"
	LengthPrefixed = "length_prefixed"
	Gzip           = "gzip"
	Zstd           = "zstd"
)

// Unit is the size of one metered message in bytes, as AWS bills it by default
// (M03).
const Unit = 5120

// Bounds of the steps' options.
const (
	minBatchSize = 128
	maxPayload   = 128 << 10 // AWS takes no larger one
	minBatchAge  = 100 * time.Millisecond
	maxBatchAge  = 24 * time.Hour
	maxUnits     = maxPayload / Unit
)

// DefaultOptions are no steps. The ages and sizes are those of a step that is
// switched on and says no more: ten seconds are 10 messages of a sensor a second,
// and for forty of them far more than a metered message holds.
func DefaultOptions() Options {
	return Options{
		Batch:    Batch{Format: None, Age: 10 * time.Second},
		Compress: None,
	}
}

// Any reports whether there is a step at all. Without one a route needs no line.
func (o Options) Any() bool {
	return o.Reads() || o.Batch.on() || o.Compress != None || o.Split != 0 || o.Divert != 0
}

// Reads reports whether a step reads payloads: then some may be unreadable.
func (o Options) Reads() bool { return o.Deadband.on() || o.Window.on() }

// Mixes reports whether a step makes one message of several, perhaps of more than
// one device.
func (o Options) Mixes() bool { return o.Window.on() || o.Batch.on() }

func (b Batch) on() bool { return b.Format != None }

// Limit is the metered size that a batch keeps where one metered message is of
// unit bytes; 0 is [Unit].
func (b Batch) Limit(unit int) int {
	if b.Size > 0 {
		return int(b.Size)
	}
	if unit <= 0 {
		unit = Unit
	}
	return min(max(max(b.Units, 1)*unit, minBatchSize), maxPayload)
}

// Around is what a route says besides its steps, and what they must fit.
type Around struct {
	TTL    time.Duration
	Retain bool // the route keeps the retain flag
	// KeepLast is how many messages of one topic wait, 0 for all.
	KeepLast int
}

// Validate returns what is wrong with the steps, and which of them make no sense
// together or beside the rest of the route.
func (o Options) Validate(r Around) []bridge.Problem {
	v := &validation{}
	v.closed("batch.format", o.Batch.Format, None, JSON, NDJSON, LengthPrefixed)
	v.closed("compress", o.Compress, None, Gzip, Zstd)
	if o.Deadband.on() {
		v.deadband(o.Deadband, r)
	} else {
		v.idle("deadband", o.Deadband, DefaultOptions().Deadband, "field: NAME")
	}
	if o.Window.on() {
		v.window(o.Window, o, r)
	} else {
		v.idle("window", o.Window, DefaultOptions().Window, "every: 1m")
	}
	if o.Batch.on() {
		v.batch(o.Batch, r)
	} else {
		v.idle("batch", o.Batch, DefaultOptions().Batch, "format: json")
	}
	if o.Split != 0 {
		v.split(o.Split, r)
	}
	if o.Divert != 0 {
		v.divert(o)
	}
	if r.KeepLast > 0 && (o.Batch.on() || o.Split != 0) {
		path := "batch.format"
		if !o.Batch.on() {
			path = "split"
		}
		v.add(path, "does not go with keep_last: a batch or a part that is replaced takes messages with it that nothing replaces", "take keep_last out, or give the states that it is for a route of their own")
	}
	if int(o.Split) > 0 && o.Batch.on() && int(o.Split) < o.Batch.Limit(0) {
		v.add("split", fmt.Sprintf("%v is below the size of a batch: every full batch would be cut again", o.Split), "write more than the batch's size, such as 128KiB")
	}
	return v.problems
}

type validation struct{ problems []bridge.Problem }

func (v *validation) add(path, text, remedy string) {
	v.problems = append(v.problems, bridge.Problem{Path: path, Text: text, Remedy: remedy})
}

func (v *validation) closed(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.add(path, fmt.Sprintf("%q is not one of %s", value, strings.Join(allowed, ", ")), "choose one of them")
	}
}

// idle finds settings of a step that is off: whoever wrote them expects it to
// work.
func (v *validation) idle(path string, step, def any, switchOn string) {
	if !reflect.DeepEqual(step, def) {
		v.add(path, "has settings, but the step is off", "switch it on with "+switchOn+", or take them out")
	}
}

func (v *validation) batch(b Batch, r Around) {
	if b.Size != 0 && (b.Size < minBatchSize || b.Size > maxPayload) {
		v.add("batch.size", b.Size.String()+" is out of range", "write 0 or a size from 128B to 128KiB; 5KiB is one metered message")
	}
	if b.Units < 0 || b.Units > maxUnits {
		v.add("batch.units", fmt.Sprintf("%d is out of range", b.Units), fmt.Sprintf("write 0 to %d: a message of AWS has at most 128 KiB", maxUnits))
	}
	if b.Size != 0 && b.Units != 0 {
		v.add("batch.units", "and size both bound the batch", "keep one of them")
	}
	if b.Count < 0 || b.Count > bridge.MaxMembers {
		v.add("batch.count", fmt.Sprintf("%d is out of range", b.Count), fmt.Sprintf("write 0 to %d", bridge.MaxMembers))
	}
	if b.Count == 1 {
		v.add("batch.count", "1 makes a batch of every message, which only adds to it", "write 2 or more, or format: none")
	}
	if b.Age < minBatchAge || b.Age > maxBatchAge {
		v.add("batch.age", b.Age.String()+" is out of range", "write a duration from 100ms to 24h")
	}
	if r.TTL > 0 && b.Age >= r.TTL {
		v.add("batch.age", fmt.Sprintf("%v is not below the route's ttl (%v): messages would expire in the open batch", b.Age, r.TTL), "shorten age, or lengthen ttl")
	}
	if r.Retain {
		v.add("batch.format", "makes a batch of messages whose retain flag is kept: the batch would replace the retained message", "write retain: clear, or give retained messages a route of their own")
	}
}
