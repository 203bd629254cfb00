package account

import (
	"fmt"
	"slices"
	"strings"
)

// assemble joins what the calls told: members to their things, policies to
// their certificates. What the registry cannot express becomes a note.
func (v *inventory) assemble() {
	v.memberships()
	v.policyTargets()
	v.exclusives()
	v.inexpressible()
	slices.SortStableFunc(v.Notes, func(a, b Note) int { return strings.Compare(a.Subject, b.Subject) })
	v.Notes = slices.Compact(v.Notes)
}

// memberships gives each thing its groups.
func (v *inventory) memberships() {
	groups := map[string][]string{}
	for i := range v.Groups {
		g := &v.Groups[i]
		if g.Parent != "" && !slices.ContainsFunc(v.Groups, func(o groupRecord) bool { return o.Name == g.Parent }) {
			v.note(fmt.Sprintf("group %q", g.Name), fmt.Sprintf("has the parent %q, which was deleted while the account was read; pull again", g.Parent))
			g.Parent = ""
		}
		for _, thing := range g.Members {
			groups[thing] = append(groups[thing], g.Name)
		}
	}
	for i := range v.Things {
		t := &v.Things[i]
		t.Groups = groups[t.Name]
		delete(groups, t.Name)
	}
	if len(groups) > 0 {
		v.note("thing groups", fmt.Sprintf("%s in them did not exist yet when the things were listed, such as %q; pull again", count(len(groups), "thing"), anyKey(groups)))
	}
}

// policyTargets gives each certificate its policies.
func (v *inventory) policyTargets() {
	certificates := map[string]*certificateRecord{}
	for i := range v.Certificates {
		certificates[v.Certificates[i].ID] = &v.Certificates[i]
	}
	for _, p := range v.Policies {
		var identities, others []string
		for _, target := range p.Targets {
			a, ok := readARN(target)
			switch {
			case ok && a.kind == "thinggroup":
				if !slices.ContainsFunc(v.Groups, func(g groupRecord) bool { return g.Name == a.name }) {
					others = append(others, target)
				}
			case ok && a.kind == "cert" && certificates[a.name] != nil:
				c := certificates[a.name]
				c.Policies = append(c.Policies, p.Here)
			case ok:
				others = append(others, target)
			default:
				identities = append(identities, target)
			}
		}
		subject := fmt.Sprintf("policy %q", p.Name)
		if len(identities) > 0 {
			v.note(subject, fmt.Sprintf("is attached to %s of Amazon Cognito, which no device here can be; give the policy to a user in %s if one should have it", countOf(len(identities), "identity", "identities"), thingsFile))
		}
		if len(others) > 0 {
			v.note(subject, fmt.Sprintf("is attached to %s, which is not in the account; pull again if it was just made", others[0]))
		}
	}
}

// exclusives marks the certificates that are bound to one thing, and drops
// from the things those that were not in the list of certificates.
func (v *inventory) exclusives() {
	known := map[string]*certificateRecord{}
	for i := range v.Certificates {
		known[v.Certificates[i].ID] = &v.Certificates[i]
	}
	for i := range v.Things {
		t := &v.Things[i]
		for _, id := range t.Exclusive {
			if known[id] != nil {
				known[id].Exclusive = true
			}
		}
		// To list a certificate at a thing is to register it, and as ACTIVE. One
		// that AWS did not list must not be let in that way.
		t.Certificates = slices.DeleteFunc(t.Certificates, func(id string) bool {
			if known[id] == nil {
				v.note(fmt.Sprintf("thing %q", t.Name), fmt.Sprintf("has certificate %s, which is not in the account's list; it is left out, pull again if it was just made", id))
			}
			return known[id] == nil
		})
		if len(t.OtherPrincipals) > 0 {
			v.note(fmt.Sprintf("thing %q", t.Name), fmt.Sprintf("has %s that is no certificate (%s); the registry knows certificates only", countOf(len(t.OtherPrincipals), "principal", "principals"), t.OtherPrincipals[0]))
		}
	}
}

// inexpressible notes what the registry has no words for. All of it is in
// account.json.
func (v *inventory) inexpressible() {
	described, unused, deprecated, otherMode := 0, 0, 0, 0
	for _, g := range v.Groups {
		if g.Query != "" {
			v.note(fmt.Sprintf("group %q", g.Name), fmt.Sprintf("is dynamic (%s); its members are those of now, and stay until the next pull", g.Query))
		}
		if len(g.Attributes) > 0 || g.Description != "" {
			described++
		}
	}
	if described > 0 {
		v.note("thing groups", fmt.Sprintf("%s attributes or a description; no policy can ask for them, they are in %s only", countOf(described, "group has", "groups have"), accountFile))
	}
	used := map[string]bool{}
	for _, t := range v.Things {
		used[t.Type] = true
	}
	for _, t := range v.Types {
		if !used[t.Name] {
			unused++
		}
		if t.Deprecated {
			deprecated++
		}
	}
	if len(v.Types) > 0 {
		v.note("thing types", fmt.Sprintf("%s (%d without things, %d deprecated): the registry has a type's name at its things, the rest is in %s only", count(len(v.Types), "type"), unused, deprecated, accountFile))
	}
	for _, c := range v.Certificates {
		if c.Mode == "SNI_ONLY" {
			otherMode++
		}
	}
	if otherMode > 0 {
		v.note("certificates", fmt.Sprintf("%s registered without a CA (SNI_ONLY); that makes no difference here", countOf(otherMode, "certificate is", "certificates are")))
	}
}

// count is "1 thing" or "2 things".
func count(n int, what string) string { return countOf(n, what, what+"s") }

func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// anyKey is the first key in order, for an example.
func anyKey[T any](m map[string]T) string {
	first := ""
	for k := range m {
		if first == "" || k < first {
			first = k
		}
	}
	return first
}
