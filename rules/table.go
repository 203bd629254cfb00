package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/rules/where"
)

// Table is a compiled set of routes. It is immutable and safe for concurrent
// use.
type Table struct {
	all    bool
	up     index
	down   map[string]*index // by upstream
	queues []Queue
	shaped []Shaped
	subs   map[string][]string // filters, by upstream
	last   map[string]keepLast // by queue
	passes string              // upstream whose services devices reach
	own    map[string][]string // see Options.Own
}

// index is the routes of one direction (and upstream) under their filters.
// Local-only filters have id 0, route i has id i+1.
type index struct {
	trie   trie
	routes []route
	own    map[owner]struct{} // nil: nobody has a connection of its own
}

// owner is a thing that has a connection of its own to an upstream.
type owner struct{ upstream, thing string }

const localOnly = 0

// route is one route, ready for messages.
type route struct {
	name   string
	queue  string
	raw    string // what waits for the route's steps, empty without any
	exempt bool   // Sparkplug's messages pass the steps by
	entry
	upstream string
	topic    *template
	ingest   *template // topic, with Basic Ingest before it
	limits   limits
	qos      qos
	keep     bool // the retain flag
	ttl      time.Duration
	origin   bridge.OriginMode
}

// Queue is the durable queue of one route.
type Queue struct {
	Name      string // bridge.QueueName(Direction, Upstream, Route)
	Direction string // "up" or "down"
	Upstream  string
	Route     string
	Priority  int    // 0 to 9, a higher number goes first
	Thing     string // whose messages it holds alone; empty: all others'
	LiveFirst bool   // see UpRoute

	// Together says that what is in it may be made of messages of several devices.
	Together bool
}

// Compile makes a table, or fails with all problems of o.
func Compile(o Options) (*Table, error) {
	if ps := o.Validate(); len(ps) > 0 {
		lines := make([]string, len(ps))
		for i, p := range ps {
			lines[i] = p.Path + ": " + p.Text + "; " + p.Remedy
		}
		return nil, fmt.Errorf("routes: %s", strings.Join(lines, "\n"))
	}
	o = o.expanded()
	t := &Table{all: o.Match == "all", down: map[string]*index{}, subs: map[string][]string{}, last: map[string]keepLast{}, passes: o.PassThrough.Upstream, own: o.Own}
	t.up.own = owners(o.Own)
	for _, f := range o.LocalOnly {
		t.up.trie.add(mustFilter(f), localOnly)
	}
	for _, u := range o.Up {
		apart := mustTemplate(u.Topic, true).namesDevice()
		t.queue(Queue{Direction: "up", Upstream: u.Upstream, Route: u.Name, Priority: u.Priority, LiveFirst: u.LiveFirst, Together: u.Steps.Mixes() && !apart})
		t.keepLast(u)
		r := route{
			name: u.Name, queue: bridge.QueueName("up", u.Upstream, u.Name), upstream: u.Upstream,
			topic: mustTemplate(u.Topic, true), limits: limitsOf(o.TopicLimits, true),
			qos: parseQoS(u.QoS), keep: u.Retain == "keep", ttl: u.TTL, origin: originModes[u.Origin],
			exempt: !shape.Sparkplug(u.From), ingest: mustTemplate(ingestTopic(u), true),
			entry: entry{where: mustCondition(u.Where), skip: u.OnError == "drop", sampler: newSampler(u.Sample)},
		}
		if u.Steps.Any() {
			r.raw = bridge.RawQueue(r.queue)
			t.shaped = append(t.shaped, Shaped{Queue: r.queue, Upstream: u.Upstream, Steps: u.Steps, Drop: u.OnError == "drop", ttl: u.TTL, apart: apart})
		}
		t.up.add(u.From, r)
	}
	for _, d := range o.Down {
		t.queue(Queue{Direction: "down", Upstream: d.Upstream, Route: d.Name, Priority: d.Priority})
		if t.down[d.Upstream] == nil {
			t.down[d.Upstream] = &index{}
		}
		if !slices.Contains(t.subs[d.Upstream], d.From) {
			t.subs[d.Upstream] = append(t.subs[d.Upstream], d.From)
		}
		t.down[d.Upstream].add(d.From, route{
			name: d.Name, queue: bridge.QueueName("down", d.Upstream, d.Name), upstream: d.Upstream,
			ingest: mustTemplate(d.Topic, false), limits: limitsOf(o.TopicLimits, false),
			qos: parseQoS(d.QoS), keep: d.Retain == "keep", ttl: d.TTL,
		})
	}
	return t, nil
}

// queue notes a route's queue; those of pass-through share one.
func (t *Table) queue(q Queue) {
	q.Name = bridge.QueueName(q.Direction, q.Upstream, q.Route)
	if !slices.Contains(t.queues, q) {
		t.queues = append(t.queues, q)
	}
}

func (x *index) add(filter string, r route) {
	x.routes = append(x.routes, r)
	x.trie.add(mustFilter(filter), len(x.routes))
}

// Queues lists the queues of all routes, in the order of the file, up before
// down, and then those of things with a connection of their own.
func (t *Table) Queues() []Queue {
	out := slices.Clone(t.queues)
	for _, q := range t.queues {
		if q.Direction != "up" {
			continue
		}
		for _, thing := range t.own[q.Upstream] {
			mine := q
			mine.Name, mine.Thing = bridge.OwnQueue(q.Name, thing), thing
			out = append(out, mine)
		}
	}
	return out
}

func owners(own map[string][]string) map[owner]struct{} {
	if len(own) == 0 {
		return nil
	}
	out := map[owner]struct{}{}
	for upstream, things := range own {
		for _, thing := range things {
			out[owner{upstream, thing}] = struct{}{}
		}
	}
	return out
}

// Shaped is a route whose steps need a line of their own (package shape). What it
// takes waits in [bridge.RawQueue] of Queue.
type Shaped struct {
	Queue    string
	Upstream string
	Steps    shape.Options
	Drop     bool // what a step cannot read is dropped

	ttl   time.Duration // 0: none
	apart bool          // the topic at the upstream names the device
}

// Line makes the route's line, empty, on the terms of its upstream. Half of the
// route's time to live bounds the patience.
func (s Shaped) Line(terms shape.Terms) bridge.Line {
	if patience := terms.Patience; patience != nil && s.ttl > 0 {
		terms.Patience = func() time.Duration { return min(patience(), s.ttl/2) }
	}
	terms.Apart = s.apart
	return shape.New(s.Steps, s.Drop, s.Queue, terms)
}

// Shaped lists the routes with such steps, in the order of the file, and then the
// same for each thing with a connection of its own.
func (t *Table) Shaped() []Shaped {
	out := slices.Clone(t.shaped)
	for _, s := range t.shaped {
		for _, thing := range t.own[s.Upstream] {
			out = append(out, s.For(thing))
		}
	}
	return out
}

// For is the steps of the route for the messages of one thing alone.
func (s Shaped) For(thing string) Shaped {
	s.Queue = bridge.OwnQueue(s.Queue, thing)
	return s
}

// PassThrough is the upstream whose services devices reach, empty without.
func (t *Table) PassThrough() string { return t.passes }

// Subscriptions lists the filters that the down routes of an upstream subscribe to, each
// once, whatever their QoS on the site.
func (t *Table) Subscriptions(upstream string) []string { return slices.Clone(t.subs[upstream]) }

// qos is a route's QoS: 0, 1, or what the message had.
type qos int8

const published qos = -1

func parseQoS(s string) qos {
	if s == "published" {
		return published
	}
	n, _ := strconv.Atoi(s)
	return qos(n)
}

func (q qos) of(m *bridge.Message) byte {
	if q == published {
		return min(m.QoS, 1)
	}
	return byte(q)
}

var originModes = map[string]bridge.OriginMode{
	"none": bridge.OriginNone, "user_properties": bridge.OriginUserProperties, "envelope": bridge.OriginEnvelope,
	"bare": bridge.OriginBare,
}

// limitsOf are the limits of routed topics. AWS counts slashes only in what
// reaches it (Q14, Q15).
func limitsOf(name string, up bool) limits {
	switch {
	case name == "mqtt":
		return limits{bytes: 65535}
	case up:
		return limits{bytes: 256, slashes: 7}
	default:
		return limits{bytes: 256}
	}
}

// mustFilter, mustTemplate and mustCondition are for what Validate has accepted.
func mustFilter(s string) []level {
	f, err := parseFilter(s)
	if err != nil {
		panic("rules: " + err.Error())
	}
	return f
}

func mustTemplate(s string, device bool) *template {
	t, err := parseTemplate(s, device)
	if err != nil {
		panic("rules: " + err.Error())
	}
	return t
}

// mustCondition is nil for no condition.
func mustCondition(s string) *where.Condition {
	if s == "" {
		return nil
	}
	c, err := where.Compile(s)
	if err != nil {
		panic("rules: " + err.Error())
	}
	return c
}
