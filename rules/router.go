package rules

import (
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// Router routes by the table that is in force. It is safe for concurrent use
// and implements [bridge.Router].
type Router struct {
	table     atomic.Pointer[Table]
	undecided atomic.Pointer[Undecided]
}

var _ bridge.Router = (*Router)(nil)

// NewRouter starts with a table.
func NewRouter(t *Table) *Router {
	r := &Router{}
	r.table.Store(t)
	return r
}

// Table is the table in force.
func (r *Router) Table() *Table { return r.table.Load() }

// Swap puts a new table in force. Messages that are being routed finish with
// the old one.
func (r *Router) Swap(t *Table) { r.table.Store(t) }

// OnUndecided sets who is told of messages whose condition could not be decided.
// It is called from every goroutine that routes, and must not block.
func (r *Router) OnUndecided(tell Undecided) { r.undecided.Store(&tell) }

// Up routes what a device published, see [Table.Up], and tells what the steps of
// the routes have left out.
func (r *Router) Up(p *bridge.Principal, m *bridge.Message) ([]bridge.Receiver, []bridge.Turned, error) {
	var tell Undecided
	if t := r.undecided.Load(); t != nil {
		tell = *t
	}
	t := r.table.Load()
	return t.up.route(m, source{m.Topic, p.ClientID, p.Thing.Name}, t.all, tell)
}

// Down routes what an upstream sent, see [Table.Down].
func (r *Router) Down(upstream string, m *bridge.Message) ([]bridge.Receiver, error) {
	return r.table.Load().Down(upstream, m)
}

// Takes names the upstream that a topic of the site goes up to, see
// [Table.Takes].
func (r *Router) Takes(topic string) (upstream string, ok bool) { return r.table.Load().Takes(topic) }

// Takes names the upstream that a topic of the site goes up to, that of the
// first route when several take it. Nothing is looked at but the topic.
func (t *Table) Takes(topic string) (upstream string, ok bool) {
	var hit idSet
	t.up.trie.match(topic, &hit)
	first := hit.next(1)
	if first < 0 || hit.has(localOnly) {
		return "", false
	}
	return t.up.routes[first-1].upstream, true
}

// Up lists the receivers of what p published: none when no route takes it or
// it is local-only, or when the route that takes it leaves it out of its sample.
// It fails with kind TopicInvalid, for all receivers, when
// one route cannot make its topic, the message has passed bridge.MaxHops
// gateways, or more than bridge.MaxReceivers routes take it.
func (t *Table) Up(p *bridge.Principal, m *bridge.Message) ([]bridge.Receiver, error) {
	to, _, err := t.up.route(m, source{m.Topic, p.ClientID, p.Thing.Name}, t.all, nil)
	return to, err
}

// Down lists the receivers of what an upstream sent: none when no route takes
// it. It fails as Up does.
func (t *Table) Down(upstream string, m *bridge.Message) ([]bridge.Receiver, error) {
	x := t.down[upstream]
	if x == nil {
		return nil, nil
	}
	to, _, err := x.route(m, source{topic: m.Topic}, t.all, nil)
	return to, err
}

// route finds the receivers, and which routes have left the message out. One that
// its condition makes no route's at all is left out by the first that asked.
func (x *index) route(m *bridge.Message, s source, all bool, tell Undecided) (out []bridge.Receiver, turned []bridge.Turned, err error) {
	var hit idSet
	x.trie.match(m.Topic, &hit)
	first := hit.next(1)
	if first < 0 || hit.has(localOnly) {
		return nil, nil, nil
	}
	if n := bridge.Hops(m); n >= bridge.MaxHops {
		return nil, nil, bridge.Errorf("route", bridge.TopicInvalid, "loop: the message has passed %d gateways", n)
	}
	var passed *bridge.Turned
	for id := first; id >= 0; id = hit.next(id + 1) {
		r := &x.routes[id-1]
		verdict := r.takes(m, s, tell)
		queue, template := r.path(m)
		if _, own := x.own[owner{r.upstream, s.thing}]; own {
			queue = bridge.OwnQueue(queue, s.thing)
		}
		switch {
		case verdict == sampledOut:
			turned = append(turned, bridge.Turned{Queue: queue, Fate: bridge.Consumed, Why: stepSample})
		case verdict == elsewhere && passed == nil:
			passed = &bridge.Turned{Queue: queue, Fate: bridge.Consumed, Why: stepWhere}
		case verdict == undecided && passed == nil:
			passed = &bridge.Turned{Queue: queue, Fate: bridge.Dropped, Why: reasonUndecided}
		case verdict == taken:
			topic, err := template.expand(s, r.limits)
			if err != nil {
				return nil, nil, bridge.Errorf("route", bridge.TopicInvalid, "route %q: %w", r.name, err)
			}
			if len(out) == bridge.MaxReceivers {
				return nil, nil, bridge.Errorf("route", bridge.TopicInvalid, "more than %d routes take the topic, and a message goes to no more (match: all)", bridge.MaxReceivers)
			}
			if out == nil {
				out = make([]bridge.Receiver, 0, sizeOf(all, &hit))
			}
			out = append(out, bridge.Receiver{
				Queue: queue, Topic: topic, QoS: r.qos.of(m), Retain: r.keep && m.Retain, TTL: r.ttl, Origin: r.origin,
			})
		}
		if !all && (verdict == taken || verdict == sampledOut) {
			break
		}
	}
	if passed != nil && len(out)+len(turned) == 0 {
		turned = append(turned, *passed)
	}
	return out, turned, nil
}

// sizeOf is how many receivers there can be.
func sizeOf(all bool, hit *idSet) int {
	if all {
		return min(hit.len(), bridge.MaxReceivers)
	}
	return 1
}
