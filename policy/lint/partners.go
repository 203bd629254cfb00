package lint

import (
	"slices"
	"strings"
)

// findL06 finds subscriptions that stay silent, and deliveries that nobody
// subscribes to. In a document whose neighbours are not known, and for
// iot:Receive alone, which direct messages need, it is a remark.
func findL06(i *inspector) {
	i.lonely(subscribe, receive)
	i.lonely(receive, subscribe)
}

// lonely reports resources of Allows of an action without a partner.
func (i *inspector) lonely(action, partner string) {
	var partners []pattern
	for _, st := range i.set.of(false, partner) {
		for _, p := range st.names(actionKinds[partner]) {
			partners = append(partners, topicsOf(p))
		}
	}
	for _, st := range i.set.of(false, action) {
		if st.notResource != nil || st.acts[partner] && slices.ContainsFunc(st.actions, func(n *node) bool { return allActions(n.text) }) {
			continue
		}
		for _, r := range st.resources {
			names := r.of(actionKinds[action])
			if len(names) == 0 || slices.ContainsFunc(partners, topicsOf(names[0]).overlaps) {
				continue
			}
			topics := topicsOf(names[0])
			d := detail{severity: i.alone()}
			if action == subscribe {
				d.message = "the subscription to " + names[0].String() + " succeeds and stays silent: nothing allows iot:Receive on its topics"
				d.fix = "allow iot:Receive on topic/" + topics.String()
				collect(&d.examples)(i.refused(receive, kindTopic, topics.sample(i.set.values, "a", "1")))
			} else {
				d.severity = Low
				d.message = "messages from " + names[0].String() + " may be delivered, but nothing allows iot:Subscribe to them; only direct messages can come"
				d.fix = "allow iot:Subscribe on topicfilter/" + topics.String()
				collect(&d.examples)(i.refused(subscribe, kindFilter, topics.sample(i.set.values, "a", "1")))
			}
			i.at(st, r.node, d)
		}
	}
}

// findL07 finds iot:RetainPublish where iot:Publish is not allowed, and, as a
// remark, wildcards that cover iot:Publish and miss iot:RetainPublish.
func findL07(i *inspector) {
	for _, st := range i.set.of(false, retainPublish) {
		for _, r := range st.resources {
			names := r.of(kindTopic)
			if st.acts[publish] || st.notResource != nil || len(names) == 0 || i.overlapped(publish, names[0]) {
				continue
			}
			d := detail{
				message: "a retained publish is checked twice, as iot:Publish and as iot:RetainPublish, and nothing allows iot:Publish on " + names[0].String(),
				fix:     "allow iot:Publish on topic/" + names[0].String() + " too",
			}
			collect(&d.examples)(i.refused(publish, kindTopic, names[0].sample(i.set.values, "a", "1")))
			i.at(st, r.node, d)
		}
	}
	for _, st := range i.set.of(false, publish) {
		if st.acts[retainPublish] {
			continue
		}
		for _, a := range st.actions {
			if !wild(a.text) || !actionCovers(a.text, publish) || len(i.set.of(false, retainPublish)) > 0 {
				continue
			}
			i.at(st, a, detail{
				severity: Low,
				message:  quote(a.text) + " covers iot:Publish and not iot:RetainPublish: a message with RETAIN is refused",
				fix:      "list iot:RetainPublish too if devices retain, else write iot:Publish",
			})
		}
	}
}

// overlapped reports whether an Allow of the action overlaps these topics.
func (i *inspector) overlapped(action string, topics pattern) bool {
	for _, st := range i.set.of(false, action) {
		if slices.ContainsFunc(st.names(actionKinds[action]), topics.overlaps) {
			return true
		}
	}
	return false
}

// findL32 finds sets that allow MQTT without a way in. In a document whose
// neighbours are not known it is a remark.
func findL32(i *inspector) {
	if len(i.set.of(false, connect)) > 0 {
		return
	}
	for _, st := range i.set.statements() {
		if st.deny || !slices.ContainsFunc([]string{publish, retainPublish, subscribe, receive}, func(a string) bool { return st.acts[a] }) {
			continue
		}
		n := st.node
		if len(st.actions) > 0 {
			n = st.actions[0]
		}
		d := detail{severity: i.alone(), message: "topics are allowed, and nothing here allows iot:Connect: no MQTT client gets that far"}
		collect(&d.examples)(i.refused(connect, kindClient, "press-1"))
		i.at(st, n, d)
		return
	}
}

// findL33 finds statements that change nothing, because a Deny or another
// statement of the same effect covers them whole.
func findL33(i *inspector) {
	all := i.set.statements()
	for at, st := range all {
		if st.notAction != nil || len(st.acts) == 0 || slices.ContainsFunc(st.actions, func(n *node) bool { return len(coveredBy(n.text)) == 0 && n.text != "*" }) {
			continue
		}
		for other, by := range all {
			same := by.deny == st.deny
			if other == at || by.notAction != nil || !same && !by.deny || !swallows(by, st) || same && other > at && swallows(st, by) {
				continue
			}
			d := detail{message: "everything that it allows is denied by " + by.from(st.document) + ": it grants nothing"}
			if same {
				verb := "allowed"
				if st.deny {
					verb = "denied"
				}
				d.message = "everything in it is " + verb + " by " + by.from(st.document) + " already"
			}
			i.at(st, st.node, d)
			break
		}
	}
}

// swallows reports whether whatever st is about, by is about too, under no
// other conditions.
func swallows(by, st *statement) bool {
	if len(by.conditions) > 0 && !sameConditions(by, st) {
		return false
	}
	for action := range st.acts {
		if !by.acts[action] {
			return false
		}
	}
	if st.notResource != nil || by.notResource != nil {
		return st.notResource != nil && by.notResource == nil && slices.ContainsFunc(by.resources, func(r *resource) bool { return r.text == "*" })
	}
	for _, r := range st.resources {
		if !slices.ContainsFunc(by.resources, func(b *resource) bool { return b.whole.covers(r.whole) }) {
			return false
		}
	}
	return true
}

func sameConditions(a, b *statement) bool {
	write := func(st *statement) string {
		var lines []string
		for _, c := range st.conditions {
			var vs []string
			for _, v := range c.values {
				vs = append(vs, v.text)
			}
			slices.Sort(vs)
			lines = append(lines, c.written.text+"\x00"+c.name()+"\x00"+strings.Join(vs, "\x01"))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\x02")
	}
	return write(a) == write(b)
}
