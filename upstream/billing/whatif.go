package billing

import (
	"container/heap"
	"math"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// Treatment is another way to send what a route has sent.
type Treatment struct {
	BasicIngest bool   // straight to a rule: the message is free, its rule and action are not (M16)
	Prefix      int    // bytes that BasicIngest puts before the topic, $aws/rules/NAME/; 0: it has them already
	Longer      int    // bytes that the topic gets besides; below 0 it loses them
	ClearRetain bool   // without the retain flag (M10)
	NoOrigin    bool   // without the origin's user properties
	Was, Then   Origin // how the origin travelled, and how it would; the same for no change
	Protocol    string
	Thin        Thinning
	Batch       Batch
}

// asItIs is the treatment that changes nothing.
func (t Traffic) asItIs() Treatment { return Treatment{BasicIngest: IsBasicIngest(t.Topic)} }

// The values of Treatment.Protocol; empty is what it was sent over.
const (
	ProtocolMQTT5 = "mqtt5"
	ProtocolMQTT3 = "mqtt3" // has no properties (M06)
	ProtocolHTTPS = "https" // topics are free, answers are not (M18)
)

// Batch puts messages of one topic into one, until the next would make it larger
// than Limit, or Count or Age is reached. The zero Batch is none. Messages are taken
// to come evenly to each of the topics below a prefix.
type Batch struct {
	Limit  int           // bytes that are metered of a batch, its topic included
	Count  int           // messages; 0: as many as fit
	Age    time.Duration // how long the first waits for others; 0: for ever
	Fixed  int           // bytes of the format for a batch: 2 for the brackets of JSON
	Type   int           // bytes of its content type, which MQTT 3.1.1 does not carry
	Record int           // bytes of the format for each message: 1 for the comma or the line's end
	Shared bool          // all go to one topic; else to those that they had
	Text   bool          // what is not JSON stands as base64
	Own    bool          // each message carries its device's user properties, in an envelope; else those with others share none
}

func (b Batch) on() bool { return b.Limit > 0 }

// originSize is about what the origin's user properties take where the ledger tells no
// device: five names, an id, a time, the quality of the clock, and names of a device and a
// thing of 12 bytes.
const originSize = 157

// maxPacked bounds how many messages are packed to see how full batches get: the
// rest goes on like them.
const maxPacked = 20_000

// Usage is what the traffic would have been billed, were it treated in a way, in
// units of so many bytes; rules are what is declared to happen with each message.
func (t Traffic) Usage(how Treatment, unit int64, rules []DeclaredRule) Usage {
	return t.usage(t.sent(how, unit), rules)
}

func (t Traffic) usage(n sending, rules []DeclaredRule) Usage {
	u := declaredFor(rules, n.processed, n.messages)
	if n.basic || IsBasicIngest(t.Topic) { // its rule runs on when it leaves Basic Ingest
		u = declaredBasic(rules, n.processed)
	}
	return u.Plus(Usage{Messages: n.metered})
}

// sending is what traffic comes to when it is treated in some way.
type sending struct {
	messages  int64 // that are sent
	processed int64 // units of them, each once: what rules are charged by
	metered   int64 // messages on the bill, with retained copies and answers
	basic     bool
}

func (t Traffic) sent(how Treatment, unit int64) (n sending) {
	cells := t.treated(how)
	if how.Batch.on() {
		b := how.batch()
		n.messages, n.processed = t.packed(t.records(cells, b), b, unit)
	} else {
		for _, c := range cells {
			n.messages += c.Messages
			n.processed += c.Messages * unitsOf(c, unit)
		}
	}
	return t.metered(n, cells, how, unit)
}

// unitsOf is how many units each message of a cell takes.
func unitsOf(c sizes.Cell, unit int64) int64 {
	return Units(int((c.Payload+c.Topic+c.Rest)/c.Messages), unit)
}

// requests reports whether the traffic goes over HTTP when it is treated in a way.
func (t Traffic) requests(how Treatment) bool {
	return how.Protocol == ProtocolHTTPS || how.Protocol == "" && t.HTTP
}

// batch is that of a treatment, as its protocol carries it.
func (how Treatment) batch() Batch {
	b := how.Batch
	if how.Protocol != ProtocolMQTT3 {
		b.Fixed += b.Type
	}
	b.Text = b.Text && (how.Was == how.Then || !how.Then.envelope) // an envelope is JSON
	return b
}

// treated are the cells of the messages as they would be before they are batched.
func (t Traffic) treated(how Treatment) []sizes.Cell {
	longer := how.Longer // that the topics get
	if how.BasicIngest {
		longer += how.Prefix
	}
	if was := BasicIngestRule(t.Topic); was != "" && (!how.BasicIngest || how.Prefix > 0) {
		longer -= BasicIngestPrefix(was)
	}
	cells := t.thinned(how.Thin, how.Protocol == ProtocolMQTT3)
	how.Was.as(how.Then, cells, t.notJSON(), how.Batch.on())
	for i := range cells {
		c := &cells[i]
		switch {
		case how.Protocol == ProtocolMQTT3:
			c.Rest = 0
		case how.NoOrigin:
			c.Rest = max(0, c.Rest-t.originSize()*c.Messages)
		}
		switch {
		case t.requests(how):
			c.Topic = 0
		default:
			c.Topic = max(0, c.Topic+int64(longer)*c.Messages)
		}
	}
	return cells
}

// metered puts onto what is sent of cells what is metered of it.
func (t Traffic) metered(n sending, cells []sizes.Cell, how Treatment, unit int64) sending {
	n.basic = how.BasicIngest
	if !n.basic {
		n.metered = n.processed
		if !how.ClearRetain { // what batches would save of these is saved by clearing the flag, not by batching
			for _, c := range cells {
				n.metered += c.Retained * unitsOf(c, unit)
			}
		}
	}
	switch recorded := t.Sizes.Messages(); {
	case !t.requests(how) || recorded == 0:
	case t.HTTP: // each request gets an answer as long as it got
		n.metered += (t.Answers*n.messages + recorded - 1) / recorded
	default: // none that is larger than a unit
		n.metered += n.messages
	}
	return n
}

// records are cells as their messages stand in a batch: with what its format adds to each.
func (t Traffic) records(cells []sizes.Cell, b Batch) []sizes.Cell {
	out, wrap := slices.Clone(cells), t.notJSON()
	for i := range out {
		c := &out[i]
		c.Payload += int64(b.Record) * c.Messages
		if b.Text { // which of the sizes have it is not recorded: each has its part
			c.Payload += int64(float64(c.Payload/c.Messages/3+wrapped)*wrap) * c.Messages
		}
	}
	return out
}

// packed packs messages into batches, in an order that mixes the sizes evenly. What goes
// alone is taken to close a batch each.
// What a batch carries of topic and properties is that of one message; cells are records.
func (t Traffic) packed(cells []sizes.Cell, b Batch, unit int64) (batches, units int64) {
	total := int64(0)
	for _, c := range cells {
		total += c.Messages
	}
	if total == 0 {
		return 0, 0
	}
	most := b.Count
	own, changes := t.Sizes.Own()
	if b.Own {
		own, changes = 0, 0
	}
	if b.Age > 0 { // those that come while the first waits
		rate := t.perSecond(total)
		switch {
		case own > 0:
			rate /= float64(max(1, t.Sizes.Alike()))
		case !b.Shared:
			rate /= max(1, t.Sizes.TopicsAtMost()) // with fewer than there are, what age has closed would go together
		}
		if young := 1 + int(rate*b.Age.Seconds()); most == 0 || young < most {
			most = young
		}
	}
	// Only full batches tell how full they get: the last one of the sample is left
	// out, unless it holds all there is.
	var open, full pack
	mixed := turnsOf(cells, total)
	sample := min(total, maxPacked)
	change, changed := float64(changes)/float64(max(1, t.Sizes.Messages()))+float64(t.alone)/float64(total), 0.0
	for range sample {
		if changed += change; changed >= 1 && open.messages > 0 { // an open batch goes first
			full.close(&open, unit)
			changed--
		}
		c := mixed.next()
		payload := int(c.Payload / c.Messages)
		around := int((c.Topic+c.Rest)/c.Messages) + b.Fixed
		if open.messages > 0 && (open.size+payload > b.Limit || most > 0 && open.messages >= int64(most)) {
			full.close(&open, unit)
		}
		if open.messages == 0 {
			open.size = around
		}
		open.size += payload
		open.messages++
	}
	if sample == total || full.messages == 0 {
		full.close(&open, unit)
	}
	scale := func(n int64) int64 { return (n*total + full.messages - 1) / full.messages }
	return scale(full.batches), scale(full.units)
}

// pack is an open batch, or the sum of those that are closed.
type pack struct {
	size                     int
	messages, batches, units int64
}

func (p *pack) close(open *pack, unit int64) {
	p.messages += open.messages
	p.batches++
	p.units += Units(open.size, unit)
	*open = pack{}
}

// turns gives out cells in an order that mixes them evenly: each again when its part
// of all messages has gone by, those of one frequency apart from each other, as large
// messages come between small ones. It is a heap, the next first.
type turns []turn

type turn struct {
	cell      *sizes.Cell
	due, each float64 // messages of all cells
}

// golden is the golden ratio: its multiples are spread evenly between whole numbers,
// however many there are.
const golden = 0.6180339887498949

func turnsOf(cells []sizes.Cell, total int64) turns {
	t := make(turns, 0, len(cells))
	for i := range cells {
		each := float64(total) / float64(cells[i].Messages)
		_, phase := math.Modf(float64(i+1) * golden)
		t = append(t, turn{&cells[i], each * phase, each})
	}
	heap.Init(&t)
	return t
}

// next is the cell of the next message.
func (t *turns) next() *sizes.Cell {
	first := &(*t)[0]
	c := first.cell
	first.due += first.each
	heap.Fix(t, 0)
	return c
}

func (t turns) Len() int      { return len(t) }
func (t turns) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t turns) Push(any)      {}
func (t turns) Pop() any      { return nil }

// Less implements [heap.Interface].
func (t turns) Less(i, j int) bool { return t[i].due < t[j].due }

// perSecond is the rate of the messages while there were some.
func (t Traffic) perSecond(messages int64) float64 {
	passed := time.Duration(max(1, t.Hours))*ledgerHour - t.ahead
	return float64(messages) / max(passed, time.Minute).Seconds()
}

// wrapped is what {"base64":""} adds to a payload, and base64 fills up at its end.
const wrapped = 15

// BatchType is the content type of batches of a format, empty for none.
func BatchType(format string) string {
	switch format {
	case "json":
		return "application/json"
	case "ndjson":
		return "application/jsonl"
	case "length_prefixed":
		return "application/x-length-prefixed"
	}
	return ""
}

// BatchFormat is a batch of a format: what it adds around the messages and to each
// of them, whose payload has so many bytes.
func BatchFormat(format string, payload int) (b Batch, ok bool) {
	switch format {
	case "json":
		return Batch{Fixed: 1, Record: 1, Type: len(BatchType(format)), Text: true}, true // two brackets, and a comma less than there are messages
	case "ndjson":
		return Batch{Record: 1, Type: len(BatchType(format)), Text: true}, true
	case "length_prefixed":
		n := 1
		for ; payload >= 1<<7; payload >>= 7 {
			n++
		}
		return Batch{Record: n, Type: len(BatchType(format))}, true
	case "raw":
		return Batch{}, true
	}
	return Batch{}, false
}
