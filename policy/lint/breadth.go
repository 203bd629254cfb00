package lint

import (
	"slices"
	"strings"
)

// findL13 finds Allows by exclusion. A Deny by exclusion beside an Allow of
// everything errs to the safe side, and is a remark.
func findL13(i *inspector) {
	all := slices.ContainsFunc(i.set.statements(), grantsAll)
	for _, st := range i.set.statements() {
		what, n := "NotAction", st.notAction
		if n == nil {
			what, n = "NotResource", st.notResource
		}
		if n == nil || st.deny && (st.notAction == nil || !all) {
			continue
		}
		d := detail{message: what + " in an Allow grants everything that is not listed, actions and topics of tomorrow too", fix: "list what is allowed in " + strings.TrimPrefix(what, "Not")}
		switch {
		case st.deny:
			d.severity = Low
			d.message = "all is allowed and this Deny takes away what NotAction does not list: what is allowed is said by exclusion only"
			d.fix = "allow the listed actions on the resources that they need, and drop both"
		case st.notResource != nil && st.notAction == nil:
			i.outside(st, &d)
		}
		i.at(st, n, d)
	}
}

// outside adds an example of what nobody had in mind.
func (i *inspector) outside(st *statement, d *detail) {
	for _, action := range []string{receive, publish, subscribe, connect} {
		if !st.acts[action] {
			continue
		}
		kind := actionKinds[action]
		collect(&d.examples)(i.allowed(action, kind, "anything/else", st.document))
		if action != connect && action != receive {
			collect(&d.examples)(i.allowed(action, kind, "$aws/things/press-2/shadow/update", st.document))
		}
	}
}

// grantsAll reports whether a statement allows every action on everything.
func grantsAll(st *statement) bool {
	return !st.deny && st.notAction == nil && st.notResource == nil &&
		slices.ContainsFunc(st.resources, func(r *resource) bool { return everythingOn(r) }) &&
		(slices.ContainsFunc(st.actions, func(a *node) bool { return allActions(a.text) }) || wholeClient(st))
}

// everythingOn reports whether a resource is each resource of the account.
func everythingOn(r *resource) bool { return r.name.covers(pattern{{kind: anyRun}}) }

// wholeClient reports whether a statement is about all that an MQTT client does.
func wholeClient(st *statement) bool {
	return st.acts[connect] && st.acts[publish] && st.acts[subscribe] && st.acts[receive]
}

// reserved are what one device has and no other may touch.
var reserved = []struct{ prefix, whose string }{
	{"$aws/things/", "any device's shadow and jobs"},
	{"$aws/rules/", "any rule of the account"},
}

// thingActions are the HTTPS actions on shadows and jobs.
func thingActions(st *statement) []string {
	return slices.DeleteFunc(slices.Clone(actionNames), func(a string) bool { return !st.acts[a] || actionKinds[a] != kindThing })
}

// findL14 finds grants on every device's shadow, jobs or rules. iot:Receive is
// none: it delivers only what was subscribed to.
func findL14(i *inspector) {
	for _, st := range i.set.statements() {
		if st.deny || st.notResource != nil || grantsAll(st) {
			continue
		}
		for _, r := range st.resources {
			if r.text == "*" && st.notAction != nil {
				continue // L13 speaks of that
			}
			i.reservedIn(st, r)
		}
	}
}

func (i *inspector) reservedIn(st *statement, r *resource) {
	for _, action := range []string{publish, retainPublish, subscribe} {
		kind := actionKinds[action]
		if names := r.of(kind); st.acts[action] && !everything(names) {
			for _, p := range names {
				for _, res := range reserved {
					if !slices.ContainsFunc(p.behind(res.prefix), anyLevel) || !aimed(r, p) {
						continue
					}
					d := detail{message: r.short() + " reaches " + res.whose}
					d.fix = "write " + kind + "/$aws/things/${iot:Connection.Thing.ThingName}/…"
					if res.prefix == "$aws/rules/" {
						d.fix = "name the rules: topic/$aws/rules/<rule>/*"
					}
					collect(&d.examples)(i.allowed(action, kind, i.victim(p, res.prefix), st.document))
					i.at(st, r.node, d)
				}
			}
		}
	}
	actions := thingActions(st)
	if len(actions) == 0 || !slices.ContainsFunc(r.of(kindThing), anyLevel) {
		return
	}
	d := detail{message: r.short() + " reaches any device's shadow and jobs by " + list(actions), fix: "write thing/${iot:Connection.Thing.ThingName}, or list the things"}
	i.at(st, r.node, d)
}

// aimed reports whether a pattern that reaches reserved topics was written for
// them: it begins with their "$aws", or ends in the words of a shadow or a job.
// A "*" before the slash of the kind reaches everything, and means nothing.
func aimed(r *resource, p pattern) bool {
	if strings.HasPrefix(p.prefix(), "$") {
		return true
	}
	kind := r.name.prefix()
	text := p.String()
	return strings.Contains(kind, "/") && (strings.Contains(text, "/shadow/") || strings.Contains(text, "/jobs/"))
}

// victim is a name of p that belongs to another device, or the filter for
// those of all.
func (i *inspector) victim(p pattern, prefix string) string {
	other, tail := "press-2", "/shadow/update"
	if prefix == "$aws/rules/" {
		other, tail = "any_rule", "/a"
	}
	rest := p.behind(prefix + other)
	if len(rest) == 0 {
		return p.sample(i.set.values, "x", "1")
	}
	if own := rest[0].sample(i.set.values, "", "1"); own != "" {
		tail = own
	}
	return prefix + other + tail
}

// anyLevel reports whether a pattern begins with a level for anything.
func anyLevel(p pattern) bool {
	if len(p) == 0 {
		return false
	}
	switch first := p[0]; first.kind {
	case anyRun, one:
		return true
	case literal:
		return (first.char == '+' || first.char == '#') && p.level(0)
	}
	return false
}

// findL20 finds grants of everything: each action on each resource, or
// publishing or subscribing anywhere.
func findL20(i *inspector) {
	for _, st := range i.set.statements() {
		if st.deny || st.notAction != nil || st.notResource != nil {
			continue
		}
		for _, r := range st.resources {
			d := detail{fix: "list the actions that the device needs, each on its own client id, topics and filters"}
			switch {
			case grantsAll(st) && everythingOn(r):
				d.message = "everything is allowed on everything: one stolen device reads and writes all others"
				show := collect(&d.examples)
				show(i.allowed(publish, kindTopic, "$aws/things/press-2/shadow/update", st.document))
				show(i.allowed(subscribe, kindFilter, "#", st.document))
			case st.acts[subscribe] && (everything(r.of(kindFilter)) || r.of(kindFilter) != nil && r.of(kindFilter)[0].String() == "#"):
				d.message = "every topic of the account may be subscribed to"
				d.fix = "name the filters, such as topicfilter/dt/${iot:Connection.Thing.ThingName}/*"
				collect(&d.examples)(i.allowed(subscribe, kindFilter, "#", st.document))
			case (st.acts[publish] || st.acts[retainPublish]) && everything(r.of(kindTopic)):
				d.message = "every topic of the account may be published to, shadows and jobs of other devices too"
				d.fix = "name the topics, such as topic/dt/${iot:Connection.Thing.ThingName}/*"
				collect(&d.examples)(i.allowed(publish, kindTopic, "$aws/things/press-2/shadow/update", st.document))
			default:
				continue
			}
			i.at(st, r.node, d)
		}
	}
}

// findL24 finds Denies that a shared subscription escapes, and Allows of
// shared subscriptions that reach further than one filter. Where the group's
// "*" is followed by a fixed filter, only filters that end in it are reached,
// and the finding is a remark; so it is where only another document could allow
// the shared form of what is denied.
func findL24(i *inspector) {
	for _, st := range i.set.statements() {
		if !st.acts[subscribe] || st.notResource != nil {
			continue
		}
		for _, r := range st.resources {
			names := r.of(kindFilter)
			switch {
			case len(names) == 0:
			case st.deny:
				i.unshared(st, r, names[0])
			case strings.HasPrefix(names[0].prefix(), "$share/"):
				i.crossing(st, r, names[0])
			}
		}
	}
}

// unshared looks for the shared form of a denied filter.
func (i *inspector) unshared(st *statement, r *resource, p pattern) {
	if strings.HasPrefix(p.prefix(), "$share/") || len(p.behind("$share/")) > 0 {
		return
	}
	filter, topic := p.sample(i.set.values, "x", "1"), i.set.mqttSample(p)
	d := detail{
		message: "a shared subscription is checked under its whole text, so $share/<group>/" + p.String() + " is not denied",
		fix:     "deny topicfilter/$share/*/" + p.String() + " too, and iot:Receive on topic/" + topicsOf(p).String(),
	}
	if i.set.denies(receive, kindTopic, topic) != nil {
		return
	}
	if i.set.lets(subscribe, kindFilter, "$share/g/"+filter) == nil {
		if i.set.known || p.contains("+#") { // L02 speaks of the latter
			return
		}
		d.severity = Low
		d.message += "; nothing here allows it, but another document may"
	}
	collect(&d.examples)(i.allowed(subscribe, kindFilter, "$share/g/"+filter, st.document))
	i.at(st, r.node, d)
}

// crossing looks at the group of an allowed shared subscription.
func (i *inspector) crossing(st *statement, r *resource, p pattern) {
	rest := p.behind("$share/")[0]
	if len(rest) == 0 || rest[0].kind != anyRun {
		return
	}
	tail := rest[1:]
	d := detail{
		message: "the \"*\" for the group crosses \"/\", so " + r.short() + " reaches other filters than " + strings.TrimPrefix(tail.String(), "/"),
		fix:     "name the group: topicfilter/$share/<group>" + tail.String(),
	}
	if len(tail) > 0 && tail[len(tail)-1].kind != anyRun {
		d.severity = Low
	}
	collect(&d.examples)(i.allowed(subscribe, kindFilter, "$share/g/other/level"+tail.sample(i.set.values, "x", "1"), st.document))
	i.at(st, r.node, d)
}

// findL30 finds variables with a wildcard at their heels: the name of one
// device begins the name of another.
func findL30(i *inspector) {
	for _, st := range i.set.statements() {
		for _, r := range st.resources {
			for at := range len(r.name) - 1 {
				v, next := r.name[at], r.name[at+1]
				if v.kind != variable || next.kind != anyRun && next.kind != one || strings.EqualFold(v.name, "iot:CertificateId") {
					continue
				}
				i.at(st, r.node, i.bleeding(st, r, at))
				break
			}
		}
	}
}

func (i *inspector) bleeding(st *statement, r *resource, at int) detail {
	v := r.name[at]
	d := detail{fix: "write / between: " + r.name[:at+1].String() + "/*"}
	text := i.set.values[strings.ToLower(v.name)]
	d.message = "${" + v.name + "} may begin the name of another: with " + text + " this reaches " + text + "0 too"
	if st.deny {
		d.severity = Medium
		d.message = "${" + v.name + "} may begin the name of another: with " + text + " this denies " + text + "0 too"
		return d
	}
	for _, action := range []string{connect, publish, subscribe, receive} {
		kind := actionKinds[action]
		names := r.of(kind)
		if !st.acts[action] || len(names) == 0 {
			continue
		}
		at := slices.IndexFunc(names[0], func(s symbol) bool { return s.kind == variable && s.name == v.name })
		if at < 0 || at+2 > len(names[0]) {
			continue
		}
		name := names[0][:at+1].sample(i.set.values, "x", "1") + "0" + names[0][at+2:].sample(i.set.values, "x", "1")
		collect(&d.examples)(i.allowed(action, kind, name, st.document))
	}
	return d
}
