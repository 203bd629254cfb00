package localbroker

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// PassThrough says how devices reach AWS's services: shadows (B107), jobs and
// provisioning (B212).
type PassThrough struct {
	Services []string      // shadow, jobs, provisioning; empty: all
	Offline  string        // reject, silent or queue: what a request meets while the cloud is away
	Timeout  time.Duration // how long an answer is awaited, whole seconds
	InFlight int           // unanswered requests about one thing (Q56)
}

// The values of PassThrough.Offline.
const (
	offlineSilent = "silent"
	offlineQueue  = "queue"
)

var serviceNames = map[service]string{serviceShadow: "shadow", serviceJobs: "jobs", serviceProvisioning: "provisioning"}

// passThrough stands before the walk and looks after requests to services: who
// asked what, so that the answer finds its way, and what is answered in the
// cloud's stead. It keeps nothing on disk: an answer, which may hold a private
// key, goes to a live connection or nowhere.
type passThrough struct {
	Ingester
	broker  *Broker
	options atomic.Pointer[PassThrough] // nil: nothing passes
	open    openRequests
}

// PassThrough lets devices reach services from now on; with nil none can.
func (b *Broker) PassThrough(o *PassThrough) { b.passThrough.options.Store(o) }

// serves takes a topic apart when it is one of a service that devices reach.
func (t *passThrough) serves(topic string) (serviceTopic, bool) {
	o := t.options.Load()
	if o == nil || !strings.HasPrefix(topic, "$aws/") {
		return serviceTopic{}, false
	}
	s, ok := parseService(topic)
	return s, ok && (len(o.Services) == 0 || slices.Contains(o.Services, serviceNames[s.service]))
}

// Up implements Ingester. A request is asked about, noted and sent, or answered
// here; it is accepted in any case, as AWS acknowledges before a service looks.
func (t *passThrough) Up(p *bridge.Principal, g bridge.Grants, m *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	s, ok := t.serves(m.Topic)
	if !ok {
		t.Ingester.Up(p, g, m, extend, done)
		return
	}
	err := publishable(g, m)
	if err == nil && s.role != roleRequest { // a device must not speak for the cloud
		err = bridge.Errorf(bridge.OpPublish, bridge.TopicInvalid, "only the cloud publishes to %s", m.Topic)
	}
	if err != nil {
		t.broker.drops.CountError(err, p.Name(), m.Topic)
		done(err)
		return
	}
	o := t.options.Load()
	routed, connected := t.broker.cloud(m.Topic)
	if o == nil || !routed || o.Offline == offlineQueue && s.update && reports(m.Payload) {
		t.Authorized(p, m, extend, done) // may wait for the cloud: a report is never wrong, only old
		return
	}
	r := t.request(p, s, m, o)
	why, bad := rejection{}, true
	switch {
	case len(r.token) > clientTokenSize:
		why, r.token = badToken, ""
	case !connected:
		why = unavailable
	case !t.open.add(r, o.InFlight):
		why = tooMany
	default:
		bad = false
	}
	if bad {
		t.reject(r, why)
		t.keep(extend, done)
		return
	}
	t.Authorized(p, mortal(m, o.Timeout), extend, func(err error) {
		if err != nil {
			t.open.remove(r)
		}
		done(err)
	})
}

// keep is the walk of a request that does not leave the site.
func (t *passThrough) keep(extend func(*bridge.Batch), done func(error)) {
	var batch bridge.Batch
	if extend != nil {
		extend(&batch)
	}
	if batch.Empty() {
		done(nil)
		return
	}
	t.broker.store.Commit(&batch, func(_ bridge.Seq, err error) { done(err) })
}

// clientTokenSize is the longest clientToken that AWS's services take, in bytes.
const clientTokenSize = 64

func (t *passThrough) request(p *bridge.Principal, s serviceTopic, m *bridge.Message, o *PassThrough) *openRequest {
	s.request, s.thing = strings.Clone(s.request), strings.Clone(s.thing) // the packet's bytes must not live on
	return &openRequest{who: p, topic: s, token: clientToken(m.Payload), qos: min(m.QoS, 1), life: o.Timeout, until: t.broker.age() + o.Timeout}
}

// mortal is a request that is not sent once its device has given up: what is
// old must not be carried out by surprise.
func mortal(m *bridge.Message, life time.Duration) *bridge.Message {
	out, most := *m, uint32(life/time.Second)
	if !out.HasExpiry || out.Expiry > most {
		out.HasExpiry, out.Expiry = true, most
	}
	return &out
}

// reports reports whether an update of a shadow only tells how the device is.
func reports(payload []byte) bool {
	var document, state map[string]json.RawMessage
	if json.Unmarshal(payload, &document) != nil || json.Unmarshal(document["state"], &state) != nil {
		return false
	}
	_, reported := state["reported"]
	return reported && len(state) == 1
}

// clientToken is the token that a request and its answer share; empty without.
func clientToken(payload []byte) string {
	var t struct {
		Token string `json:"clientToken"`
	}
	if json.Unmarshal(payload, &t) != nil {
		return ""
	}
	return t.Token
}

// sweep answers for the cloud what it has not answered in time.
func (t *passThrough) sweep(now time.Duration) {
	for _, r := range t.open.overdue(now) {
		t.reject(r, unanswered)
	}
}

// reject answers a request in the cloud's stead, unless told to be silent.
func (t *passThrough) reject(r *openRequest, why rejection) {
	b := t.broker
	b.drops.Count(why.reason, r.who.Name(), r.topic.request)
	if o := t.options.Load(); o == nil || o.Offline == offlineSilent {
		return
	}
	at := b.now()
	b.announcer.tell(announcement{client: r.who.Name(), topic: r.topic.request, publish: func() {
		b.handOut(r.topic, r.who, false, &bridge.Message{Topic: r.topic.request + "/rejected", Payload: why.payload(r, at), QoS: r.qos})
	}})
}

// Answer takes a message of the cloud that answers a request, and gives it to
// who asked; that of a shadow also to the other devices of its thing. False says
// that it is none: it is for whoever subscribes, by the routes.
func (b *Broker) Answer(m *bridge.Message) bool {
	s, ok := b.passThrough.serves(m.Topic)
	if !ok || s.role != roleAnswer {
		return false
	}
	var asker *bridge.Principal
	if r := b.passThrough.open.take(s.request, clientToken(m.Payload)); r != nil {
		asker = r.who
	}
	answer := *m
	answer.Retain = false
	if !b.handOut(s, asker, true, &answer) {
		b.drops.Count("answer-unclaimed", "", m.Topic)
	}
	return true
}

// handOut delivers an answer and reports whether somebody took it: the
// connection that asked, if it is still the same, and with others the present
// devices of a shadow's thing. Of a shadow they need a subscription. Whether
// they may receive it is for the policy to say.
func (b *Broker) handOut(s serviceTopic, asker *bridge.Principal, others bool, m *bridge.Message) (taken bool) {
	expires, to := b.expiry(m), b.asking(asker)
	if s.direct() {
		if to == nil {
			return false
		}
		d := newDelivery(m, min(m.QoS, 1))
		d.expires = expires
		return to.offer(d) == takenQueued
	}
	for _, r := range b.receivers("", m.Topic, nil) {
		if r.session == to || others && r.session.isOf(s.thing) {
			taken = r.session.offer(r.delivery(m, expires)) == takenQueued || taken
		}
	}
	return taken
}

// asking finds the session of a connection that asked, nil once that is gone:
// another connection of its client id may be another device.
func (b *Broker) asking(who *bridge.Principal) *session {
	if who == nil {
		return nil
	}
	s := b.sessions.find(who.ClientID)
	if s == nil {
		return nil
	}
	if c := s.current(); c == nil || c.principal != who {
		return nil
	}
	return s
}

// isOf reports whether the session is of a device of the thing.
func (s *session) isOf(thing string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who != nil && s.who.Thing.Name == thing
}
