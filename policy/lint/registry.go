package lint

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// registry is what a registry file says about which policies go together. Of
// the file only that is read; package policy checks the rest.
type registry struct {
	file         string
	things       map[string]*registryThing
	groups       map[string]*registryGroup
	certificates map[string]*registryCertificate
	users        map[string]registryUser
}

type registryThing struct {
	Certificates, Groups, Policies []string
}

type registryGroup struct {
	Parent   string
	Policies []string
	node     *yaml.Node
}

type registryCertificate struct {
	Policies []string
	things   []string
	node     *yaml.Node
}

type registryUser struct {
	Policies []string
	Thing    string
}

// AWS's limits on attachments.
const (
	maxPerPrincipal = 10
	maxPerGroup     = 2
)

// parseRegistry reads a registry file.
func parseRegistry(file string, raw []byte) (*registry, error) {
	var sections map[string]yaml.Node
	if err := decodeYAML(raw, &sections); err != nil {
		return nil, fmt.Errorf("%s:%w", file, err)
	}
	r := &registry{file: file, certificates: map[string]*registryCertificate{}}
	read := func(section string, into any) error {
		n, there := sections[section]
		if !there {
			return nil
		}
		if err := n.Decode(into); err != nil {
			return fmt.Errorf("%s: %s: %w; docs/policy.md has an example of a registry", file, section, err)
		}
		return nil
	}
	for section, into := range map[string]any{"things": &r.things, "groups": &r.groups, "certificates": &r.certificates, "users": &r.users} {
		if err := read(section, into); err != nil {
			return nil, err
		}
	}
	place := func(section string, each func(name string, n *yaml.Node)) {
		n := sections[section]
		for i := 0; i+1 < len(n.Content); i += 2 {
			each(n.Content[i].Value, n.Content[i])
		}
	}
	place("groups", func(name string, n *yaml.Node) {
		if r.groups[name] == nil {
			r.groups[name] = &registryGroup{}
		}
		r.groups[name].node = n
	})
	if r.certificates == nil {
		r.certificates = map[string]*registryCertificate{}
	}
	place("certificates", func(name string, n *yaml.Node) { r.certificate(name).node = n })
	things := map[string]*yaml.Node{}
	place("things", func(name string, n *yaml.Node) { things[name] = n })
	for _, name := range sorted(r.things) {
		t := r.things[name]
		if t == nil {
			continue
		}
		for _, id := range t.Certificates {
			c := r.certificate(id)
			c.things = append(c.things, name)
			c.Policies = union(c.Policies, t.Policies)
			if c.node == nil {
				c.node = things[name]
			}
		}
	}
	return r, nil
}

func (r *registry) certificate(id string) *registryCertificate {
	if r.certificates[id] == nil {
		r.certificates[id] = &registryCertificate{}
	}
	return r.certificates[id]
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// inherited lists the policies of groups and all their ancestors.
func (r *registry) inherited(groups []string) []string {
	var out []string
	for _, name := range groups {
		for range len(r.groups) + 1 { // a circle of parents ends
			g := r.groups[name]
			if g == nil {
				break
			}
			out = union(out, g.Policies)
			name = g.Parent
		}
	}
	return out
}

// attachment is what one principal has.
type attachment struct {
	owner    string
	policies []string
	grouped  []string // policies of groups
	shared   string
	partial  bool // a listener may add to it
}

// attachments lists the principals, each with each of its things.
func (r *registry) attachments() []attachment {
	var out []attachment
	for _, id := range sorted(r.certificates) {
		c := r.certificates[id]
		a := attachment{owner: "certificate " + abbreviate(id), policies: c.Policies}
		if len(c.things) > 1 {
			a.shared = a.owner + " belongs to " + list(c.things)
		}
		if len(c.things) == 0 {
			out = append(out, a)
		}
		for _, thing := range c.things {
			b := a
			b.owner += " of thing " + thing
			b.grouped = r.inherited(r.things[thing].Groups)
			out = append(out, b)
		}
	}
	for _, name := range sorted(r.users) {
		u := r.users[name]
		a := attachment{owner: "user " + name, policies: u.Policies, partial: true}
		if t := r.things[u.Thing]; t != nil {
			a.grouped = r.inherited(t.Groups)
		}
		out = append(out, a)
	}
	return out
}

func abbreviate(id string) string {
	if len(id) > 16 && !strings.ContainsAny(id, "./") {
		return id[:8] + "…"
	}
	return id
}

// sets makes the sets that principals have, each once, and says which
// documents nobody has.
func (r *registry) sets(documents map[string]*document) (sets []*set, loose []*document) {
	seen := map[string]bool{}
	attached := map[*document]bool{}
	for _, a := range r.attachments() {
		var have []*document
		group := map[*document]bool{}
		known := !a.partial
		var key []string
		for _, name := range union(a.policies, a.grouped) {
			d := documents[name]
			if d == nil {
				known = false
				continue
			}
			have = append(have, d)
			attached[d] = true
			group[d] = !slices.Contains(a.policies, name)
			key = append(key, fmt.Sprint(name, group[d]))
		}
		slices.Sort(key)
		id := fmt.Sprint(strings.Join(key, "\x00"), known, a.shared != "")
		if len(have) == 0 || seen[id] {
			continue
		}
		seen[id] = true
		s := newSet(have...)
		s.group, s.known, s.owner, s.shared = group, known, a.owner, a.shared
		sets = append(sets, s)
	}
	for _, name := range sorted(documents) {
		if d := documents[name]; !attached[d] {
			loose = append(loose, d)
		}
	}
	return sets, loose
}

// crowded finds principals and groups with more policies than AWS attaches.
func (r *registry) crowded() []Finding {
	rule, _ := ruleOf("L27")
	var out []Finding
	report := func(n *yaml.Node, message string) {
		f := Finding{Rule: rule.ID, Severity: rule.Severity, File: r.file, Title: rule.Title, Message: message, Fix: "merge policies, or use variables so that one serves all"}
		if n != nil {
			f.Line, f.Column, f.EndLine, f.EndColumn = n.Line, n.Column, n.Line, n.Column+len([]rune(n.Value))
		}
		out = append(out, f)
	}
	for _, id := range sorted(r.certificates) {
		if c := r.certificates[id]; len(c.Policies) > maxPerPrincipal {
			report(c.node, fmt.Sprintf("certificate %s has %d policies, AWS attaches %d", abbreviate(id), len(c.Policies), maxPerPrincipal))
		}
	}
	for _, name := range sorted(r.groups) {
		if g := r.groups[name]; len(g.Policies) > maxPerGroup {
			report(g.node, fmt.Sprintf("thing group %s has %d policies, AWS attaches %d", name, len(g.Policies), maxPerGroup))
		}
	}
	return out
}
