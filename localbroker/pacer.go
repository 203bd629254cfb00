package localbroker

import (
	"time"

	"golang.org/x/time/rate"
)

// pacer is the buckets of one session's quotas of pace. There is at most one
// connection to a session at a time, so that the session's are its
// connection's; what is stored for an absent device counts as well (Q06). It is
// immutable, and its buckets are safe for concurrent use.
type pacer struct {
	pace     pace
	in, out  *rate.Limiter // PUBLISHes; one and the same where AWS is taken to count both directions together
	replayed *rate.Limiter // stored messages (Q25)
	drawn    *rate.Limiter // messages from the queues of share groups (Q26)
}

// newPacer is nil where nothing is paced.
func newPacer(p *profile) *pacer {
	if p.pace == paceIgnores {
		return nil
	}
	out := &pacer{
		pace: p.pace, in: perSecond(p.publishes),
		replayed: rate.NewLimiter(rate.Limit(p.replay), 1), // evenly: AWS speaks of a rate and no burst
		drawn:    rate.NewLimiter(rate.Limit(p.groupReplay), 1),
	}
	if out.out = out.in; !p.oneBucket {
		out.out = perSecond(p.publishes)
	}
	return out
}

// bucketsOf keeps a session's buckets when it is resumed within its quotas:
// else reconnecting would fill them.
func (s *session) bucketsOf(p *profile) *pacer {
	if old := s.pacer; old != nil && s.profile != nil && s.profile.pace == p.pace && s.profile.publishes == p.publishes &&
		s.profile.oneBucket == p.oneBucket && s.profile.replay == p.replay && s.profile.groupReplay == p.groupReplay {
		return old
	}
	return newPacer(p)
}

func (c *client) example(name string) quotaExample {
	return quotaExample{client: c.id, listener: c.listener.name, name: name}
}

// paceConnect takes a CONNECT that the policy allows: so strangers cannot use
// up what a device may do (B31, B32).
func (c *client) paceConnect() error {
	q, p := c.broker.quotas, c.profile.pace
	if !c.profile.aws {
		return nil
	}
	if c.broker.connected.Load() >= int64(c.broker.memory.Quotas.Connections) {
		return refuse("account-connection-count", 0x97, 0, nil) // Q04
	}
	if p == paceIgnores {
		return nil
	}
	if !q.takes(quotaConnects, q.account[quotaConnects], p, c.example("")) {
		return refuse("connect-rate", 0x97, 0, nil) // Q02
	}
	if !q.clients.allow(c.id, q.now()) {
		e := c.example("")
		if e.limit = q.clients.rate; !q.above(quotaConnectsOfClient, p, 1, e) {
			return refuse("client-connect-rate", 0x97, 0, nil) // Q03
		}
	}
	return nil
}

// pacePublish takes a PUBLISH of the client: what is above one quota does not
// count against the next, as AWS would have thrown it away (B90, B155).
func (c *client) pacePublish(r *receipt) *refusal {
	if c.session.pacer == nil || r.outside() {
		return nil
	}
	k, limit, err := c.session.pacer.publish(c.broker.quotas, r)
	if err == nil {
		return nil
	}
	e := c.example("topic " + r.Topic)
	if e.limit = limit; c.broker.quotas.above(k, c.profile.pace, 1, e) {
		return nil
	}
	return err
}

// publish finds the first quota that a PUBLISH is above, and its bound.
func (b *pacer) publish(q *quotas, r *receipt) (quota, int, *refusal) {
	now := q.now()
	if !b.in.AllowN(now, 1) {
		return quotaPublishes, b.in.Burst(), errRate
	}
	return q.publish(r.Topic, r.Retain)
}

// publish is the account's part of it.
func (q *quotas) publish(topic string, retain bool) (quota, int, *refusal) {
	now := q.now()
	if all := q.account[quotaPublishesIn]; !all.AllowN(now, 1) {
		return quotaPublishesIn, all.Burst(), errAccountRate
	}
	if !retain {
		return 0, 0, nil
	}
	if all := q.account[quotaRetained]; !all.AllowN(now, 1) {
		return quotaRetained, all.Burst(), errRetainedRate
	}
	if !q.topics.allow(topic, now) {
		return quotaRetainedOfTopic, q.topics.rate, errRetainedRate
	}
	return 0, 0, nil
}

// paceSubscribe takes one filter of a SUBSCRIBE, or with no new subscription of
// an UNSUBSCRIBE (B139, B183).
func (c *client) paceSubscribe(f filter, subscribes bool) bool {
	q, p := c.broker.quotas, c.profile.pace
	if p == paceIgnores {
		return true
	}
	if subscribes && !q.takes(quotaSubscribes, q.account[quotaSubscribes], p, c.example("filter "+f.text)) {
		return false
	}
	if f.group == "" || q.groups.allow(f.group+"/"+f.topic, q.now()) {
		return true
	}
	e := c.example("filter " + f.text)
	e.limit = q.groups.rate
	return q.above(quotaGroupChanges, p, 1, e)
}

// mayDeliverLocked takes a delivery to a connected session: Q06 in its outbound
// direction, Q21. What the broker sends again or replays is not asked about.
func (s *session) mayDeliverLocked(d *delivery) bool { return s.mayLeaveLocked(d, quotaPublishesOut) }

// mayStoreLocked takes a message that would be stored for an absent session:
// Q06, which AWS applies to what is sent to offline persistent sessions too,
// and Q23. What it refuses is not stored (Queued.Throttle).
func (s *session) mayStoreLocked(d *delivery) bool { return s.mayLeaveLocked(d, quotaQueued) }

func (s *session) mayLeaveLocked(d *delivery, account quota) bool {
	b, q := s.pacer, s.broker.quotas
	if b == nil {
		return true
	}
	now, above, bucket := q.now(), quotaPublishes, b.out
	if bucket.AllowN(now, 1) {
		if above, bucket = account, q.account[account]; bucket.AllowN(now, 1) {
			return true
		}
	}
	e := s.example("topic " + d.msg.Topic)
	e.limit = bucket.Burst()
	return q.above(above, b.pace, 1, e)
}

// throttledLocked drops a delivery that is above a quota which bites. One that
// somebody awaits comes again later: AWS's quota is no reason to lose what a
// gateway has promised.
func (s *session) throttledLocked(d *delivery, reason string) taken {
	if d.await == nil {
		s.broker.drops.Missed(reason, s.id, d.msg.Topic)
	}
	return takenFull
}

func (s *session) example(name string) quotaExample {
	e := quotaExample{client: s.id, name: name}
	if s.who != nil {
		e.listener = s.who.Listener
	}
	return e
}

// replayWaitLocked says how long the next stored message has to wait before it
// may be sent to the session that has come back (B65, Q25); at 0 it has been
// counted as sent. group is for the queue of a share group (B178, Q26). Where
// the quota only warns, nothing waits.
func (s *session) replayWaitLocked(group bool) time.Duration {
	b := s.pacer
	if b == nil {
		return 0
	}
	k, bucket := quotaReplay, b.replayed
	if group {
		k, bucket = quotaGroupReplay, b.drawn
	}
	now := s.broker.quotas.now()
	if bucket.AllowN(now, 1) {
		return 0
	}
	e := s.example("")
	e.limit = int(bucket.Limit())
	if s.broker.quotas.above(k, b.pace, 1, e) {
		return 0
	}
	r := bucket.ReserveN(now, 1)
	defer r.CancelAt(now)
	return r.DelayFrom(now)
}
