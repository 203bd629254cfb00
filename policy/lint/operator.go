package lint

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// operator is a condition operator taken apart.
type operator struct {
	quantifier string // "", forAllValues or forAnyValue
	test       string // the operator without negation, such as StringEquals
	negated    bool
	ifExists   bool
}

const (
	forAllValues = "ForAllValues"
	forAnyValue  = "ForAnyValue"
)

var tests = []string{
	"Null", "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "Bool", "BinaryEquals", "IpAddress",
	"NumericEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
	"DateEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
}

var negations = map[string]string{
	"StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase", "StringNotLike": "StringLike",
	"ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike", "NotIpAddress": "IpAddress",
	"NumericNotEquals": "NumericEquals", "DateNotEquals": "DateEquals",
}

// parseOperator takes an operator apart; its name is compared exactly.
func parseOperator(text string) (operator, bool) {
	var o operator
	if quantifier, rest, ok := strings.Cut(text, ":"); ok {
		if quantifier != forAllValues && quantifier != forAnyValue {
			return o, false
		}
		o.quantifier, text = quantifier, rest
	}
	text, o.ifExists = strings.CutSuffix(text, "IfExists")
	if positive, ok := negations[text]; ok {
		o.negated, text = true, positive
	}
	o.test = text
	if text == "Null" && (o.ifExists || o.quantifier != "") {
		return o, false
	}
	return o, slices.Contains(tests, text)
}

// operatorRemedy suggests the operator in the right case.
func operatorRemedy(text string) string {
	bare := text[strings.Index(text, ":")+1:]
	names := slices.Clone(tests)
	for name := range negations {
		names = append(names, name)
	}
	for _, name := range names {
		if strings.EqualFold(strings.TrimSuffix(bare, "IfExists"), name) {
			return "write " + name + ", before it nothing or ForAllValues: or ForAnyValue:, behind it nothing or IfExists; Null stands alone"
		}
	}
	return "docs/policy.md lists the operators"
}

func (p *parser) conditions(s *statement, n *node) {
	where := p.where
	defer func() { p.where = where }()
	p.where += ".Condition"
	if n.kind != '{' {
		p.fault(n.offset, "Condition is a JSON object, this is "+n.typeName(), `write { "StringEquals": { "iot:ClientId": "…" } }`)
		return
	}
	seen := map[string]bool{}
	for _, block := range n.fields {
		written := block.name.text
		p.where = where + ".Condition." + written
		o, known := parseOperator(written)
		switch {
		case seen[written]:
			p.fault(block.name.offset, "the operator is here twice", "put its keys into one block")
		case !known:
			p.fault(block.name.offset, fmt.Sprintf("%q is not a condition operator", written), operatorRemedy(written))
		case block.value.kind != '{' || len(block.value.fields) == 0:
			p.fault(block.value.offset, "an operator needs an object with at least one key", `write { "iot:ClientId": "…" }`)
		default:
			p.keys(s, o, block)
		}
		seen[written] = true
	}
}

func (p *parser) keys(s *statement, o operator, block field) {
	seen := map[string]bool{}
	for _, f := range block.value.fields {
		name := f.name.text
		if seen[name] {
			p.fault(f.name.offset, fmt.Sprintf("the key %q is here twice", name), "put its values into one list")
		}
		seen[name] = true
		if !strings.Contains(name, ":") {
			p.fault(f.name.offset, fmt.Sprintf("%q is not a condition key", name), `write the service before it, such as "iot:ClientId"`)
		}
		c := &condition{operator: o, written: block.name, key: f.name}
		for _, v := range f.value.list() {
			if strings.IndexByte("snb", v.kind) < 0 {
				p.fault(v.offset, "a condition value is a string, a number or true or false, this is "+v.typeName(), "write a string or a list of strings")
				continue
			}
			c.values = append(c.values, v)
			p.operand(o, v)
		}
		s.conditions = append(s.conditions, c)
	}
}

var numberForm = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// operand refuses values that their operator could never compare.
func (p *parser) operand(o operator, n *node) {
	ok, remedy := true, ""
	switch {
	case o.test == "Null" || o.test == "Bool":
		ok = strings.EqualFold(n.text, "true") || strings.EqualFold(n.text, "false")
		remedy = `write "true" or "false"`
	case o.test == "IpAddress":
		ok = network(n.text)
		remedy = `write an address or a block such as "192.168.0.0/16"`
	case strings.HasPrefix(o.test, "Numeric"):
		ok = numberForm.MatchString(n.text) && len(strings.TrimPrefix(n.text, "-")) <= 15
		remedy = "write a decimal of up to 15 digits"
	case strings.HasPrefix(o.test, "Date"):
		ok = instant(n.text)
		remedy = `write a time such as "2026-12-31T23:59:59Z"`
	case o.test == "BinaryEquals":
		_, err := base64.StdEncoding.DecodeString(n.text)
		ok, remedy = err == nil, "write base64"
	}
	if !ok {
		p.fault(n.offset, fmt.Sprintf("%q is no value for this operator", n.text), remedy)
	}
}

// timeForms are the W3C forms of ISO 8601, and seconds since 1970; time.Parse
// alone takes more, and a bare year would count as seconds.
var (
	secondsForm = regexp.MustCompile(`^[1-9][0-9]{8,11}$`)
	timeForm    = regexp.MustCompile(`^\d{4}-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?)?$`)
)

// instant reports whether a text is a time of the years 0 to 9999.
func instant(text string) bool {
	if secondsForm.MatchString(text) {
		return len(text) < 12 || text <= "253402300799"
	}
	if !timeForm.MatchString(text) {
		return false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01"} {
		if _, err := time.Parse(layout, text); err == nil {
			return true
		}
	}
	return false
}

// network reports whether a text is an address or a block.
func network(text string) bool {
	if addr, err := netip.ParseAddr(text); err == nil {
		return !addr.Is4In6() && addr.Zone() == ""
	}
	p, err := netip.ParsePrefix(text)
	return err == nil && !p.Addr().Is4In6()
}
