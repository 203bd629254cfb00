package billing

import (
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// Treatment is another way to send what a route has sent.
type Treatment struct {
	BasicIngest bool // straight to a rule: the message is free, its rule and action are not (M16)
	ClearRetain bool // without the retain flag (M10)
	MQTT3       bool // over MQTT 3.1.1, which has no properties
	NoOrigin    bool // without the origin's user properties
	Batch       Batch
}

// Batch puts messages of one topic into one, until the next would make it larger
// than Limit, or Count or Age is reached. The zero Batch is none.
type Batch struct {
	Limit  int           // bytes that are metered of a batch, its topic included
	Count  int           // messages; 0: as many as fit
	Age    time.Duration // how long the first waits for others; 0: for ever
	Fixed  int           // bytes of the format for a batch: 2 for the brackets of JSON
	Record int           // bytes of the format for each message: 1 for the comma or the line's end
}

func (b Batch) on() bool { return b.Limit > 0 }

// originSize is about what the origin's user properties take: five names, an id,
// a time, the quality of the clock, and names of a device and a thing of 12 bytes.
const originSize = 157

// maxPacked bounds how many messages are packed to see how full batches get: the
// rest goes on like them.
const maxPacked = 20_000

// Usage is what the traffic would have been billed, were it treated in a way, in
// units of so many bytes; rule says what is declared to happen with each message.
func (t Traffic) Usage(how Treatment, unit int64, rule DeclaredRule) Usage {
	n, units, retained := t.metered(how, unit)
	u := Usage{}
	if how.BasicIngest || IsBasicIngest(t.Topic) {
		u.Rules, u.Actions = units*int64(max(1, rule.Rules)), units*int64(max(1, rule.Rules, rule.Actions))
		return u
	}
	u = rule.usage(units, n)
	u.Messages += units
	if !how.ClearRetain && !how.Batch.on() {
		u.Messages += retained
	}
	return u
}

// metered is how many messages there are, what units they make, and what the
// retained ones make again.
func (t Traffic) metered(how Treatment, unit int64) (messages, units, retained int64) {
	cells := t.Sizes.Cells()
	for i := range cells {
		c := &cells[i]
		switch {
		case how.MQTT3:
			c.Rest = 0
		case how.NoOrigin:
			c.Rest = max(0, c.Rest-originSize*c.Messages)
		}
	}
	if how.Batch.on() {
		return t.packed(cells, how.Batch, unit)
	}
	for _, c := range cells {
		each := Units(int((c.Payload+c.Topic+c.Rest)/c.Messages), unit)
		messages += c.Messages
		units += c.Messages * each
		retained += c.Retained * each
	}
	return messages, units, retained
}

// packed packs messages into batches, in an order that mixes the sizes evenly.
// What a batch carries of topic and properties is that of one message.
func (t Traffic) packed(cells []sizes.Cell, b Batch, unit int64) (batches, units, retained int64) {
	total := int64(0)
	for _, c := range cells {
		total += c.Messages
	}
	if total == 0 {
		return 0, 0, 0
	}
	most := b.Count
	if b.Age > 0 { // those that come while the first waits
		if young := 1 + int(t.perSecond(total)*b.Age.Seconds()); most == 0 || young < most {
			most = young
		}
	}
	// Only full batches tell how full they get: the last one of the sample is left
	// out, unless it holds all there is.
	var open, full pack
	owed := make([]int64, len(cells))
	sample := min(total, maxPacked)
	for range sample {
		c := next(cells, owed, total)
		payload := int(c.Payload/c.Messages) + b.Record
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
	return scale(full.batches), scale(full.units), 0
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

// next is the cell of the next message: that which is owed most.
func next(cells []sizes.Cell, owed []int64, total int64) *sizes.Cell {
	best := 0
	for i := range cells {
		owed[i] += cells[i].Messages
		if owed[i] > owed[best] {
			best = i
		}
	}
	owed[best] -= total
	return &cells[best]
}

// perSecond is the rate of the messages while there were some.
func (t Traffic) perSecond(messages int64) float64 {
	return float64(messages) / (time.Duration(max(1, t.Hours)) * time.Hour).Seconds()
}

// BatchFormat is what a format of batches adds: bytes around a batch and for
// each message in it.
func BatchFormat(format string, payload int) (fixed, record int, ok bool) {
	switch format {
	case "json":
		return 1, 1, true // two brackets, and a comma less than there are messages
	case "ndjson":
		return 0, 1, true
	case "length_prefixed":
		n := 1
		for ; payload >= 1<<7; payload >>= 7 {
			n++
		}
		return 0, n, true
	case "raw":
		return 0, 0, true
	}
	return 0, 0, false
}
