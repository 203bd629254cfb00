package shape

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/payload"
)

// Window makes one message of all that a topic brings in a stretch of time.
type Window struct {
	Every     time.Duration `koanf:"every" doc:"Length of a window, 1s to 24h; windows begin at whole multiples of it by the wall clock while that is synchronised. 0s: no windows."`
	Fields    []string      `koanf:"fields" doc:"Fields of the JSON or CBOR payload that are summed up, such as temp, data.temp or values[0]; . is the payload itself."`
	Functions []string      `koanf:"functions" doc:"What is told of each field, of first, last, min, max, avg and count; empty: all."`
}

func (w Window) on() bool { return w.Every != 0 }

// same reports whether two sum up alike.
func (w Window) same(o Window) bool {
	return w.Every == o.Every && slices.Equal(w.Fields, o.Fields) && slices.Equal(w.Functions, o.Functions)
}

var windowFunctions = []string{"first", "last", "min", "max", "avg", "count"}

// Bounds of windows.
const (
	minWindow = time.Second
	maxWindow = 24 * time.Hour
	maxFields = 32
	// A window that ends may still get messages whose commit is under way.
	windowGrace = 2 * time.Second
	// What has been summed up of an open window goes back into the raw queue as one
	// record when it is of foldAt records, and when the window ends of more than
	// foldLast: so windows of any length keep little in memory, release what they
	// have read, and end in one small commit.
	foldAt   = 256
	foldLast = 16
)

// typePartial marks a record that is a part of a window, together with an id of
// zeros, which no message of a device has.
const typePartial = "application/x-ebb-window"

// windower sums up the messages of each topic.
type windower struct {
	Window
	fields []payload.Field
	drop   bool
	apart  bool // see Terms
	raw    string
	open   map[source][]*window
	count  int
	held   int           // bytes of their topics
	next   time.Duration // none ends before
}

// window is one stretch of time of one topic.
type window struct {
	sum     aggregate
	first   *item // whose way the product goes
	device  string
	members []bridge.Member
	parts   int // partial records that are on their way back to us
}

func newWindower(o Window, drop bool, queue string, apart bool) *windower {
	w := &windower{Window: o, drop: drop, apart: apart, raw: bridge.RawQueue(queue), open: map[source][]*window{}, next: never}
	for _, text := range o.Fields {
		f, _ := payload.ParseField(text) // Validate has read it
		w.fields = append(w.fields, f)
	}
	return w
}

func (w *windower) take(it *item, next func(*item)) {
	if isPartial(it.rec) {
		w.takePartial(it, next)
		return
	}
	if it.order != joins {
		next(it)
		return
	}
	v, err := payload.Decode(it.rec.Payload)
	if err != nil {
		next(it.unread(w.drop))
		return
	}
	key := w.sourceOf(it)
	at := w.find(key, it.rec.Age)
	if at == nil {
		if w.count >= maxGroups || w.held > maxWaiting { // more topics than can be summed up go as they are
			next(it)
			return
		}
		at = w.begin(key, it)
	}
	at.sum.add(it.rec, w.fields, v)
	w.join(at, it, next)
}

// sourceOf is the stream that an item is summed up with.
func (w *windower) sourceOf(it *item) source {
	s := sourceOf(it)
	if w.apart {
		s.device = it.rec.Device
	}
	return s
}

// join makes an item a member of a window.
func (w *windower) join(at *window, it *item, next func(*item)) {
	if at.first == nil {
		rec := *it.rec
		rec.Payload, rec.Properties = nil, bridge.Properties{} // summed up: it need not be kept
		at.first, at.device = &item{rec: &rec, to: it.to}, rec.Device
	} else if at.device != it.rec.Device {
		at.device = several
	}
	at.members = append(at.members, it.members...)
	if len(at.members) >= foldAt {
		w.fold(at, next)
	}
}

// find is the window of a topic that an age falls into.
func (w *windower) find(key source, age time.Duration) *window {
	for _, x := range w.open[key] {
		if age >= x.sum.Start && age < x.sum.End {
			return x
		}
	}
	return nil
}

// begin opens the window that a record falls into. It ends at a whole multiple of
// its length by the wall clock, when that is good; an end is an age from then on,
// so that a clock that jumps moves no window.
func (w *windower) begin(key source, it *item) *window {
	start := it.rec.Age
	if it.rec.Synced {
		start -= time.Duration(it.rec.Wall.UnixNano() % int64(w.Every))
	}
	end := start + w.Every
	for _, x := range w.open[key] { // another cut of the clock may overlap
		if x.sum.End <= it.rec.Age {
			start = max(start, x.sum.End)
		}
	}
	return w.push(key, &window{sum: aggregate{Topic: it.rec.Topic, Start: start, End: end}})
}

func (w *windower) push(key source, x *window) *window {
	w.open[key] = append(w.open[key], x)
	w.held += key.size()
	w.next = min(w.next, x.sum.End+windowGrace)
	w.count++
	return x
}

// fold gives a partial record back to the raw queue for what is summed up.
func (w *windower) fold(x *window, next func(*item)) {
	rec, to := *x.first.rec, *x.first.to
	rec.Properties, rec.ID = bridge.Properties{ContentType: typePartial}, bridge.MessageID{}
	x.sum.By = &w.Window
	rec.Payload, rec.Device = x.sum.encode(), x.device
	rec.Age, to.Queue = x.sum.FirstAge, w.raw
	next(&item{rec: &rec, to: &to, members: x.members, order: back, into: x.sum.ID})
	x.sum = aggregate{Topic: x.sum.Topic, Start: x.sum.Start, End: x.sum.End}
	x.first, x.members = nil, nil
	x.parts++
}

func isPartial(r *bridge.Record) bool {
	return r.ContentType == typePartial && r.ID == bridge.MessageID{}
}

// summedUp is a part as the message of a window of its own, as it was to be summed up: the
// route's windows are others now, or it has none any more. What cannot be read, of another
// version of this program, stays as it is.
func (it *item) summedUp() *item {
	part, err := decodeAggregate(it.rec.Payload)
	if err != nil {
		return it
	}
	it.of(part)
	var functions []string
	if part.By != nil {
		functions = part.By.Functions
	}
	x := &window{sum: *part, first: &item{rec: it.rec, to: it.to}, device: it.rec.Device, members: it.members}
	it = x.product(functions)
	it.order = alone
	return it
}

// of notes in which message the members of a part go on: where it goes.
func (it *item) of(part *aggregate) {
	for i := range it.members { // what was told to be in part.ID is where this goes
		it.members[i].ID = part.ID
	}
}

// takePartial puts a part back into its window. After a restart that is not open
// yet, or with an end that is a little off, when the clock has been corrected. A reload
// that changes the windows ends those that there were.
func (w *windower) takePartial(it *item, next func(*item)) {
	part, err := decodeAggregate(it.rec.Payload)
	if err != nil || part.By != nil && !part.By.same(w.Window) {
		next(it.summedUp())
		return
	}
	key := w.sourceOf(it)
	var at *window
	best := (part.End - part.Start) / 2
	for _, x := range w.open[key] {
		if overlap := min(x.sum.End, part.End) - max(x.sum.Start, part.Start); overlap > best {
			at, best = x, overlap
		}
	}
	if at == nil {
		at = w.push(key, &window{sum: aggregate{Topic: part.Topic, Start: part.Start, End: part.End}})
	}
	at.parts = max(at.parts-1, 0)
	it.of(part)
	at.sum.merge(part)
	w.join(at, it, next)
}

// ripe ends the windows whose time is over.
func (w *windower) ripe(now time.Duration, next func(*item)) time.Duration {
	if now < w.next {
		return w.next
	}
	due, asked := never, false
	for _, key := range w.keys() {
		left := w.open[key][:0]
		for _, x := range w.open[key] {
			switch at := x.sum.End + windowGrace; {
			case now < at:
				due = min(due, at)
			case x.parts > 0:
				asked = true // the rest of it is in the queue, and comes with the next reading
			case len(x.members) > foldLast:
				w.fold(x, next)
				asked = true
			default:
				next(x.product(w.Functions))
				w.count--
				w.held -= key.size()
				continue
			}
			left = append(left, x)
		}
		if w.open[key] = left; len(left) == 0 {
			delete(w.open, key)
		}
	}
	if w.next = due; asked {
		w.next = now
	}
	return due
}

// keys are the topics in a fixed order.
func (w *windower) keys() []source {
	keys := make([]source, 0, len(w.open))
	for k := range w.open {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b source) int {
		return slices.Compare([]string{a.topic, a.to, a.device}, []string{b.topic, b.to, b.device})
	})
	return keys
}

// product is the message of a window, with the functions that were asked for.
func (x *window) product(functions []string) *item {
	rec, to := *x.first.rec, *x.first.to
	rec.Properties = bridge.Properties{ContentType: typeJSON}
	rec.Payload = x.sum.report(functions)
	rec.ID, rec.Instant = x.sum.ID, x.sum.From.instant()
	if rec.Device = x.device; x.device == several {
		rec.Thing = ""
	}
	return &item{rec: &rec, to: &to, members: x.members}
}

func (v *validation) window(w Window, o Options, r Around) {
	if w.Every < minWindow || w.Every > maxWindow {
		v.add("window.every", w.Every.String()+" is out of range", "write a duration from 1s to 24h")
	}
	if len(w.Fields) == 0 || len(w.Fields) > maxFields {
		v.add("window.fields", fmt.Sprintf("has %d entries", len(w.Fields)), fmt.Sprintf("name 1 to %d fields of the payload, or . for the payload itself", maxFields))
	}
	for i, f := range w.Fields {
		v.field(fmt.Sprintf("window.fields[%d]", i), f)
	}
	for i, f := range w.Functions {
		v.closed(fmt.Sprintf("window.functions[%d]", i), f, windowFunctions...)
	}
	if r.TTL > 0 && w.Every+windowGrace >= r.TTL {
		v.add("window.every", fmt.Sprintf("%v is not below the route's ttl (%v): messages would expire in the open window", w.Every, r.TTL), "shorten every, or lengthen ttl")
	}
	if r.Retain {
		v.add("window.every", "sums up messages whose retain flag is kept: the sum would replace the retained message", "write retain: clear, or give retained messages a route of their own")
	}
	if o.Deadband.on() {
		v.add("window.every", "sums up what the deadband leaves: an average of changes only", "keep one of window and deadband")
	}
}
