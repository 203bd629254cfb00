package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// cloudQueues are the queues of one upstream.
type cloudQueues struct {
	up, down []bridge.QueueRef
	own      map[string][]bridge.QueueRef // by the thing that has a connection of its own
	before   []bridge.Predecessor         // those of up that a thing's messages came to before

	inherited map[string]bridge.Place // by queue of own: up to where it is in up as well
}

// queuesOf lists an upstream's queues: those of its routes, and those that earlier
// routes have left behind, which go with the priority that they had. What a thing has left behind that had a
// connection of its own goes with its route, in the order of acceptance.
func (g *gateway) queuesOf(name string) (cloudQueues, error) {
	out := cloudQueues{own: map[string][]bridge.QueueRef{}}
	known := map[string]bridge.QueueRef{}
	things := map[string]bool{}
	for _, q := range g.table.Queues() {
		r := bridge.QueueRef{Name: q.Name, Priority: q.Priority}
		if q.Together {
			r.Together, _, _ = bridge.OwnedBy(q.Name) // with what things have left behind
		}
		if q.Direction == "up" {
			r.LiveFirst = q.LiveFirst
			r.Requests, r.Last = q.Route == rules.PassThroughRoute, g.keepLast(q.Name)
		}
		known[q.Name] = r
		switch {
		case q.Upstream != name:
		case q.Direction != "up":
			out.down = append(out.down, r)
		case q.Thing != "":
			out.own[q.Thing] = append(out.own[q.Thing], r)
			things[q.Thing] = true
		default:
			out.up = append(out.up, r)
			out.before = append(out.before, bridge.Predecessor{Queue: q.Name, Priority: q.Priority})
		}
	}
	shaped := map[string]bool{}
	all := g.spool.Queues()
	for _, s := range g.shapedOf(name) {
		shaped[bridge.RawQueue(s.Queue)] = true
		if _, _, own := bridge.OwnedBy(s.Queue); own {
			continue
		}
		priority := known[s.Queue].Priority
		if _, lives := known[s.Queue]; !lives {
			priority = g.lastPriority(s.Queue)
			if !slices.Contains(all, s.Queue) {
				all = append(all, s.Queue)
			}
		}
		out.before = append(out.before, bridge.Predecessor{Queue: bridge.RawQueue(s.Queue), Raw: true, Priority: priority})
	}
	for _, q := range g.router.Table().Queues() { // in force until this one is: nothing may have come yet
		if !slices.Contains(all, q.Name) {
			all = append(all, q.Name)
		}
	}
	for _, q := range all {
		if _, ok := known[q]; ok || shaped[q] {
			continue
		}
		g.leftBehind(&out, name, q, known, shaped, things)
	}
	return out, g.inherit(&out)
}

// inherit lets what things' queues hold from an earlier time, when they had
// connections of their own as well, go with their routes.
func (g *gateway) inherit(out *cloudQueues) error {
	var names []string
	refs := map[string]bridge.QueueRef{}
	for _, list := range out.own {
		for _, r := range list {
			names, refs[r.Name] = append(names, r.Name), r
		}
	}
	slices.Sort(names)
	var err error
	if out.inherited, err = bridge.Inherited(g.spool, names); err != nil {
		return fmt.Errorf("what things have sent by connections of their own before: %w", err)
	}
	for _, name := range names {
		if last := out.inherited[name]; last > 0 {
			r := refs[name]
			r.Until, r.LiveFirst = last, false
			out.up = append(out.up, r)
		}
	}
	return nil
}

// leftBehind adds a queue that no route fills any more.
func (g *gateway) leftBehind(out *cloudQueues, name, queue string, known map[string]bridge.QueueRef, shaped, things map[string]bool) {
	products, raw := bridge.IsRaw(queue)
	shared, thing, own := bridge.OwnedBy(products)
	up := strings.HasPrefix(products, "up/"+name+"/")
	waits := g.spool.Depth(queue).Records > 0 || g.fills(queue) || shaped[bridge.RawQueue(queue)]
	r := bridge.QueueRef{Name: queue, Priority: g.lastPriority(shared)}
	route, lives := known[shared]
	if own && lives {
		r.Priority, r.Requests, r.Together = route.Priority, route.Requests, route.Together
		if !raw {
			r.Last = g.keepLast(queue)
		}
	}
	if up && !lives && (shaped[bridge.RawQueue(shared)] || bridge.WasShaped(g.spool, shared)) { // perhaps into batches of several devices
		r.Together = shared
	}
	switch {
	case raw && up && own && shaped[bridge.RawQueue(shared)]:
		r.Name = products // there is a shaper, see shapersOf
		out.add(r, thing, things)
	case raw && up:
		out.add(r, thing, things) // nothing waits there; what is put back goes as it is
	case !waits && !own:
	case up:
		out.add(r, thing, things)
	case strings.HasPrefix(queue, "down/"+name+"/"):
		out.down = append(out.down, r)
	}
}

// add adds a queue to those of the thing that it belongs to, if that has a
// connection of its own, else to those of all.
func (c *cloudQueues) add(r bridge.QueueRef, thing string, things map[string]bool) {
	if thing == "" {
		c.before = append(c.before, bridge.Predecessor{Queue: r.Name, Priority: r.Priority})
	}
	named := func(q bridge.QueueRef) bool { return q.Name == r.Name }
	switch {
	case things[thing] && !slices.ContainsFunc(c.own[thing], named):
		c.own[thing] = append(c.own[thing], r)
	case !things[thing] && !slices.ContainsFunc(c.up, named):
		c.up = append(c.up, r)
	}
}

// fills reports whether the routes that are in force fill a queue.
func (g *gateway) fills(queue string) bool {
	return slices.ContainsFunc(g.router.Table().Queues(), func(q rules.Queue) bool { return q.Name == queue })
}

// lastPriority is that of a queue whose route has gone. When it is not known, it is
// what a route has that names none.
func (g *gateway) lastPriority(queue string) int {
	n, known, err := bridge.PriorityOf(g.spool, queue)
	if err != nil || !known {
		return rules.DefaultUpRoute().Priority
	}
	return n
}

// notePriorities keeps what lastPriority will ask for.
func (g *gateway) notePriorities() {
	of := map[string]int{}
	for _, q := range g.table.Queues() {
		shared, _, _ := bridge.OwnedBy(q.Name)
		of[shared] = q.Priority
	}
	if err := bridge.NotePriorities(g.spool, of); err != nil {
		g.log.Warn("the priorities of the routes cannot be written to the spool: what a route leaves behind may go out of its order", "error", err)
	}
}

// keepLast lets only the last messages of each topic wait in a queue, when its
// route says so.
func (g *gateway) keepLast(queue string) *bridge.KeepLast {
	n, exempt := g.table.KeepLast(queue)
	if n == 0 {
		return nil
	}
	return bridge.NewKeepLast(bridge.KeepLastConfig{Queue: queue, Last: n, Exempt: exempt}, g.spool, g.drops, g.health, g.log)
}

// goThrough lets routes that have lost their steps keep the queue that those needed,
// until a start that finds it empty: what waits in it is older than what comes, and so
// is what the table before still gives it while this one comes into force.
func (g *gateway) goThrough(table, before *rules.Table) {
	left := map[string]bool{}
	if before != nil {
		for _, s := range before.Shaped() {
			left[s.Queue] = true
		}
	}
	for _, q := range g.spool.Queues() {
		if products, raw := bridge.IsRaw(q); raw && g.spool.Depth(q).Records > 0 {
			shared, _, _ := bridge.OwnedBy(products)
			left[shared] = true
		}
	}
	table.Through(func(queue string) bool { return left[queue] })
}

// shapedOf lists an upstream's routes whose steps need a stage of their own, and then, with
// no steps, those that are gone and have left something that waited for theirs: what is a
// part of a window there is nothing that may be sent as it is.
func (g *gateway) shapedOf(name string) (out []rules.Shaped) {
	for _, s := range g.table.Shaped() {
		if s.Upstream == name {
			out = append(out, s)
		}
	}
	gone := func(products string) {
		shared, _, _ := bridge.OwnedBy(products)
		if strings.HasPrefix(shared, "up/"+name+"/") && !slices.ContainsFunc(out, func(s rules.Shaped) bool { return s.Queue == shared }) {
			out = append(out, rules.Shaped{Queue: shared, Upstream: name, Steps: rules.DefaultUpRoute().Steps})
		}
	}
	for _, q := range g.spool.Queues() {
		if products, raw := bridge.IsRaw(q); raw && g.spool.Depth(q).Records > 0 {
			gone(products)
		}
	}
	for _, s := range g.router.Table().Shaped() { // in force until this one is
		gone(s.Queue)
	}
	return out
}

// shapersOf makes the stages of an upstream's routes whose steps need one. Those of
// the things that have, or had, connections of their own are kin: what such a thing
// has sent to another queue before is given out before what it sends now.
func (g *gateway) shapersOf(name string) (out []*bridge.Shaper, raw []string) {
	left := map[string][]string{} // by the queue of the route
	table := g.shapedOf(name)
	for _, q := range g.spool.Queues() {
		products, isRaw := bridge.IsRaw(q)
		shared, _, own := bridge.OwnedBy(products)
		if isRaw && own && !slices.ContainsFunc(table, func(s rules.Shaped) bool { return s.Queue == products }) {
			left[shared] = append(left[shared], products)
		}
	}
	shaper := func(c bridge.ShaperConfig) {
		c.Files = g.files.path()
		out = append(out, bridge.NewShaper(c, g.spool, g.drops, g.health, g.log))
		raw = append(raw, bridge.RawQueue(c.Queue))
	}
	terms := shape.Terms{
		Unit:     int(g.cfg.Upstreams[name].Billing.Unit),
		Patience: func() time.Duration { return g.budgets.patience(name) },
	}
	line := func(s rules.Shaped) func() bridge.Line { return func() bridge.Line { return s.Line(terms) } }
	kin := map[string]*bridge.Kin{} // by the queue of the route, which comes before those of its things
	for _, s := range table {
		shared, _, own := bridge.OwnedBy(s.Queue)
		if !own {
			kin[shared] = bridge.NewKin()
		} else {
			kin[shared].Add(s.Queue, true)
		}
		shaper(bridge.ShaperConfig{Queue: s.Queue, Line: line(s), Kin: kin[shared]})
		for _, products := range left[s.Queue] {
			_, thing, _ := bridge.OwnedBy(products)
			kin[shared].Add(products, false)
			shaper(bridge.ShaperConfig{Queue: products, Line: line(s.For(thing)), Last: true, Kin: kin[shared]})
		}
	}
	return out, raw
}
