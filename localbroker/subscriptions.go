package localbroker

import (
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// subscribe carries out what was granted, answers once that is durable, and
// sends the retained messages. They are listed and sent in steps between which
// the session is unlocked, since there may be many; what is published from now on
// comes after them, because a message that is not the retained one of its topic
// any more is left to its successor.
func (s *session) subscribe(c *client, id uint16, plan []grant, generation uint64) {
	s.mu.Lock()
	codes, before := s.grantLocked(c, plan, generation)
	if s.keep == nil {
		_, _ = c.wire.Write(encodeCodes(packets.Suback, c.version, id, codes))
	}
	s.mu.Unlock()
	due := s.due(c, plan)
	s.mu.Lock()
	if s.keep != nil {
		due = slices.DeleteFunc(due, s.superseded)
		if err := s.durableLocked(plan, due); err != nil {
			s.withdrawLocked(c, plan, before, codes, err)
			due = nil
		}
		_, _ = c.wire.Write(encodeCodes(packets.Suback, c.version, id, codes))
	}
	s.mu.Unlock()
	for step := range slices.Chunk(due, retainedStep) {
		s.offerRetained(step)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broker.drawFor(s.sharedLocked())
}

// grantLocked makes the subscriptions. What another generation of the policy
// granted is asked again: Enforce has looked at the session already.
func (s *session) grantLocked(c *client, plan []grant, generation uint64) (codes []byte, before []*subscription) {
	if generation != s.broker.generation.Load() {
		for i, g := range plan {
			if g.sub != nil && !c.maySubscribe(g.sub.filter.text) {
				plan[i] = grant{code: 0x87}
			}
		}
	}
	codes, before = make([]byte, len(plan)), make([]*subscription, len(plan))
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
		skip := g.handling == 2 || g.handling == 1 && existed != nil            // [MQTT-3.3.1-10] [MQTT-3.3.1-11]
		if plan[i].silent = skip || g.sub.filter.group != ""; !plan[i].silent { // B152
			g.sub.retained = s.broker.retained.upTo()
		}
	}
	return codes, before
}

// addLocked adds or replaces a subscription, unless there are too many.
func (s *session) addLocked(sub *subscription) (existed *subscription, ok bool) {
	existed = s.subs[sub.filter.text]
	var bounds subscriptionBounds // none: it is there already
	if existed == nil {
		if len(s.subs) >= s.profile.subscriptions || s.filters+sub.filter.cost() > int64(s.limits.Subscriptions) {
			return nil, false
		}
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
	if existed == nil {
		s.filters += sub.filter.cost()
	}
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
			s.removeLocked(g.sub)
		}
	}
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
	s.removeLocked(sub)
	return true
}

func (s *session) removeLocked(sub *subscription) {
	delete(s.subs, sub.filter.text)
	s.filters -= sub.filter.cost()
	s.broker.index.remove(s, sub.filter)
	s.broker.groups.left(sub.filter)
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
