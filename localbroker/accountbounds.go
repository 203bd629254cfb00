package localbroker

import "strings"

// subscriptionBounds bound the index: its memory, and for AWS's profiles what AWS
// bounds for an account. Zeros are no bounds.
type subscriptionBounds struct {
	size    int64 // of the index, in bytes
	total   int   // subscriptions of all sessions (Q19)
	groups  int   // share groups (Q32)
	members int   // subscriptions of one share group (Q33)
}

// retainedBounds are the bounds of retained messages: our own, and AWS's (Q27)
// unless every listener is plain MQTT.
func (o Options) retainedBounds() MemoryOptions {
	m := o.Broker
	for _, l := range o.Listeners {
		if l.Profile != profileMQTT {
			m.RetainedMessages = min(m.RetainedMessages, m.Quotas.RetainedMessages)
		}
	}
	return m
}

// subscriptionBounds are those of sessions of a profile.
func (b *Broker) subscriptionBounds(p *profile) subscriptionBounds {
	most := subscriptionBounds{size: int64(b.memory.Subscriptions)}
	if p.aws {
		q := b.memory.Quotas
		most.total, most.groups, most.members = q.Subscriptions, q.ShareGroups, q.ShareGroupMembers
	}
	return most
}

// What a subscription costs in memory, about: itself and its places in three maps,
// and the maps of a level of its filter.
const (
	subscriptionOverhead = 768
	levelOverhead        = 320
)

// own is what a subscription costs, the levels of its filter aside.
func (f filter) own() int64 { return subscriptionOverhead + 2*int64(len(f.text)) }

// cost is what a subscription costs when no other has a level in common with it.
func (f filter) cost() int64 {
	return f.own() + levelOverhead*int64(1+strings.Count(f.topic, "/"))
}

// fitsLocked reports whether one more subscription is within the bounds.
func (x *index) fitsLocked(s *subscription, most subscriptionBounds) bool {
	if most.total > 0 && x.total >= most.total {
		return false
	}
	if most.size > 0 && x.size+s.filter.own()+levelOverhead*int64(x.missingLocked(s.filter.topic)) > most.size {
		return false
	}
	if s.filter.group == "" || most.groups == 0 {
		return true
	}
	n := x.share[groupName(s.filter)]
	if n == 0 {
		return len(x.share) < most.groups
	}
	return n < most.members
}

// missingLocked is how many levels of a filter the index does not have.
func (x *index) missingLocked(topic string) int {
	l := &x.root
	for left := 1 + strings.Count(topic, "/"); left > 0; left-- {
		part, rest, _ := strings.Cut(topic, "/")
		if l = l.next[part]; l == nil {
			return left // "#" is no level of its own, and is not worth the difference
		}
		topic = rest
	}
	return 0
}

// countLocked counts a subscription that came or went.
func (x *index) countLocked(f filter, by int) {
	x.total += by
	x.size += int64(by) * f.own()
	if f.group == "" {
		return
	}
	if x.share == nil {
		x.share = map[string]int{}
	}
	name := groupName(f)
	if x.share[name] += by; x.share[name] == 0 {
		delete(x.share, name)
	}
}

// groupName is what makes a share group: its name and its filter (B173).
func groupName(f filter) string { return f.group + "/" + f.topic }
