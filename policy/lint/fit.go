package lint

import (
	"slices"
	"strings"
)

// wants lists the kinds of resource that an action's text is about; nil when
// that is not known, as for other services and for the whole of AWS IoT.
func wants(text string) []string {
	covered := coveredBy(text)
	if len(covered) == 0 || len(covered) == len(actionNames) {
		return nil
	}
	var out []string
	for _, name := range covered {
		if kind := actionKinds[name]; !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	return out
}

// fits reports whether a resource covers names of one of the kinds.
func (r *resource) fits(kinds []string) bool {
	if r.text == "*" {
		return true
	}
	return slices.ContainsFunc(kinds, func(kind string) bool { return kind != "*" && len(r.of(kind)) > 0 })
}

// resourceForm is how the resources of a kind look in messages.
var resourceForm = map[string]string{
	kindClient: "client/<client id>", kindTopic: "topic/<topic>", kindFilter: "topicfilter/<filter>", kindThing: "thing/<name>", kindRoleAlias: "rolealias/<alias>", "*": `"*"`,
}

func formsOf(kinds []string) string {
	var out []string
	for _, k := range kinds {
		out = append(out, resourceForm[k])
	}
	return list(out)
}

// findL04 finds resources that fit none of their statement's actions, and
// actions that none of its resources fits.
func findL04(i *inspector) {
	for _, st := range i.set.statements() {
		if st.notAction != nil {
			continue
		}
		var all []string
		sure := true // that every action's kinds are known
		for _, a := range st.actions {
			w := wants(a.text)
			sure = sure && w != nil
			all = append(all, w...)
		}
		if !sure || slices.Equal(slices.Compact(slices.Clone(all)), []string{"*"}) {
			continue // L05 and L21 speak of those
		}
		slices.Sort(all)
		all = slices.Compact(all)
		unfit := false
		for _, r := range st.resources {
			if !r.fits(all) {
				unfit = true
				i.at(st, r.node, i.unfit(st, r, all))
			}
		}
		if !unfit {
			i.unserved(st)
		}
	}
}

// unfit is the finding about a resource that fits no action.
func (i *inspector) unfit(st *statement, r *resource, kinds []string) detail {
	var names []string
	for _, a := range st.actions {
		names = append(names, a.text)
	}
	d := detail{message: list(names) + " is checked on " + formsOf(kinds) + ", so " + r.short() + " never matches"}
	if st.notResource != nil {
		d.message = list(names) + " is checked on " + formsOf(kinds) + ", so " + r.short() + " excepts nothing"
	}
	first := kinds[0]
	_, name, _ := strings.Cut(r.short(), "/")
	if kind, rest, colon := strings.Cut(r.short(), ":"); colon && slices.Contains(allKinds, kind) {
		name = rest
		d.message += "; a slash follows " + quote(kind) + ", no colon"
	}
	if name != "" {
		d.fix = "write " + first + "/" + name
	}
	var show = collect(&d.examples)
	if !st.deny && st.notResource == nil && name != "" {
		sample := i.set.mqttSample(parsePattern(name, version2012))
		for _, action := range []string{connect, publish, subscribe, receive} {
			if st.acts[action] {
				show(i.refused(action, actionKinds[action], sample))
			}
		}
	}
	return d
}

// unserved reports the actions for which the statement has no resource.
func (i *inspector) unserved(st *statement) {
	for _, a := range st.actions {
		w := wants(a.text)
		if wild(a.text) || slices.Contains(w, "*") || slices.ContainsFunc(st.resources, func(r *resource) bool { return r.fits(w) }) {
			continue
		}
		d := detail{message: a.text + " is checked on " + formsOf(w) + ", and the statement has no such resource: this action gets nothing", fix: "add a resource " + formsOf(w) + ", or take the action out"}
		switch {
		case st.notResource != nil:
			d.message = a.text + " is checked on " + formsOf(w) + ", which NotResource does not except: all of it is " + outcome(st)
			d.fix = "list " + formsOf(w) + " too, or move the action to a statement of its own"
		case st.deny:
			d.message = a.text + " is checked on " + formsOf(w) + ", and the statement has no such resource: this action is not denied"
		}
		i.at(st, a, d)
	}
}

func outcome(st *statement) string {
	if st.deny {
		return "denied"
	}
	return "allowed"
}

var allKinds = []string{kindClient, kindTopic, kindFilter, kindThing, kindRoleAlias}

// findL05 finds actions that no request ever asks about. Those of other
// services are a remark: they are valid, and do nothing here.
func findL05(i *inspector) {
	for _, st := range i.set.statements() {
		for _, a := range st.actions {
			if a.text == "*" || len(coveredBy(a.text)) > 0 {
				continue
			}
			service, name, _ := strings.Cut(a.text, ":")
			if !strings.EqualFold(service, "iot") {
				if !wild(service) && !slices.Contains(dataServices, strings.ToLower(service)) {
					i.at(st, a, detail{severity: Low, message: quote(a.text) + " is an action of another service: no request to AWS IoT asks about it", fix: "take it out, or move it to an IAM policy"})
				}
				continue
			}
			d := detail{message: quote(a.text) + " is no action of AWS IoT's data plane: it " + dead(st)}
			meant, known := slips[strings.ToLower(name)]
			switch {
			case known && meant != "":
				d.fix = "write " + meant
			case known:
				d.message = quote(a.text) + " does not exist: " + strings.ToLower(name) + " needs no permission"
				d.fix = "take it out"
			case nearest(name) != "":
				d.fix = "write " + nearest(name)
			case controlPlane(name):
				d.message = quote(a.text) + " belongs to the control plane, which IAM policies are about: in an IoT policy it " + dead(st)
				d.fix = "move it to an IAM policy"
			}
			i.at(st, a, d)
		}
	}
}

func dead(st *statement) string {
	switch {
	case st.notAction != nil:
		return "excepts nothing"
	case st.deny:
		return "denies nothing"
	}
	return "grants nothing"
}

// nearest is the action that a name differs from by a letter or two.
func nearest(name string) string {
	best, distance := "", 3
	for _, known := range actionNames {
		if d := edits(strings.ToLower(name), strings.ToLower(strings.TrimPrefix(known, "iot:")), distance); d < distance {
			best, distance = known, d
		}
	}
	return best
}

func controlPlane(name string) bool {
	return slices.ContainsFunc(controlVerbs, func(v string) bool { return strings.HasPrefix(strings.ToLower(name), strings.ToLower(v)) })
}

// findL21 finds list actions on a resource, which they do not have.
func findL21(i *inspector) {
	for _, st := range i.set.statements() {
		if st.notAction != nil || slices.ContainsFunc(st.resources, func(r *resource) bool { return r.text == "*" }) != (st.notResource != nil) {
			continue
		}
		for _, a := range st.actions {
			if covered := coveredBy(a.text); len(covered) == 1 && actionKinds[covered[0]] == "*" {
				i.at(st, a, detail{
					message: a.text + ` is checked on the resource "*" only, so it ` + dead(st) + " with " + st.resources[0].short(),
				})
			}
		}
	}
}

// findL23 finds actions in another case than AWS writes them.
func findL23(i *inspector) {
	for _, st := range i.set.statements() {
		for _, a := range st.actions {
			covered := coveredBy(a.text)
			exact := slices.ContainsFunc(covered, func(name string) bool { return parsePattern(a.text, version2008).covers(literals(name)) })
			if len(covered) == 0 || exact {
				continue
			}
			d := detail{message: quote(a.text) + " works, because actions compare without regard to case; tools that compare text miss it"}
			if len(covered) == 1 && !wild(a.text) {
				d.fix = "write " + covered[0]
			}
			i.at(st, a, d)
		}
	}
}

// findL31 finds grants of retained publishing to reserved topics.
func findL31(i *inspector) {
	for _, st := range i.set.of(false, retainPublish) {
		for _, r := range st.resources {
			names := r.of(kindTopic)
			if st.notResource == nil && len(names) > 0 && strings.HasPrefix(names[0].prefix(), "$") {
				i.at(st, r.node, detail{message: "AWS refuses a retained message on a topic that begins with $, whatever a policy says; the grant on " + r.short() + " does nothing"})
			}
		}
	}
}
