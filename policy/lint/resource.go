package lint

import "strings"

// resource is an element of Resource or NotResource.
type resource struct {
	node   *node
	text   string
	fields []string // of the ARN, at most six; none for "*"
	name   pattern  // behind the fifth colon
	whole  pattern  // all of it, for comparisons
}

// The kinds of resource that a data-plane action is about.
const (
	kindClient    = "client"
	kindTopic     = "topic"
	kindFilter    = "topicfilter"
	kindThing     = "thing"
	kindRoleAlias = "rolealias"
)

var kinds = []string{kindClient, kindTopic, kindFilter, kindThing, kindRoleAlias}

func newResource(n *node, version string) *resource {
	r := &resource{node: n, text: n.text}
	if n.text == "*" {
		r.name = pattern{{kind: anyRun}}
		r.whole = r.name
		return r
	}
	r.fields = strings.SplitN(n.text, ":", 6)
	head := strings.Join(r.fields[:min(5, len(r.fields))], ":")
	r.whole = parsePattern(head, version2008)
	switch {
	case len(r.fields) == 6:
		r.name = parsePattern(r.fields[5], version)
		r.whole = append(append(r.whole, symbol{char: ':'}), r.name...)
	case strings.HasSuffix(n.text, "*"):
		r.name = pattern{{kind: anyRun}} // a "*" at the end of a field runs on
	case len(r.fields) == 5 && strings.Contains(head, "*:"):
		r.name = parsePattern(r.fields[4], version) // and so does this one
	}
	return r
}

// of lists the names of a kind that the resource covers, one pattern or
// another.
func (r *resource) of(kind string) []pattern { return r.name.behind(kind + "/") }

// everything reports whether all names of a kind are covered.
func everything(names []pattern) bool {
	for _, n := range names {
		if n.covers(pattern{{kind: anyRun}}) {
			return true
		}
	}
	return false
}

// short is the resource as messages write it: without partition, region and
// account.
func (r *resource) short() string {
	if len(r.fields) == 6 {
		return r.fields[5]
	}
	return r.text
}

// withMQTT replaces the wildcards of MQTT by those of a policy.
func withMQTT(p pattern) pattern {
	out := make(pattern, 0, len(p))
	for i, s := range p {
		if s.kind == literal && (s.char == '+' || s.char == '#') && p.level(i) {
			s = symbol{kind: anyRun}
		}
		out = append(out, s)
	}
	return out
}

// level reports whether the symbol at i is a whole topic level, as MQTT wants
// it of its wildcards.
func (p pattern) level(i int) bool {
	slash := func(i int) bool {
		return i < 0 || i >= len(p) || p[i].kind == literal && p[i].char == '/'
	}
	return slash(i-1) && slash(i+1)
}

// topicsOf is the topics that subscriptions to the filters of p may be about:
// MQTT's wildcards become a policy's, and the prefix of a shared subscription
// goes.
func topicsOf(p pattern) pattern {
	if shared := p.behind("$share/"); p.prefix() != "" && len(shared) > 0 && strings.HasPrefix(p.prefix(), "$share/") {
		for i, s := range shared[0] {
			if s.kind == literal && s.char == '/' {
				return withMQTT(shared[0][i+1:])
			}
		}
	}
	return withMQTT(p)
}

// filterMatches is MQTT's own comparison of a filter with a topic.
func filterMatches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, level := range f {
		if level == "#" {
			return i < len(t) // AWS: "a/#" does not cover "a"
		}
		if i == len(t) || level != "+" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}
