package lint

import (
	"slices"
	"strings"
)

// findL10 finds doors that let any client id in, and Denies on a thing group
// that another client id escapes. A document for claim certificates is a
// remark: a device that is not provisioned has no thing yet.
func findL10(i *inspector) {
	for _, st := range i.set.of(false, connect) {
		for _, r := range st.resources {
			names := r.of(kindClient)
			if st.notResource != nil {
				names = []pattern{{{kind: anyRun}}}
			}
			for _, p := range names {
				if i.set.doorOf(st, p) != loose {
					continue
				}
				i.at(st, r.node, i.looseDoor(st, r))
				break
			}
		}
	}
	i.escapes()
}

func (i *inspector) looseDoor(st *statement, r *resource) detail {
	d := detail{
		message: r.short() + " lets a client in under any id: a device can take another one's place, and AWS then closes the other's connection",
		fix:     "allow iot:Connect on client/${iot:Connection.Thing.ThingName} with the condition Bool iot:Connection.Thing.IsAttached \"true\"",
	}
	if slices.ContainsFunc(r.name.variables(), func(v symbol) bool { return strings.EqualFold(v.name, keyClientID) }) {
		d.message = r.short() + " is the client's own word for itself, so it is as wide as client/* and " + d.message[len(r.short())+1:]
	}
	if i.claim() {
		d.severity = Low
		d.message += "; the document reads as one for claim certificates, whose devices have no thing yet"
	}
	for _, id := range []string{"press-1", "anybody"} {
		collect(&d.examples)(i.allowed(connect, kindClient, id, st.document))
	}
	return d
}

// provisioning are the topics that a device speaks on before it has a thing.
var provisioning = []string{"$aws/certificates/create", "$aws/provisioning-templates/"}

// claim reports whether all that the set allows beside iot:Connect is to be
// provisioned.
func (i *inspector) claim() bool {
	found := false
	for _, st := range i.set.statements() {
		if st.deny || st.acts[connect] && len(st.acts) == 1 {
			continue
		}
		for _, kind := range []string{kindTopic, kindFilter} {
			for _, p := range st.names(kind) {
				if !slices.ContainsFunc(provisioning, func(prefix string) bool { return strings.HasPrefix(p.prefix(), prefix) }) {
					return false
				}
				found = true
			}
		}
	}
	return found
}

// escapes reports Denies that apply only under the thing's own name, where the
// set lets the device in under others. A document that only denies is taken
// for one of a group, as a remark.
func (i *inspector) escapes() {
	if door := i.set.door(); door == bound {
		return
	}
	for _, d := range i.set.documents {
		only := !slices.ContainsFunc(d.statements, func(st *statement) bool { return !st.deny })
		if !i.set.group[d] && !(only && !i.set.known && len(i.set.documents) == 1) {
			continue
		}
		for _, st := range d.statements {
			if !st.deny {
				continue
			}
			f := detail{
				severity: High,
				message:  "policies of a thing group apply only to the client whose id is the thing's name: under another id the device escapes this Deny",
				fix:      "allow iot:Connect only on client/${iot:Connection.Thing.ThingName}, or attach the Deny to the certificates",
			}
			if !i.set.group[d] {
				f.severity = Low
				f.message = "if this is attached to a thing group: " + f.message
			}
			i.at(st, st.resources[0].node, f)
		}
	}
}

// findL11 finds values that a client chooses in a filter. The client id
// matters where iot:Connect is loose; attributes come from the registry, and
// are a remark where iot:Connect is bound or where they stand in a topic.
func findL11(i *inspector) {
	door := i.set.door()
	i.chosenIn(subscribe, kindFilter, map[risk]Severity{{false, loose}: High, {false, shut}: Medium, {true, loose}: High, {true, shut}: Medium, {true, named}: Low, {true, bound}: Low}, door)
	for _, action := range []string{publish, retainPublish} {
		i.chosenIn(action, kindTopic, map[risk]Severity{{true, loose}: Low, {true, shut}: Low, {true, named}: Low, {true, bound}: Low}, door)
	}
}

// risk is what L11's severity depends on.
type risk struct {
	attribute bool
	door      door
}

func (i *inspector) chosenIn(action, kind string, severity map[risk]Severity, how door) {
	for _, st := range i.set.of(false, action) {
		for _, r := range st.resources {
			for _, p := range r.of(kind) {
				for _, v := range p.variables() {
					attribute := attributeKey.MatchString(v.name)
					if !attribute && !strings.EqualFold(v.name, keyClientID) {
						continue
					}
					s := severity[risk{attribute, how}]
					if s == 0 || st.notResource != nil {
						continue
					}
					i.at(st, r.node, i.injected(kind, p, v, how, s))
				}
			}
		}
	}
}

func (i *inspector) injected(kind string, p pattern, v symbol, how door, s Severity) detail {
	d := detail{severity: s}
	filled := values{}
	for k, text := range i.set.values {
		filled[k] = text
	}
	bad := "+"
	if attributeKey.MatchString(v.name) {
		bad = "#"
		d.message = "an attribute may hold \"#\", \"+\" and \"/\": whoever writes ${" + v.name + "} in the registry chooses the " + map[string]string{kindFilter: "filter", kindTopic: "topic"}[kind]
		d.fix = "use ${iot:Connection.Thing.ThingName}, which holds no wildcard, or guard who may write the attribute"
	} else {
		d.message = "a client that calls itself \"+\" makes of " + kind + "/" + p.String() + " a filter for everybody's topics"
		d.fix = "allow iot:Connect on client/${iot:Connection.Thing.ThingName} only, and use that variable here too"
		if how == shut {
			d.message += "; nothing here says which client ids may connect"
		}
	}
	filled[strings.ToLower(v.name)] = bad
	name := p.sample(filled, "x", "1")
	d.message += " (" + name + ")"
	return d
}

// findL12 finds Denies that fail open, because a variable in them has no
// value, and exceptions that except nothing. It is no finding where every
// Allow that the Deny narrows needs the same variable, and a remark where only
// HTTPS, which has no thing, goes around.
func findL12(i *inspector) {
	door := i.set.door()
	for _, st := range i.set.statements() {
		if !st.deny && st.notResource == nil {
			continue
		}
		for _, r := range st.resources {
			for _, v := range r.name.variables() {
				if !optional(v.name) || !knownKey(v.name) || v.def != "" || st.deny && i.dependent(st, v) {
					continue
				}
				d := detail{message: "where ${" + v.name + "} has no value this Deny matches nothing, and denies nothing"}
				switch {
				case st.deny && st.notResource != nil:
					d.severity = Medium
					d.message = "where ${" + v.name + "} has no value the exception excepts nothing, and everything is denied"
				case st.notResource != nil:
					d.message = "where ${" + v.name + "} has no value the exception excepts nothing, and everything is allowed"
				}
				if door == bound && strings.EqualFold(v.name, keyThingName) {
					if !st.deny || !i.narrows(st) {
						continue
					}
					d.severity = Low
					d.message += "; MQTT clients have it here, HTTPS publishers never"
				}
				i.at(st, r.node, d)
				break
			}
		}
	}
}

// narrows reports whether the set allows something that a Deny is about.
func (i *inspector) narrows(st *statement) bool {
	return i.eachNarrowed(st, func(*statement, *resource) bool { return true })
}

// dependent reports whether all that a Deny narrows needs the same variable.
func (i *inspector) dependent(st *statement, v symbol) bool {
	return i.narrows(st) && !i.eachNarrowed(st, func(allow *statement, r *resource) bool {
		return allow.notResource != nil || !slices.ContainsFunc(r.name.variables(), func(o symbol) bool { return strings.EqualFold(o.name, v.name) })
	})
}

// eachNarrowed asks about the resources that are allowed and that a Deny
// overlaps, until the answer is yes.
func (i *inspector) eachNarrowed(deny *statement, is func(*statement, *resource) bool) bool {
	for _, allow := range i.set.statements() {
		if allow.deny || !slices.ContainsFunc(actionNames, func(a string) bool { return allow.acts[a] && deny.acts[a] }) {
			continue
		}
		for _, r := range allow.resources {
			overlaps := allow.notResource != nil || deny.notResource != nil ||
				slices.ContainsFunc(deny.resources, func(d *resource) bool { return d.whole.overlaps(r.whole) })
			if overlaps && is(allow, r) {
				return true
			}
		}
	}
	return false
}
