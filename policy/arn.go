package policy

import (
	"regexp"
	"strings"
)

// gateway is whose ARNs requests have. An empty field is not compared: it is
// empty in the requests, and in what documents say at its place.
type gateway struct {
	partition, region, account string
	switches                   *Switches // nil: all have their defaults
}

// input is input.gateway of the rules.
func (g gateway) input() map[string]any {
	return map[string]any{"partition": g.partition, "region": g.region, "account": g.account}
}

// switched is input.switches of the rules.
func (g gateway) switched() map[string]any {
	if g.switches == nil {
		return map[string]any{}
	}
	return g.switches.changed()
}

// bytewise reports whether a "?" in a policy stands for a byte.
func (g gateway) bytewise() bool {
	return g.switches != nil && g.switches.QuestionMark == "byte"
}

// prefix is what every ARN of the gateway starts with.
func (g gateway) prefix() string {
	return "arn:" + g.partition + ":iot:" + g.region + ":" + g.account + ":"
}

// of is the same gateway with other ARNs.
func (g gateway) of(partition, region, account string) gateway {
	g.partition, g.region, g.account = partition, region, account
	return g
}

// compared is what a field of a document's ARN, counted from 0, is taken for.
func (g gateway) compared(index int, field string) string {
	if g.uncompared(index) && !strings.Contains(field, "/") {
		return ""
	}
	return field
}

func (g gateway) uncompared(index int) bool {
	return index == 1 && g.partition == "" || index == 3 && g.region == "" || index == 4 && g.account == ""
}

// What a region and an account look like, wildcards in.
var (
	regionForm  = regexp.MustCompile(`^[a-z]{2}[a-z]*-[a-z0-9*?-]*$`)
	accountForm = regexp.MustCompile(`^[0-9?*]*[0-9][0-9?*]*$`)
)

// comparedBehind is compared for a field behind one that may run past its
// colon: its place does not say what it is, only its look does.
func (g gateway) comparedBehind(field string) string {
	if g.region == "" && regionForm.MatchString(field) || g.account == "" && accountForm.MatchString(field) {
		return ""
	}
	return field
}

// own makes an ARN in a document comparable with those of the gateway as text.
// In a pattern a "*" at the end of a field may run past the colon.
func (g gateway) own(text string, pattern bool) string {
	fields := strings.SplitN(text, ":", 6)
	behind := false
	for i, field := range fields[:min(len(fields), 5)] {
		rest, star := field, false
		if pattern {
			rest, star = strings.CutSuffix(field, "*")
		}
		if behind {
			rest = g.comparedBehind(rest)
		} else {
			rest = g.compared(i, rest)
		}
		behind = behind || star
		if fields[i] = rest; star {
			fields[i] += "*"
		}
	}
	return strings.Join(fields, ":")
}

// resource is an element of Resource or NotResource. Variables are read only
// behind the fifth colon; the fields before are prepared once.
type resource struct {
	text  string
	head  []step
	at    []int // where in head one can be behind what all of the gateway's ARNs start with
	name  []token
	bytes bool                 // it is run over bytes
	needs []string             // the variables in name
	fixed map[string][]tail    // by the kind of resource asked about, when there is no variable
	open  map[string][][]token // what is behind the kind, variables in, where that can be said
}

// newResource prepares a resource. In the first five fields a wildcard stays
// within its field, except that a "*" at the end of the field may run past the
// colon; behind the fifth colon everything is one field.
func newResource(text, version string, g gateway) *resource {
	r := &resource{text: text, bytes: g.bytewise()}
	if text == "*" {
		r.head = []step{{kind: anyRun}}
		r.fix(g)
		return r
	}
	fields := strings.SplitN(text, ":", 6)
	behind := false // a field that may run past its colon
	for i, field := range fields[:min(len(fields), 5)] {
		if i > 0 {
			r.head = append(r.head, step{kind: one, char: ':'})
		}
		rest, star := strings.CutSuffix(field, "*")
		if star && g.switches != nil && g.switches.ColonWildcard == "within" {
			rest, star = field, false
		}
		if behind {
			rest = g.comparedBehind(rest)
		} else {
			rest = g.compared(i, rest)
		}
		behind = behind || star
		r.head = appendSteps(r.head, g.literally(tokenise(rest, version2008)), fieldOne, fieldRun)
		if star {
			r.head = append(r.head, step{kind: anyRun})
		}
	}
	if len(fields) == 6 {
		r.head = append(r.head, step{kind: one, char: ':'})
		r.name = tokenise(fields[5], version)
	}
	r.fix(g)
	return r
}

// fix does once what needs no session; all of it when there is no variable.
func (r *resource) fix(g gateway) {
	r.at = run(r.head, []int{0}, g.prefix())
	r.needs = variables(r.name)
	fixed, open := map[string][]tail{}, map[string][][]token{}
	for _, kind := range []string{"client/", "topic/", "topicfilter/"} {
		if len(r.needs) == 0 {
			fixed[kind] = r.tails(kind, nil)
		} else if leads, ok := r.leads(kind); ok {
			open[kind] = leads
		}
	}
	r.fixed, r.open = fixed, open
}

// tails compiles the resource for the gateway's ARNs of one kind: what is left
// to be matched behind it, one tail or another. None when a variable has no
// value or the kind does not fit.
func (r *resource) tails(kind string, v values) []tail {
	if fixed, ok := r.fixed[kind]; ok {
		return fixed
	}
	if kind == "*" && r.text != "*" {
		return nil // the request's resource is "*" itself, which no ARN fits
	}
	if leads, ok := r.open[kind]; ok {
		return r.opened(leads, v)
	}
	name, ok := v.resolve(r.name)
	if !ok {
		return nil
	}
	if r.bytes {
		name = widenAll(name)
	}
	size := len(r.head)
	for _, t := range name {
		size += len(t.text)
	}
	steps := appendSteps(append(make([]step, 0, size), r.head...), name, anyOne, anyRun)
	var out []tail
	for _, at := range run(steps, r.at, kind) {
		out = append(out, newTail(steps[at:], r.bytes))
	}
	return out
}

// opened puts the values into what is behind a kind.
func (r *resource) opened(leads [][]token, v values) []tail {
	var out []tail
	for _, tokens := range leads {
		resolved, ok := v.resolve(tokens)
		if !ok {
			return nil
		}
		out = append(out, globTail(resolved, false))
	}
	return out
}

// arnPattern is a value of an ARN operator: its six fields are compared one by
// one, each with its own wildcards.
type arnPattern struct {
	head []glob // five, or none when the value is no ARN
	name []token
}

func newARNPattern(text, version string, g gateway) arnPattern {
	fields := strings.SplitN(text, ":", 6)
	if len(fields) < 6 {
		return arnPattern{}
	}
	var p arnPattern
	for i, field := range fields[:5] {
		p.head = append(p.head, g.glob(tokenise(g.compared(i, field), version2008)))
	}
	p.name = tokenise(fields[5], version)
	return p
}

// match compares with an ARN; name is the compiled sixth field.
func (p arnPattern) match(arn string, name glob) bool {
	fields := strings.SplitN(arn, ":", 6)
	if len(p.head) == 0 || len(fields) < 6 {
		return false
	}
	for i, g := range p.head {
		if !g.match(fields[i]) {
			return false
		}
	}
	return name.match(fields[5])
}
