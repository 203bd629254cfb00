package localbroker

import (
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// subscribe carries out what was granted, answers once that is durable, and
// sends the retained messages: the last two under the session's lock, so that
// whatever is published from now on comes after them. What another generation of
// the policy granted is asked again: Enforce has looked at the session already.
func (s *session) subscribe(c *client, id uint16, plan []grant, generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != s.broker.generation.Load() {
		for i, g := range plan {
			if g.sub != nil && !c.maySubscribe(g.sub.filter.text) {
				plan[i] = grant{code: 0x87}
			}
		}
	}
	codes := make([]byte, len(plan))
	before := make([]*subscription, len(plan))
	for i, g := range plan {
		if g.sub == nil {
			codes[i] = c.subackCode(g.code)
			continue
		}
		existed, ok := s.addLocked(g.sub)
		if !ok {
			plan[i].sub, codes[i] = nil, c.subackCode(0x97) // B127, B128
			continue
		}
		codes[i], before[i] = g.sub.qos, existed
	}
	due := s.dueLocked(plan, before)
	if err := s.durableLocked(plan, due); err != nil {
		s.withdrawLocked(c, plan, before, codes, err)
		due = nil
	}
	_, _ = c.wire.Write(encodeCodes(packets.Suback, c.version, id, codes))
	for _, d := range due {
		s.offerLocked(d)
	}
	s.broker.drawFor(s.sharedLocked())
}

// addLocked adds or replaces a subscription, unless there are too many.
func (s *session) addLocked(sub *subscription) (existed *subscription, ok bool) {
	existed = s.subs[sub.filter.text]
	if existed == nil && len(s.subs) >= s.profile.subscriptions {
		return nil, false
	}
	var bounds subscriptionBounds // none: it is there already
	if existed == nil {
		bounds = s.broker.subscriptionBounds(s.profile)
	} else {
		sub.retained = existed.retained
	}
	if !s.broker.index.tryAdd(sub, bounds) {
		return existed, false // Q19, Q32, Q33
	}
	if s.subs == nil {
		s.subs = map[string]*subscription{}
	}
	s.subs[sub.filter.text] = sub
	return existed, true
}

// durableLocked waits until the session's record holds what was granted, and its
// queue the retained messages that are due. It unlocks the session meanwhile:
// nobody waits for the disk with it.
func (s *session) durableLocked(plan []grant, due []*delivery) error {
	if s.keep == nil || !slices.ContainsFunc(plan, func(g grant) bool { return g.sub != nil }) {
		return nil
	}
	var batch bridge.Batch
	for _, d := range due {
		if d.qos > 0 && s.keep.fits(d.size, s.limits, int64(s.broker.memory.QueueSize)) {
			s.keep.reserve(d)
			batch.Put(shelfQueue, d.kept.key(), encodeKept(d))
		}
	}
	saved := s.commitLocked(&batch, 0)
	s.mu.Unlock()
	err := <-saved
	s.mu.Lock()
	if err != nil {
		for _, d := range due {
			if d.kept.ordinal > 0 {
				s.keep.undo(d)
			}
		}
	}
	return err
}

// withdrawLocked takes back what could not be made durable.
func (s *session) withdrawLocked(c *client, plan []grant, before []*subscription, codes []byte, err error) {
	code := byte(0x80)
	if bridge.KindOf(err) == bridge.Full {
		code = 0x97
	}
	for i, g := range slices.Backward(plan) { // a filter may come twice
		if g.sub == nil {
			continue
		}
		plan[i].sub, codes[i] = nil, c.subackCode(code)
		switch text := g.sub.filter.text; {
		case s.subs[text] != g.sub: // the policy has taken it away already
		case before[i] != nil:
			s.subs[text] = before[i]
			s.broker.index.add(before[i])
		default:
			delete(s.subs, text)
			s.broker.index.remove(s, g.sub.filter)
			s.broker.groups.left(g.sub.filter)
		}
	}
}

// dueLocked lists the retained messages of what was granted.
func (s *session) dueLocked(plan []grant, before []*subscription) (due []*delivery) {
	for i, g := range plan {
		if g.sub == nil || s.subs[g.sub.filter.text] != g.sub {
			continue
		}
		skip := g.handling == 2 || g.handling == 1 && before[i] != nil // [MQTT-3.3.1-10] [MQTT-3.3.1-11]
		if !skip && g.sub.filter.group == "" {                         // B152
			due = append(due, s.retainedLocked(g.sub)...)
		}
	}
	return due
}

// retainedLocked makes the deliveries of a new subscription's retained messages.
func (s *session) retainedLocked(sub *subscription) []*delivery {
	var out []*delivery
	list, upTo := s.broker.retained.match(sub.filter.topic, s.profile.aws)
	sub.retained = upTo
	for _, k := range list {
		d := newDelivery(k.msg, min(k.msg.QoS, sub.qos)) // B158
		d.retain, d.expires = true, k.expires
		if sub.identifier > 0 {
			d.identifiers = []int{sub.identifier}
		}
		out = append(out, d)
	}
	for _, m := range s.broker.sys.match(sub.filter.topic) {
		d := newDelivery(m, 0)
		d.retain = true
		if sub.identifier > 0 {
			d.identifiers = []int{sub.identifier}
		}
		out = append(out, d)
	}
	return out
}

// wasGiven reports whether a subscription has come late enough to be given the
// message with that number as a retained one. It waits for a subscribe that is
// at it.
func (s *session) wasGiven(topic string, number uint64) bool {
	if number == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if f := sub.filter.topic; sub.retained >= number && (f == topic || !s.profile.aws && matches(f, topic, true)) {
			return true
		}
	}
	return false
}

// unsubscribe removes a subscription and reports whether there was one. The
// record is the caller's to save.
func (s *session) unsubscribe(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subs[text]
	if sub == nil {
		return false
	}
	delete(s.subs, text)
	s.broker.index.remove(s, sub.filter)
	s.broker.groups.left(sub.filter)
	return true
}

// save makes the session's record durable, if it has one.
func (s *session) save() error {
	if saved := s.saveSoon(); saved != nil {
		return <-saved
	}
	return nil
}

// saveSoon is save without waiting.
func (s *session) saveSoon() <-chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keep == nil || s.ended {
		return nil
	}
	return s.saveLocked()
}
