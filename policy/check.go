package policy

import "strings"

// check is a condition that is left to be compared per request: its operands
// have the session's values in.
type check struct {
	operator
	key      string
	operands []operand
}

// newCheck compiles a condition. A value with a variable that stands for
// nothing fits nothing, so it is left out: no alternative of a positive
// operator, nothing that a negated one excludes.
func newCheck(c *condition, g gateway, v values) *check {
	out := &check{operator: c.operator, key: keyOf(c.name)}
	for _, text := range c.values {
		if o, ok := c.operand(text, out.key, g, v); ok {
			out.operands = append(out.operands, o)
		}
	}
	return out
}

func (c *condition) operand(text, key string, g gateway, v values) (operand, bool) {
	o := operand{text: text}
	ok := true
	switch c.test.kind() {
	case stringEquals, stringEqualsIgnoreCase, stringLike:
		if key == keyWillTopic {
			text = g.own(text, c.test.kind() == stringLike)
		}
		var tokens []token
		if tokens, ok = v.resolve(tokenise(text, c.version)); ok {
			o.text, o.glob = plain(tokens), g.glob(tokens)
		}
	case arnLike:
		o.arn = newARNPattern(text, c.version, g)
		var tokens []token
		if tokens, ok = v.resolve(o.arn.name); ok {
			o.glob = g.glob(tokens)
		}
	case ipAddress:
		o.network, ok = network(text)
	case numeric:
		o.number, ok = number(text)
	case date:
		o.instant, ok = instant(text)
	}
	return o, ok
}

// holds compares the condition with what a request brings.
func (c *check) holds(r *request, g gateway) bool {
	var buffer [2]fact
	have := r.facts(c.key, g, buffer[:0])
	if c.test == null {
		for i := range c.operands {
			if strings.EqualFold(c.operands[i].text, "true") == (len(have) == 0) {
				return true
			}
		}
		return false
	}
	return c.present(len(have), func(i int) bool { return c.one(have[i]) })
}

// one decides about one value: the operands of a positive operator are
// alternatives, those of a negated one are all excluded.
func (c *check) one(have fact) bool {
	for i := range c.operands {
		if c.test.compare(have, &c.operands[i]) {
			return !c.negated
		}
	}
	return c.negated
}
