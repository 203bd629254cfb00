package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// Validate returns everything that is wrong with the routes: filters and
// templates that do not parse, values out of range, names used twice, routes
// that nothing can reach, and loops. Whether the upstreams exist is for the
// whole configuration to say.
func (o Options) Validate() []bridge.Problem {
	v := &validation{options: o, names: map[string]string{}}
	v.closed("match", o.Match, "first", "all")
	v.closed("topic_limits", o.TopicLimits, "aws", "mqtt")
	v.passThrough()
	local := v.localOnly()
	ups, downs := v.options.PassThrough.passed()
	ups, downs = append(ups, v.ups()...), append(downs, v.downs()...)
	v.unreachable(local, ups, downs)
	v.crowded(ups, downs)
	if v.options.TopicLimits == "aws" {
		v.problems = append(v.problems, reserved(local, ups, downs)...)
	}
	return append(v.problems, loops(local, ups, downs)...)
}

type validation struct {
	options  Options
	names    map[string]string // route name → where it was used first
	problems []bridge.Problem
}

func (v *validation) add(path, text, remedy string) {
	v.problems = append(v.problems, bridge.Problem{Path: path, Text: text, Remedy: remedy})
}

// fault adds what a parser found; it reports whether there was nothing.
func (v *validation) fault(path string, value string, err error) bool {
	f, ok := errors.AsType[*fault](err)
	if !ok {
		return true
	}
	what := f.text
	if value != "" {
		what = quote(value) + " " + f.text
	}
	v.add(path, what, f.remedy)
	return false
}

// closed checks a value of a closed list.
func (v *validation) closed(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.add(path, quote(value)+" is not one of "+strings.Join(allowed, ", "), "choose one of them")
	}
}

func (v *validation) localOnly() [][]level {
	var out [][]level
	for i, f := range v.options.LocalOnly {
		levels, err := parseFilter(f)
		if v.fault(fmt.Sprintf("local_only[%d]", i), f, err) {
			out = append(out, levels)
		}
	}
	return out
}

func (v *validation) ups() []parsedUp {
	if n := len(v.options.Up); n > MaxRoutes {
		v.add("up", fmt.Sprintf("%d routes are more than %d", n, MaxRoutes), "merge routes with wildcards")
		return nil
	}
	var out []parsedUp
	for i, u := range v.options.Up {
		at := fmt.Sprintf("up[%d].", i)
		v.common(at, u.Name, u.Upstream, u.QoS, u.Retain, u.Priority, u.TTL)
		if u.KeepLast < 0 || u.KeepLast > MaxKeepLast {
			v.add(at+"keep_last", fmt.Sprintf("%d is out of range", u.KeepLast), fmt.Sprintf("set it between 1 and %d, or to 0 to keep all", MaxKeepLast))
		}
		v.closed(at+"origin", u.Origin, "user_properties", "envelope", "none", "bare")
		v.entry(at, u)
		for _, p := range u.Steps.Validate(shape.Around{TTL: u.TTL, Retain: u.Retain == "keep", KeepLast: u.KeepLast}) {
			v.add(at+p.Path, p.Text, p.Remedy)
		}
		from, topic, ok := v.topics(at, u.From, u.Topic, true)
		if ok && u.BasicIngest != "" {
			topic, ok = v.ingest(at, u)
		}
		if ok {
			out = append(out, parsedUp{i, u, from, topic})
		}
	}
	return out
}

func (v *validation) downs() []parsedDown {
	if n := len(v.options.Down); n > MaxRoutes {
		v.add("down", fmt.Sprintf("%d routes are more than %d", n, MaxRoutes), "merge routes with wildcards")
		return nil
	}
	var out []parsedDown
	for i, d := range v.options.Down {
		at := fmt.Sprintf("down[%d].", i)
		v.common(at, d.Name, d.Upstream, d.QoS, d.Retain, d.Priority, d.TTL)
		from, _, ok := v.topics(at, d.From, d.Topic, false)
		if !ok {
			continue
		}
		// A filter above AWS's limits is not granted (B136).
		if err := limitsOf(v.options.TopicLimits, true).check(d.From); err != nil {
			v.add(at+"from", strings.Replace(err.Error(), "the resulting topic", "the filter", 1), "shorten it, or set topic_limits: mqtt")
			continue
		}
		out = append(out, parsedDown{i, d, from})
	}
	return out
}

// topics checks filter and template of one route.
func (v *validation) topics(at, from, to string, up bool) ([]level, *template, bool) {
	levels, err := parseFilter(from)
	okFrom := v.fault(at+"from", from, err)
	t, err := parseTemplate(to, up)
	okTopic := v.fault(at+"topic", to, err)
	if !okTopic {
		return nil, nil, false
	}
	if err := limitsOf(v.options.TopicLimits, up).check(t.least()); err != nil && t.least() != "" {
		v.add(at+"topic", strings.Replace(err.Error(), "the resulting topic", "its text alone", 1), "shorten it, or set topic_limits: mqtt")
		return nil, nil, false
	}
	if !okFrom {
		return nil, nil, false
	}
	return levels, t, v.fault(at+"topic", to, t.checkLevels(levels))
}

// common checks what routes of both directions have.
func (v *validation) common(at, name, upstream, qos, retain string, priority int, ttl time.Duration) {
	switch first, taken := v.names[name]; {
	case name == "":
		v.add(at+"name", "is missing", "give the route a name of its own: it names the queue")
	case !ValidName(name):
		v.add(at+"name", quote(name)+" is not a name", "use 1 to 64 of a-z, 0-9, - and _, beginning with a letter or digit")
	case taken:
		v.add(at+"name", quote(name)+" is also the name of "+first, "rename one of them")
	default:
		v.names[name] = strings.TrimSuffix(at, ".")
	}
	if upstream == "" {
		v.add(at+"upstream", "is missing", "name one of the upstreams")
	}
	v.closed(at+"qos", qos, "0", "1", "published")
	v.closed(at+"retain", retain, "clear", "keep")
	if priority < 0 || priority > 9 {
		v.add(at+"priority", strconv.Itoa(priority)+" is not from 0 to 9", "choose 0 (last) to 9 (first)")
	}
	if ttl < 0 {
		v.add(at+"ttl", ttl.String()+" is negative", "write 0s to keep messages for ever")
	}
}

// unreachable reports routes that an earlier filter takes everything from.
func (v *validation) unreachable(local [][]level, ups []parsedUp, downs []parsedDown) {
	for n, u := range ups {
		path := u.at("from")
		if i := slices.IndexFunc(local, func(f []level) bool { return covers(f, u.from) }); i >= 0 {
			v.add(path, named(u.route.Name, u.route.From)+" takes nothing: its topics are all local_only", "narrow local_only, or take the route out")
			continue
		}
		if i := slices.IndexFunc(ups[:n], func(e parsedUp) bool { return e.route.Where == "" && covers(e.from, u.from) }); i >= 0 && v.options.Match == "first" {
			v.shadowed(path, named(u.route.Name, u.route.From), named(ups[i].route.Name, ups[i].route.From))
		}
	}
	for n, d := range downs {
		i := slices.IndexFunc(downs[:n], func(e parsedDown) bool {
			return e.route.Upstream == d.route.Upstream && covers(e.from, d.from)
		})
		if i >= 0 && v.options.Match == "first" {
			v.shadowed(d.at(), named(d.route.Name, d.route.From), named(downs[i].route.Name, downs[i].route.From))
		}
	}
}

func (v *validation) shadowed(path, later, earlier string) {
	v.add(path, later+" takes nothing: "+earlier+" stands before it and takes it all", "put the narrower route first, or set match: all")
}

// ValidName reports whether s can name a route or an upstream: such names are
// parts of queue names, client ids and environment variables.
func ValidName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
		case i > 0 && (r == '-' || r == '_'):
		default:
			return false
		}
	}
	return true
}

func quote(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return strconv.Quote(s)
}
