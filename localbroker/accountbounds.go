package localbroker

// subscriptionBounds bound the index as AWS does an account. Zeros are no
// bounds.
type subscriptionBounds struct {
	total   int // subscriptions of all sessions (Q19)
	groups  int // share groups (Q32)
	members int // subscriptions of one share group (Q33)
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
	if !p.aws {
		return subscriptionBounds{}
	}
	q := b.memory.Quotas
	return subscriptionBounds{q.Subscriptions, q.ShareGroups, q.ShareGroupMembers}
}

// fitsLocked reports whether one more subscription is within the bounds.
func (x *index) fitsLocked(s *subscription, most subscriptionBounds) bool {
	if most.total > 0 && x.total >= most.total {
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

// countLocked counts a subscription that came or went.
func (x *index) countLocked(f filter, by int) {
	x.total += by
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
