package localbroker

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
)

// restore takes from the shelf what an earlier start has left. What is damaged
// is given up and told, and stops nothing.
func (b *Broker) restore() error {
	b.restoreNumbers()
	owners := map[uint64]*backlog{}
	if err := b.restoreSessions(owners); err != nil {
		return fmt.Errorf("local broker: read sessions: %w", err)
	}
	if err := b.unreadable(shelfSession, "the session of ", func(id string) bool { return b.sessions.byID[id] != nil }); err != nil {
		return err
	}
	if err := b.restoreGroups(owners); err != nil {
		return fmt.Errorf("local broker: read share groups: %w", err)
	}
	if err := b.unreadable(shelfGroup, "the share group ", func(text string) bool { return b.groups.byName[groupName(splitShare(text))] != nil }); err != nil {
		return err
	}
	if err := b.restoreReceived(); err != nil {
		return fmt.Errorf("local broker: read packet ids: %w", err)
	}
	if err := b.restoreBodies(); err != nil {
		return fmt.Errorf("local broker: read bodies: %w", err)
	}
	orphans, err := b.restoreQueues(owners)
	if err != nil {
		return fmt.Errorf("local broker: read queues: %w", err)
	}
	if err := b.restoreRetained(); err != nil {
		return fmt.Errorf("local broker: read retained messages: %w", err)
	}
	if err := b.unreadable(shelfRetained, "the retained message of ", func(topic string) bool { return b.retained.byTopic[topic].msg != nil }); err != nil {
		return err
	}
	b.forgetBodies()
	if err := b.restoreWills(); err != nil {
		return fmt.Errorf("local broker: read wills: %w", err)
	}
	for _, owner := range orphans {
		b.erase(newBacklog(b.store, owner))
	}
	return nil
}

// unreadable gives up the keys of a namespace that nobody knows after a Scan: it
// has passed over their values.
func (b *Broker) unreadable(namespace, what string, known func(key string) bool) error {
	var lost []string
	err := b.store.Keys(namespace, "", func(key string) bool {
		if !known(key) {
			lost = append(lost, key)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("local broker: list %s: %w", namespace, err)
	}
	for _, key := range lost {
		b.store.damaged(what+key, errDamaged)
	}
	if len(lost) > 0 {
		b.store.Forget(namespace, lost...)
	}
	return nil
}

func (b *Broker) restoreNumbers() {
	v, err := b.store.Get(shelfNumbers, numbersKey)
	if err == nil && v == nil {
		return
	}
	if err == nil && len(v) != 8 {
		err = errDamaged
	}
	if err != nil { // what is found below raises them
		b.store.damaged("the numbers", err)
		return
	}
	b.store.next = binary.BigEndian.Uint64(v)
	b.store.ceiling = b.store.next
}

// raise keeps numbers above one that is in use.
func (s *store) raise(n uint64) { s.next = max(s.next, n) }

func (b *Broker) restoreSessions(owners map[uint64]*backlog) error {
	now := b.age()
	return b.store.Scan(shelfSession, "", func(id string, value []byte) bool {
		r, err := decodeSession(id, value)
		if err != nil {
			b.store.damaged("the session of "+id, err)
			b.store.Forget(shelfSession, id)
			return true
		}
		b.store.raise(r.serial)
		if r.expires == 0 {
			r.expires = now + r.expiry // it was connected: its time begins now
		}
		if r.expires <= now {
			b.store.Forget(shelfSession, id) // its queue has no owner then
			return true
		}
		s := b.restored(r)
		owners[s.serial] = s.keep
		b.sessions.byID[id] = s
		return true
	})
}

// restored makes a session of its record.
func (b *Broker) restored(r *sessionRecord) *session {
	s := &session{
		broker: b, id: r.owner.clientID, serial: r.serial, keep: newBacklog(b.store, r.serial),
		version: r.owner.version, expiry: r.expiry, expires: r.expires, who: r.owner.principal(),
	}
	s.out.all = &b.queued
	each := false
	if l := b.listenerNamed(r.owner.listener); l != nil {
		now := l.settings.Load()
		s.profile, s.limits = now.profile, now.Limits
		each = now.Switches.Overlapping == switchEach
	} else { // it may come back with another configuration
		d := DefaultListener().withDefaults()
		s.profile, s.limits = profileOf(d), d.Limits
	}
	s.pacer = newPacer(s.profile)
	s.may = b.authorityFor(r.owner, s.who)
	for _, sub := range r.subs {
		parsed, err := b.filterFor(s.profile, s.who, sub.filter.text)
		if err != nil { // its listener has another profile, or other quotas, now
			b.drops.Count("subscription-not-restored", s.id, sub.filter.text)
			b.quiet.warn("subscription-not-restored", "a subscription of an earlier start is gone: its listener does not take the filter any more",
				slog.String("client", s.id), slog.String("filter", sub.filter.text), slog.String("error", err.Error()))
			continue
		}
		kept := &subscription{session: s, filter: parsed, qos: min(sub.qos, s.profile.maximumQoS()), parent: !s.profile.aws}
		kept.noLocal, kept.asRetained, kept.identifier, kept.each = sub.noLocal, sub.asRetained, sub.identifier, each
		if s.subs == nil {
			s.subs = map[string]*subscription{}
		}
		s.subs[parsed.text] = kept
		s.filters += parsed.cost()
		b.index.add(kept)
	}
	return s
}

func (b *Broker) listenerNamed(name string) *listener {
	for _, l := range b.listeners {
		if l.name == name {
			return l
		}
	}
	return nil
}

// restoreQueues counts what waits, and lists owners that are gone. No message is
// read. Entries whose body is not there are void: everybody has had it, or the
// message was never taken (see spillSize).
func (b *Broker) restoreQueues(owners map[uint64]*backlog) (orphans []uint64, err error) {
	var k *backlog
	var void []string
	err = b.store.Keys(shelfQueue, "", func(key string) bool {
		e, ok := parseEntry(key)
		if !ok {
			b.store.damaged("an entry of a queue", errDamaged)
			b.store.Forget(shelfQueue, key)
			return true
		}
		b.store.raise(e.owner)
		if e.body != 0 {
			b.store.raise(e.body)
			if _, there := b.store.refs[e.body]; !there {
				void = append(void, key)
				return true
			}
			b.store.refs[e.body]++
		}
		if k == nil || k.owner != e.owner {
			k = owners[e.owner]
		}
		switch {
		case k != nil:
			k.restore(e)
		case len(orphans) == 0 || orphans[len(orphans)-1] != e.owner:
			orphans = append(orphans, e.owner)
		}
		return true
	})
	if len(void) > 0 {
		b.store.Forget(shelfQueue, void...)
	}
	return orphans, err
}

// restore counts one entry; they come in order.
func (k *backlog) restore(e entry) {
	if k.live.left == 0 {
		k.live.from = e.ordinal
	}
	k.live.left++
	k.due(e.expires)
	k.next, k.restored = e.ordinal, e.ordinal
	k.charge(&delivery{kept: e}, 1)
}

// restoreBodies lists the bodies; what refers to them is found later.
func (b *Broker) restoreBodies() error {
	return b.store.Keys(shelfBody, "", func(key string) bool {
		if len(key) != 8 {
			b.store.damaged("the number of a message", errDamaged)
			b.store.Forget(shelfBody, key)
			return true
		}
		n := binary.BigEndian.Uint64([]byte(key))
		b.store.raise(n)
		b.store.refs[n] = 0
		return true
	})
}

// forgetBodies forgets those that nothing refers to any more.
func (b *Broker) forgetBodies() {
	var gone []string
	for n, refs := range b.store.refs {
		if refs == 0 {
			delete(b.store.refs, n)
			gone = append(gone, bodyKey(n))
		}
	}
	if len(gone) > 0 {
		b.store.Forget(shelfBody, gone...)
	}
}

func (b *Broker) restoreRetained() error {
	now := b.age()
	var gone []string
	err := b.store.Scan(shelfRetained, "", func(topic string, value []byte) bool {
		k, err := b.store.retained(value)
		switch {
		case err != nil:
			b.store.damaged("the retained message of "+topic, err)
			gone = append(gone, topic)
		case k.msg == nil || !k.live(now):
			gone = append(gone, topic)
		case !b.retained.fitsLocked(k.msg): // there is room for fewer now
			b.drops.Count("retained-full", "", topic)
			gone = append(gone, topic)
		default:
			b.retained.keepLocked(k)
			if k.body > 0 {
				b.store.refs[k.body]++
			}
		}
		return true
	})
	if len(gone) > 0 {
		b.store.Forget(shelfRetained, gone...)
	}
	return err
}

// retained reads a retained message. It has none when it was forgotten, and only
// its key is back.
func (s *store) retained(value []byte) (k retainedMessage, err error) {
	body, modified, shared := decodeReference(value)
	if !shared {
		k.msg, k.expires, k.modified, err = decodeMessage(value)
		return k, err
	}
	s.raise(body)
	b, err := s.body(body)
	if b == nil || err != nil {
		return k, err
	}
	k.body, k.modified = body, modified
	k.msg, k.expires, _, err = decodeMessage(b)
	return k, err
}

// erase forgets all that an owner has on the shelf, in the background. What is
// being committed for it is forgotten when it arrives.
func (b *Broker) erase(k *backlog) {
	pending := slices.Clone(k.pending)
	k.end()
	go b.guard(func() {
		b.reading <- struct{}{}
		defer func() { <-b.reading }()
		k.store.flush()
		err := k.store.Keys(shelfQueue, ownerPrefix(k.owner), func(key string) bool {
			if e, ok := parseEntry(key); ok && !holds(pending, e.ordinal) {
				k.store.drop(e)
			}
			return true
		})
		b.forgetReceived(k.owner)
		if err != nil { // the next start finds what is left without an owner
			k.store.damaged("a queue that has ended", err)
		}
	})
}
