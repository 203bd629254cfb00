package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// stepRow is one step of a route, or its undoing.
type stepRow struct {
	what    string
	prepare func() (func(i int), error) // makes what handles message i
	note    string
	part    int // so many times fewer messages than of the others are enough

	took, allocations *figure
}

// largePayload is what is split in the measurement: three parts of 128 KiB.
const largePayload = 300_000

func stepRows() []stepRow {
	steps := func(edit func(*shape.Options)) func() (func(int), error) {
		return func() (func(int), error) { return throughLine(edit), nil }
	}
	format := func(o *shape.Options) { o.Batch.Format = shape.JSON }
	packed := func(codec string) func(*shape.Options) {
		return func(o *shape.Options) { o.Batch.Format, o.Compress = shape.JSON, codec }
	}
	window := func(o *shape.Options) { o.Window = shape.Window{Every: time.Minute, Fields: []string{"temp", "rpm"}} }
	return []stepRow{
		{what: "route without steps", prepare: throughRoute(func(*rules.UpRoute) {}), note: "what the next three come on top of"},
		{what: "where, on the topic", prepare: throughRoute(func(u *rules.UpRoute) { u.Where = `levels[2] == "site1"` })},
		{what: "where, on JSON", prepare: throughRoute(func(u *rules.UpRoute) { u.Where = "payload.temp > 0.0 && payload.rpm > 0" })},
		{what: "sample", prepare: throughRoute(func(u *rules.UpRoute) { u.Sample.OneIn = 10 })},
		{what: "deadband", prepare: steps(func(o *shape.Options) { o.Deadband = shape.Deadband{Field: "temp", Absolute: 0.5} })},
		{what: "window", prepare: steps(window)},
		{what: "batch json", prepare: steps(format)},
		{what: "batch length_prefixed", prepare: steps(func(o *shape.Options) { o.Batch.Format = shape.LengthPrefixed })},
		{what: "batch json, gzip", prepare: steps(packed(shape.Gzip))},
		{what: "batch json, zstd", prepare: steps(packed(shape.Zstd))},
		{what: "gzip alone", prepare: steps(func(o *shape.Options) { o.Compress = shape.Gzip })},
		{what: "zstd alone", prepare: steps(func(o *shape.Options) { o.Compress = shape.Zstd })},
		{what: "split, of what is small enough", prepare: steps(func(o *shape.Options) { o.Split = 128 << 10 })},
		{what: "split, of 300 kB in three parts", prepare: splitting, note: "a message of 300 kB", part: 100},
		{what: "decode, batch json", prepare: decoding(format)},
		{what: "decode, batch json, gzip", prepare: decoding(packed(shape.Gzip))},
		{what: "decode, batch json, zstd", prepare: decoding(packed(shape.Zstd))},
	}
}

// measureSteps is the second part of U5: what each step of a route costs a message.
func (b *bench) measureSteps(ctx context.Context) error {
	rows := stepRows()
	for i := range rows {
		r := &rows[i]
		r.took = b.report.add(figure{Item: "U5", What: "step: " + r.what, Unit: "ns", Note: r.note})
		r.allocations = b.report.add(figure{What: "  allocations"})
	}
	b.note("U5: nanoseconds and allocations a message, with garbage collection, of %s readings of %d bytes from %d devices, without the spool: a route with steps writes each message once more, in its product. Steps behind the spool count the record that they are given; the split of small messages is hardly more than that.",
		number(float64(b.Steps)), readingSize, manySensors)
	return b.eachRun(ctx, partSteps, func(run string) error {
		for _, r := range rows {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			handle, err := r.prepare()
			if err != nil {
				return fmt.Errorf("%s: %w", r.what, err)
			}
			took, allocations := perCall(handle, b.Steps/max(r.part, 1))
			r.took.Ours, r.allocations.Ours = append(r.took.Ours, took), append(r.allocations.Ours, allocations)
			b.say("%s: %s: %s ns, %s allocations", run, r.what, number(took), number(allocations))
		}
		return nil
	})
}

// perCall calls handle n times, after a warm-up, and returns what a call takes.
func perCall(handle func(i int), n int) (nanoseconds, allocations float64) {
	for i := range n / 10 {
		handle(i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	for i := range n {
		handle(n/10 + i)
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return float64(took.Nanoseconds()) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)
}

// pool is how many different readings go round.
const pool = 4000

// messages are readings as devices publish them.
func messages() []bridge.Message {
	made, out := newReadings(1), make([]bridge.Message, pool)
	for i := range out {
		out[i] = bridge.Message{Topic: readingTopic(i%manySensors, shortTopic), Payload: []byte(made.next()), QoS: 1}
	}
	return out
}

// throughRoute asks a table with one route where messages go.
func throughRoute(edit func(*rules.UpRoute)) func() (func(int), error) {
	return func() (func(int), error) {
		u := rules.DefaultUpRoute()
		u.Name, u.From, u.Upstream = "telemetry", "dt/#", "cloud"
		edit(&u)
		o := rules.DefaultOptions()
		o.Up = []rules.UpRoute{u}
		table, err := rules.Compile(o)
		if err != nil {
			return nil, err
		}
		router, all, p := rules.NewRouter(table), messages(), &bridge.Principal{ClientID: clientName(0)}
		if to, _, err := router.Up(p, &all[0]); err != nil || len(to) != 1 {
			return nil, errors.Join(err, fmt.Errorf("the first message goes to %d queues", len(to)))
		}
		return func(i int) {
			_, _, _ = router.Up(p, &all[i%pool]) // the first one went
		}, nil
	}
}

// throughLine gives records to the steps of a route.
func throughLine(edit func(*shape.Options)) func(i int) {
	o := shape.DefaultOptions()
	edit(&o)
	const queue = "up/cloud/telemetry"
	line, all := shape.New(o, false, queue, shape.Unit), messages()
	out := func(*bridge.Product) {}
	return func(i int) {
		age := time.Duration(i) * time.Second / manySensors
		line.Take(stored(all[i%pool], queue, i, age), out)
		if i%manySensors == 0 {
			line.Ripe(age, out)
		}
	}
}

// stored is a message as the spool would give it: what is made for it is the same
// with every step.
func stored(m bridge.Message, queue string, i int, age time.Duration) *bridge.Stored {
	r := &bridge.Record{Message: m}
	r.Device, r.Age, r.Wall, r.Synced = "load", age, time.Unix(1_760_000_000, 0).Add(age), true
	r.Receivers = []bridge.Receiver{{Queue: bridge.RawQueue(queue), Topic: "dt/all", QoS: 1, Origin: bridge.OriginBare}}
	return &bridge.Stored{Record: r, Receiver: &r.Receivers[0], Place: bridge.Place(i + 1), Seq: bridge.Seq(i + 1)}
}

// splitting cuts messages that are too large.
func splitting() (func(int), error) {
	o := shape.DefaultOptions()
	o.Split = 128 << 10
	const queue = "up/cloud/telemetry"
	line, payload, parts := shape.New(o, false, queue, shape.Unit), make([]byte, largePayload), 0
	out := func(p *bridge.Product) { parts = len(p.Records) }
	handle := func(i int) {
		line.Take(stored(bridge.Message{Topic: "dt/large", Payload: payload}, queue, i, 0), out)
	}
	if handle(0); parts != 3 {
		return nil, fmt.Errorf("%d parts", parts)
	}
	return handle, nil
}

// decoding undoes what steps have made of as many messages as there are.
func decoding(edit func(*shape.Options)) func() (func(int), error) {
	return func() (func(int), error) {
		o := shape.DefaultOptions()
		edit(&o)
		const queue = "up/cloud/telemetry"
		line, all := shape.New(o, false, queue, shape.Unit), messages()
		var made []shape.Received
		out := func(p *bridge.Product) {
			for _, r := range p.Records {
				m := bridge.Outgoing(&bridge.Stored{Record: r, Receiver: &r.Receivers[0]})
				made = append(made, shape.Received{Topic: m.Topic, Payload: m.Payload, ContentType: m.ContentType, User: m.User})
			}
		}
		for i := range all {
			line.Take(stored(all[i], queue, i, 0), out)
		}
		line.Ripe(time.Hour, out)
		count, next, owed := 0, 0, 0
		d := shape.Decoder{Batch: shape.Auto}
		take := func(one shape.Decoded) error {
			if count++; len(one.Payload) == 0 {
				return errors.New("a message came back empty")
			}
			owed++
			return nil
		}
		for _, m := range made {
			if err := d.Decode(m, take); err != nil {
				return nil, err
			}
		}
		if count != len(all) {
			return nil, fmt.Errorf("%d of %d messages came back", count, len(all))
		}
		owed = 0
		return func(int) { // a batch is undone when all of the one before are accounted for
			if owed--; owed < 0 {
				owed = 0
				_ = d.Decode(made[next], take) // it went before
				next = (next + 1) % len(made)
				owed--
			}
		}, nil
	}
}
