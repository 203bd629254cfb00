package policy

import (
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// registry is what things.yaml says; immutable.
type registry struct {
	things       map[string]*thing
	groups       map[string]*group
	certificates map[string]*certificate // by id
	users        map[string]*user
}

type thing struct {
	bridge.Thing
	certificates []string // ids
}

type group struct {
	parent   string
	policies []string
}

type certificate struct {
	status    string
	policies  []string
	things    []string
	exclusive bool
	crowded   bool // more policies than AWS attaches
}

type user struct {
	policies []string
	thing    string
}

// active is the one status of AWS's in which a certificate is accepted.
const active = "ACTIVE"

// thingOf finds the thing of a connection: the one named like the client id
// and attached to the certificate, or the one that the certificate is bound to
// exclusively.
func (r *registry) thingOf(c *certificate, clientID string) *thing {
	if c.exclusive {
		return r.things[c.things[0]]
	}
	if slices.Contains(c.things, clientID) {
		return r.things[clientID]
	}
	return nil
}

// groupPolicies lists the policies of a thing's groups and all their
// ancestors. They apply only to the client named like the thing.
func (r *registry) groupPolicies(t *thing, clientID string) []string {
	if t == nil || t.Name != clientID {
		return nil
	}
	var out []string
	for _, name := range t.Groups {
		for name != "" {
			g := r.groups[name]
			out = append(out, g.policies...)
			name = g.parent
		}
	}
	return out
}

// distinct drops what is there already, keeping the order.
func distinct(lists ...[]string) []string {
	var out []string
	for _, list := range lists {
		for _, name := range list {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
