package lint

import (
	"strings"
)

// mqttSample is a topic that the author of p had in mind: MQTT's wildcards
// stand for a level or two.
func (s *set) mqttSample(p pattern) string {
	var out pattern
	for i, sym := range p {
		switch {
		case sym.kind == literal && sym.char == '+' && p.level(i):
			out = append(out, literals("any")...)
		case sym.kind == literal && sym.char == '#' && p.level(i):
			out = append(out, literals("any/thing")...)
		case sym.kind == literal && (sym.char == '+' || sym.char == '#'):
		default:
			out = append(out, sym)
		}
	}
	return out.sample(s.values, "x", "1")
}

// mqttWildcards names the wildcards of MQTT in p: "+", "#" or both.
func mqttWildcards(p pattern) string {
	plus, hash := p.contains("+"), p.contains("#")
	switch {
	case plus && hash:
		return `"+" and "#" are ordinary characters`
	case plus:
		return `"+" is an ordinary character`
	}
	return `"#" is an ordinary character`
}

// meant is the pattern with a policy's wildcards where MQTT's stood.
func meant(p pattern) pattern {
	out := make(pattern, 0, len(p))
	for _, s := range p {
		if s.kind == literal && (s.char == '+' || s.char == '#') {
			s = symbol{kind: anyRun}
		}
		out = append(out, s)
	}
	return out
}

// eachMQTT calls found for the resources of Allow or Deny statements that have
// a "+" or "#" in a topic or filter.
func (i *inspector) eachMQTT(deny bool, found func(st *statement, r *resource, kind string, name pattern)) {
	for _, st := range i.set.statements() {
		if st.deny != deny {
			continue
		}
		for _, r := range st.resources {
			for _, kind := range []string{kindFilter, kindTopic} {
				names := r.of(kind)
				if len(names) > 0 && names[0].contains("+#") {
					found(st, r, kind, names[0])
					break
				}
			}
		}
	}
}

// topicActions are the actions of a statement about topics.
func topicActions(st *statement) []string {
	var out []string
	for _, a := range []string{publish, retainPublish, receive} {
		if st.acts[a] {
			out = append(out, a)
		}
	}
	return out
}

// findL01 finds MQTT's wildcards where something is allowed. A filter that is
// spelled with them is a remark where iot:Receive on the matching topics shows
// that its author knows the difference.
func findL01(i *inspector) {
	i.eachMQTT(false, func(st *statement, r *resource, kind string, name pattern) {
		d := detail{message: mqttWildcards(name) + " in a policy, no wildcard: "}
		spelled, sample := name.sample(i.set.values, "x", "1"), i.set.mqttSample(name)
		show := collect(&d.examples)
		wide := meant(name).String()
		switch {
		case st.notResource != nil:
			d.message += "the exception is for the one name " + quote(name.String())
			d.fix = "write " + kind + "/" + wide + ", or better list what is allowed"
		case kind == kindTopic:
			d.message += "no topic that is published or delivered holds it, so " + kind + "/" + name.String() + " grants nothing"
			d.fix = "write " + kind + "/" + wide + `: "*" is a policy's word for any characters, "?" for one`
			for _, a := range topicActions(st) {
				show(i.refused(a, kind, sample))
			}
		default:
			d.message += kind + "/" + name.String() + " lets in the one filter spelled " + quote(name.String())
			show(i.allowed(subscribe, kind, spelled, st.document))
			show(i.refused(subscribe, kind, sample))
			d.fix = "write " + kind + "/" + wide + "; keep it only if devices subscribe to just this filter, and then allow iot:Receive on topic/" + wide
			if i.received(topicsOf(name)) {
				d.severity = Low
				d.message += "; iot:Receive on the topics below it says that this is meant"
			}
		}
		i.at(st, r.node, d)
	})
}

// received reports whether iot:Receive is allowed on all these topics.
func (i *inspector) received(topics pattern) bool {
	for _, st := range i.set.of(false, receive) {
		if st.coversName(kindTopic, topics) {
			return true
		}
	}
	return false
}

// findL02 finds MQTT's wildcards where something is denied: all but the one
// spelling goes through.
func findL02(i *inspector) {
	i.eachMQTT(true, func(st *statement, r *resource, kind string, name pattern) {
		d := detail{message: mqttWildcards(name) + " in a policy, no wildcard: "}
		sample := i.set.mqttSample(name)
		wide := meant(name).String()
		show := collect(&d.examples)
		switch {
		case st.notResource != nil:
			d.message += "the one name " + quote(name.String()) + " is spared, " + quote(sample) + " is denied"
			d.fix = "write " + kind + "/" + wide
		case kind == kindTopic:
			d.message += "no topic that is published or delivered holds it, so this Deny keeps nothing out, not " + quote(sample) + " either"
			d.fix = "write " + kind + "/" + wide
			for _, a := range topicActions(st) {
				show(i.allowed(a, kind, sample, st.document))
			}
		default:
			d.message += "this Deny keeps out the one filter spelled " + quote(name.String()) + ", and not " + quote(sample)
			d.fix = "write topicfilter/" + wide + ", and deny iot:Receive on topic/" + wide + " too: a wider filter still brings these topics"
			show(i.refused(subscribe, kind, name.sample(i.set.values, "x", "1")))
			show(i.allowed(subscribe, kind, sample, st.document))
			if around := i.around(sample); around != "" {
				show(i.allowed(subscribe, kind, around, st.document))
			}
			show(i.allowed(receive, kindTopic, sample, st.document))
		}
		i.at(st, r.node, d)
	})
}

// What AWS IoT Core takes of a topic; a longer one needs no example. The levels
// are eight, and three more behind $aws/rules.
const (
	maxTopic  = 256 // bytes
	maxLevels = 11
)

// around finds a filter with MQTT's wildcards that is let in and brings a
// topic.
func (i *inspector) around(topic string) string {
	levels := strings.Split(topic, "/")
	if len(topic) > maxTopic || len(levels) > maxLevels {
		return ""
	}
	var candidates []string
	for k := range levels {
		candidates = append(candidates, strings.Join(append(append([]string{}, levels[:k]...), "#"), "/"))
	}
	for k := range levels {
		changed := append([]string{}, levels...)
		changed[k] = "+"
		candidates = append(candidates, strings.Join(changed, "/"))
	}
	for _, c := range candidates {
		if filterMatches(c, topic) && i.set.lets(subscribe, kindFilter, c) != nil {
			return c
		}
	}
	return ""
}

// findL03 finds a Deny of iot:Subscribe that a wider filter goes around. It is
// no finding where iot:Receive withholds the topics: by a Deny, or because the
// set allows iot:Receive on others only.
func findL03(i *inspector) {
	for _, st := range i.set.of(true, subscribe) {
		for _, r := range st.resources {
			names := r.of(kindFilter)
			if len(names) == 0 || st.notResource != nil || names[0].contains("+#") || strings.HasPrefix(names[0].prefix(), "$share/") {
				continue
			}
			i.goesAround(st, r, names[0])
		}
	}
}

func (i *inspector) goesAround(st *statement, r *resource, name pattern) {
	topic := i.set.mqttSample(name)
	filter := i.around(topic)
	if filter == "" || i.set.denies(receive, kindTopic, topic) != nil {
		return
	}
	delivered := i.set.lets(receive, kindTopic, topic)
	if delivered == nil && (i.set.known || len(i.set.of(false, receive)) > 0) {
		return
	}
	d := detail{
		message: "a filter is compared as text, so the wider filter " + quote(filter) + " is not denied, and brings " + quote(topic) + " all the same",
		fix:     "add a Deny of iot:Receive on topic/" + topicsOf(name).String() + ": that withholds the messages, whatever the filter",
	}
	if delivered == nil {
		d.message += " where another document allows iot:Receive"
	}
	show := collect(&d.examples)
	show(i.allowed(subscribe, kindFilter, filter, st.document))
	show(i.allowed(receive, kindTopic, topic, st.document))
	i.at(st, r.node, d)
}
