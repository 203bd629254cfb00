package policy

import "strings"

// uses collects what a statement asks about its principal. Conditions on what
// a request brings are not among it, but the variables in their values are.
func (s *statement) uses() uses {
	var u uses
	for _, r := range s.resources {
		u = u.and(usesOf(r.needs))
	}
	for _, c := range s.conditions {
		asked := usesOf([]string{c.name})
		asked.address = false // compared per request
		u = u.and(asked)
		if c.test.text() {
			for _, v := range c.values {
				u = u.and(usesOf(variablesIn(v, c.version)))
			}
		}
	}
	return u
}

// usesOf sorts keys and variables roughly: what is unknown, or a default value
// after a comma, does no harm here.
func usesOf(keys []string) uses {
	var u uses
	for _, key := range keys {
		key = strings.TrimSpace(strings.ToLower(key))
		switch {
		case strings.HasPrefix(key, "iot:clientid"):
			u.client = true
		case strings.HasPrefix(key, "iot:connection."), strings.HasPrefix(key, "iot:thing."):
			u.thing = true
		case strings.HasPrefix(key, "iot:certificate"):
			u.certificate = true
		case strings.HasPrefix(key, "aws:sourceip"):
			u.address = true
		default:
			u.endpoint = true
		}
	}
	return u
}
