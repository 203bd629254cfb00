package lint

import (
	"slices"
	"strings"
)

// eachCondition calls found for every condition of the set.
func (i *inspector) eachCondition(found func(*statement, *condition)) {
	for _, st := range i.set.statements() {
		for _, c := range st.conditions {
			found(st, c)
		}
	}
}

// findL08 finds variables and condition keys that do not exist. Keys of
// Cognito, default values and unlisted keys of aws: are a remark: they have
// been seen, but not for AWS IoT.
func findL08(i *inspector) {
	for _, st := range i.set.statements() {
		for _, r := range st.resources {
			i.variablesIn(st, r.node, r)
		}
	}
	i.eachCondition(func(st *statement, c *condition) {
		for _, v := range c.values {
			if v.kind == 's' {
				i.variablesIn(st, v, nil)
			}
		}
		name := c.key.text
		if knownKey(name) {
			return
		}
		d := detail{message: quote(name) + " is no condition key of AWS IoT; no request has it, so " + absent(c), fix: keyRemedy(name)}
		if elsewhere(name) {
			d.severity = Low
			d.message = quote(name) + " is a key of IAM or Cognito, and is not listed for AWS IoT policies"
		}
		i.at(st, c.key, d)
	})
}

// absent says what a condition comes to without its key.
func absent(c *condition) string {
	if c.operator.test == "Null" {
		return "Null is always true"
	}
	if c.demands() {
		return "the condition never holds"
	}
	return "the condition always holds"
}

// elsewhere reports whether a key is one of IAM's or Cognito's.
func elsewhere(name string) bool {
	lower := strings.ToLower(name)
	if _, slip := keySlips[lower]; slip {
		return false
	}
	return strings.HasPrefix(lower, "aws:") || strings.HasPrefix(lower, "cognito-identity.amazonaws.com:")
}

// variablesIn looks at the variables of a resource or a condition's value.
func (i *inspector) variablesIn(st *statement, n *node, r *resource) {
	if strings.Contains(n.text, "$(") {
		i.at(st, n, detail{message: "$( ) is no variable: parentheses are ordinary characters", fix: "write ${*}, ${?} or ${$} with braces for the character itself"})
	}
	if st.document.language() != version2012 {
		return // L09 speaks of that
	}
	p := parsePattern(n.text, version2012)
	if r != nil {
		p = r.name
		if strings.Contains(strings.Join(r.fields[:min(5, len(r.fields))], ":"), "${") {
			i.at(st, n, detail{message: "a variable is read behind the fifth colon only; before it ${…} is plain text", fix: "write partition, region and account out"})
		}
	}
	if start := strings.LastIndex(n.text, "${"); start >= 0 && !strings.Contains(n.text[start:], "}") {
		i.at(st, n, detail{message: "a ${ without its } is plain text", fix: "close the brace"})
	}
	for _, v := range p.variables() {
		switch {
		case v.def != "":
			i.at(st, n, detail{severity: Low, message: "a default value as in ${" + v.name + ", " + v.def + "} is IAM's; that AWS IoT knows it is not documented", fix: "write the variable without a default"})
		case slices.ContainsFunc(conditionOnly, func(k string) bool { return strings.EqualFold(k, v.name) }):
			i.at(st, n, detail{message: quote(v.name) + " is a condition key, which has no value here", fix: "compare it in Condition"})
		case !knownKey(v.name):
			d := detail{message: "${" + v.name + "} is no variable of AWS IoT; what has it in it never matches", fix: keyRemedy(v.name)}
			if elsewhere(v.name) {
				d.severity = Low
				d.message = "${" + v.name + "} is a variable of IAM or Cognito, and is not listed for AWS IoT policies"
			}
			i.at(st, n, d)
		}
	}
}

// findL15 finds Allows that a missing key lets through. The lists of
// iot:ConnectAttributes are meant so: a client without any passes.
func findL15(i *inspector) {
	i.eachCondition(func(st *statement, c *condition) {
		if st.deny || c.operator.quantifier != forAllValues || c.is(keyAttributes) || st.presence(c.key.text) {
			return
		}
		i.at(st, c.written, detail{
			message: "ForAllValues holds for a request without " + c.key.text + " too, so whoever lacks it is let through",
			fix:     "add \"Null\": {\"" + c.key.text + "\": \"false\"}, or write ForAnyValue",
		})
	})
}

// findL16 finds keys that only iot:Connect has beside other actions.
func findL16(i *inspector) {
	i.eachCondition(func(st *statement, c *condition) {
		if !c.is(keyAttributes) && !c.is(keyWillTopic) {
			return
		}
		var others []string
		for _, name := range actionNames {
			if st.acts[name] && name != connect {
				others = append(others, name)
			}
		}
		if len(others) == 0 {
			return
		}
		if len(others) > 3 {
			others = []string{"the other actions"}
		}
		i.at(st, c.key, detail{message: c.key.text + " exists on CONNECT only: for " + list(others) + " " + absent(c), fix: "give iot:Connect a statement of its own"})
	})
}

// findL17 finds ways in that say nothing about persistent sessions and wills.
func findL17(i *inspector) {
	for _, st := range i.set.of(true, connect) {
		if len(st.on(keyAttributes)) > 0 {
			return
		}
	}
	for _, st := range i.set.of(false, connect) {
		if len(st.on(keyAttributes)) > 0 || len(st.actions) == 0 {
			continue
		}
		n := st.actions[0]
		if at := slices.IndexFunc(st.actions, func(a *node) bool { return actionCovers(a.text, connect) }); at >= 0 {
			n = st.actions[at]
		}
		i.at(st, n, detail{message: "no condition names iot:ConnectAttributes, so persistent sessions and last wills are permitted"})
	}
}

// findL18 finds negated operators that a missing key satisfies. A Deny on a
// key that every request has is none; an Allow on one is a remark.
func findL18(i *inspector) {
	i.eachCondition(func(st *statement, c *condition) {
		if !c.operator.negated || c.operator.quantifier != "" || st.presence(c.key.text) || always(c.key.text) && st.deny {
			return
		}
		d := detail{
			message: c.written.text + " holds for a request without " + c.key.text + " too, which is " + map[bool]string{true: "denied", false: "allowed"}[st.deny] + " then",
			fix:     "add \"Null\": {\"" + c.key.text + "\": \"false\"}",
		}
		if c.operator.ifExists {
			d.message += "; IfExists says the same, and does not help"
		}
		if always(c.key.text) {
			d.severity = Low
		}
		i.at(st, c.written, d)
	})
}

// findL19 finds ForAnyValue with a negated operator: any other value will do.
func findL19(i *inspector) {
	i.eachCondition(func(st *statement, c *condition) {
		if c.operator.quantifier != forAnyValue || !c.operator.negated || len(c.values) == 0 {
			return
		}
		i.at(st, c.written, detail{
			message: "one value that is not " + quote(c.values[0].text) + " is enough, so a request with it and another value holds too",
			fix:     "write ForAllValues:" + strings.TrimPrefix(c.written.text, forAnyValue+":") + ", or a Deny with ForAnyValue and the positive operator",
		})
	})
}

// findL26 finds plain operators on keys with several values.
func findL26(i *inspector) {
	i.eachCondition(func(st *statement, c *condition) {
		if c.operator.quantifier != "" || c.operator.test == "Null" || !multiValued(c.key.text) {
			return
		}
		i.at(st, c.written, detail{
			message: c.key.text + " can have several values, and a plain operator does not say whether one or all of them have to fit",
			fix:     "write ForAnyValue:" + c.written.text + " or ForAllValues:" + c.written.text,
		})
	})
}

// findL28 finds sets whose only way in needs a will.
func findL28(i *inspector) {
	ways := i.set.of(false, connect)
	onWill := func(st *statement) bool {
		return slices.ContainsFunc(st.on(keyWillTopic), (*condition).demands)
	}
	if !slices.ContainsFunc(ways, onWill) || slices.ContainsFunc(ways, func(st *statement) bool { return !onWill(st) }) {
		return
	}
	for _, st := range ways {
		i.at(st, st.on(keyWillTopic)[0].key, detail{
			message: "the only way in needs iot:LastWillTopic; AWS has been seen to check again minutes later without it, and to drop the client",
		})
	}
}

// findL29 finds set operators on keys with one value.
func findL29(i *inspector) {
	i.eachCondition(func(st *statement, c *condition) {
		if c.operator.quantifier == "" || multiValued(c.key.text) || !knownKey(c.key.text) {
			return
		}
		i.at(st, c.written, detail{
			message: c.key.text + " has one value; " + c.operator.quantifier + ": only changes what happens without it",
			fix:     "write " + strings.TrimPrefix(c.written.text, c.operator.quantifier+":"),
		})
	})
}
