package policy

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
)

var actionForm = regexp.MustCompile(`^(\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+)$`)

func (p *parser) action(n *node) glob {
	if !actionForm.MatchString(n.text) {
		remedy := "write the service before it, such as \"iot:Publish\", or \"*\""
		if strings.Contains(n.text, "${") {
			remedy = "write it out: variables stand in Resource and Condition only"
		}
		p.fault(n.offset, fmt.Sprintf("%q is not an action", n.text), remedy)
	}
	return p.gateway.glob(tokenise(strings.ToLower(n.text), version2008))
}

func (p *parser) resource(n *node, version string) *resource {
	if n.text != "*" && !arnForm(n.text) {
		remedy := "write it out, such as \"arn:aws:iot:*:*:topic/" + strings.TrimPrefix(n.text, "topic/") + "\""
		if strings.HasPrefix(n.text, "arn:") {
			remedy = "write all six fields, such as \"arn:aws:iot:*:*:topic/a\""
		}
		p.fault(n.offset, fmt.Sprintf("%q is neither an ARN nor \"*\"", n.text), remedy)
	}
	return newResource(n.text, version, p.gateway)
}

// arnForm reports whether a text has the six fields of an ARN, or wildcards, of
// which §5.7 of the language leaves open how far they run. Any other could fit
// nothing: a Deny on it would deny nothing.
func arnForm(text string) bool {
	return strings.HasPrefix(text, "arn:") && (strings.Count(text, ":") >= 5 || strings.ContainsAny(text, "*?"))
}

func (p *parser) conditions(s *statement, n *node) {
	where := p.where
	defer func() { p.where = where }()
	p.where += ".Condition"
	if n.kind != '{' {
		p.fault(n.offset, "Condition is a JSON object, this is "+typeOf(n), "write { \"StringEquals\": { \"iot:ClientId\": \"…\" } }")
		return
	}
	seen := map[string]bool{}
	for _, block := range n.fields {
		p.where = where + ".Condition." + block.name
		o, known := parseOperator(block.name)
		switch {
		case seen[block.name]:
			p.fault(block.offset, "the operator is here twice", "put its keys into one block")
		case !known:
			p.fault(block.offset, fmt.Sprintf("%q is not a condition operator", block.name), operatorRemedy(block.name))
		case block.value.kind == '{' && len(block.value.fields) == 0 && p.gateway.switches != nil && p.gateway.switches.EmptyOperator == "ignore":
		case block.value.kind != '{' || len(block.value.fields) == 0:
			p.fault(block.value.offset, "an operator needs an object with at least one key", "write { \"iot:ClientId\": \"…\" }")
		default:
			p.keys(s, block.name, o, block.value)
		}
		seen[block.name] = true
	}
}

// operatorRemedy suggests the operator in the right case, or lists them all.
func operatorRemedy(text string) string {
	names := make([]string, 0, len(tests)+len(negations))
	for name := range tests {
		names = append(names, name)
	}
	for name := range negations {
		names = append(names, name)
	}
	bare := text[strings.Index(text, ":")+1:]
	for _, name := range names {
		if strings.EqualFold(strings.TrimSuffix(bare, "IfExists"), name) {
			return "write " + name + ", before it nothing or ForAllValues: or ForAnyValue:, behind it nothing or IfExists; Null stands alone"
		}
	}
	return "docs/policy.md lists the operators"
}

func (p *parser) keys(s *statement, written string, o operator, block *node) {
	seen := map[string]bool{}
	for _, f := range block.fields {
		if seen[f.name] {
			p.fault(f.offset, fmt.Sprintf("the key %q is here twice", f.name), "put its values into one list")
		}
		seen[f.name] = true
		if !strings.Contains(f.name, ":") {
			p.fault(f.offset, fmt.Sprintf("%q is not a condition key", f.name), "write the service before it, such as \"iot:ClientId\"")
		}
		if o.quantifier == "" && o.test != null && manyValued(keyOf(f.name)) && p.gateway.refuses(func(s *Switches) string { return s.PlainOnList }) {
			p.fault(f.offset, fmt.Sprintf("%s has several values", f.name), "write ForAnyValue: or ForAllValues: before "+written+", or set policy.plain_on_list to any")
		}
		c := &condition{operator: o, written: written, name: f.name, version: s.document.version}
		for _, v := range asList(f.value) {
			switch v.kind {
			case 's', 'n', 'b':
				c.values = append(c.values, v.text)
				p.operand(o.test, v)
			default:
				p.fault(v.offset, "a condition value is a string, a number or true or false, this is "+typeOf(v), "write a string or a list of strings")
			}
		}
		s.conditions = append(s.conditions, c)
	}
}

// operand refuses values that their operator could never compare: in a Deny
// they would be a hole.
func (p *parser) operand(t test, n *node) {
	ok, remedy := true, ""
	switch t.kind() {
	case null, boolean:
		ok = strings.EqualFold(n.text, "true") || strings.EqualFold(n.text, "false")
		remedy = "write \"true\" or \"false\""
	case ipAddress:
		_, ok = network(n.text)
		remedy = "write an address or a block such as \"192.168.0.0/16\""
	case numeric:
		_, ok = number(n.text)
		remedy = "write a decimal of up to 15 digits"
	case date:
		_, ok = instant(n.text)
		ok = ok && (len(n.text) > 8 || !allDigits(n.text)) // a bare year would count as seconds
		remedy = "write a time such as \"2026-12-31T23:59:59Z\""
	case binaryEquals:
		_, err := base64.StdEncoding.DecodeString(n.text)
		ok = err == nil
		remedy = "write base64"
	}
	if !ok {
		p.fault(n.offset, fmt.Sprintf("%q is no value for this operator", n.text), remedy)
	}
}

// refuses reports whether a switch says that documents are refused for
// something.
func (g gateway) refuses(which func(*Switches) string) bool {
	return g.switches != nil && which(g.switches) == "refuse"
}

// manyValued reports whether a key, as keyOf writes it, may have several values.
func manyValued(key string) bool {
	return key == keyAttributes || key == "iot:certificate.availablekeys" ||
		strings.HasPrefix(key, "iot:certificate.") && strings.HasSuffix(key, ".list")
}
