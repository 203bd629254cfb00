package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/policy/strictyaml"
)

// registryParser turns things.yaml into a registry. References are kept until
// all is read, then checked.
type registryParser struct {
	strictyaml.Reader
	file       string
	faults     Faults
	pem        func(path string) (id string, err error)
	policies   map[string]*document
	registry   *registry
	references []func()
}

// Names as AWS has them (CreateThing, CreateThingGroup, AttributePayload).
var (
	nameForm      = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	attributeForm = regexp.MustCompile(`^[a-zA-Z0-9_.,@/:#-]{1,128}$`)
	valueForm     = regexp.MustCompile(`^[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}$`)
	userForm      = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,256}$`)
	idForm        = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// statuses are AWS's for certificates.
var statuses = []string{active, "INACTIVE", "REVOKED", "PENDING_TRANSFER", "REGISTER_INACTIVE", "PENDING_ACTIVATION"}

// AWS's limits.
const (
	maxPolicies          = 10 // attached to a certificate, or a user here
	maxGroupPolicies     = 2  // attached to a thing group
	maxAttributes        = 50 // of a thing
	maxAttributesUntyped = 3  // of one without a type
)

// parseRegistry parses strictly. pem computes the certificate id of a file.
func parseRegistry(file string, raw []byte, policies map[string]*document, pem func(path string) (string, error)) (*registry, Faults) {
	p := &registryParser{file: file, pem: pem, policies: policies, registry: newRegistry()}
	p.Report = func(line, column int, where, text, remedy string) {
		p.faults = append(p.faults, Fault{File: p.file, Line: line, Column: column, Where: where, Text: text, Remedy: remedy})
	}
	sections := p.Record(p.Document(raw), "", "things", "groups", "certificates", "users")
	p.Mapping(sections["groups"], "groups", p.group)
	p.Mapping(sections["certificates"], "certificates", p.certificate)
	p.Mapping(sections["things"], "things", p.thing)
	p.Mapping(sections["users"], "users", p.user)
	for _, check := range p.references {
		check()
	}
	if len(p.faults) > 0 {
		slices.SortStableFunc(p.faults, func(a, b Fault) int { return a.Line - b.Line })
		return nil, p.faults
	}
	return p.registry, nil
}

func newRegistry() *registry {
	return &registry{things: map[string]*thing{}, groups: map[string]*group{}, certificates: map[string]*certificate{}, users: map[string]*user{}}
}

func (p *registryParser) later(check func()) { p.references = append(p.references, check) }

func (p *registryParser) form(n *yaml.Node, where, text string, form *regexp.Regexp, remedy string) {
	if !form.MatchString(text) {
		p.Fault(n, where, fmt.Sprintf("%q is not possible here", shorten(text)), remedy)
	}
}

func (p *registryParser) thing(key, value *yaml.Node, where string) {
	p.form(key, where, key.Value, nameForm, "a thing's name has up to 128 letters, digits and :_-")
	fields := p.Record(value, where, "type", "attributes", "groups", "certificates", "policies")
	t := &thing{Thing: bridge.Thing{Name: key.Value, Type: p.Text(fields["type"], where+".type"), Attributes: map[string]string{}}}
	if n := fields["type"]; n != nil {
		p.form(n, where+".type", t.Type, nameForm, "a type's name has up to 128 letters, digits and :_-")
	}
	p.Mapping(fields["attributes"], where+".attributes", func(name, value *yaml.Node, where string) {
		p.form(name, where, name.Value, attributeForm, "an attribute's name has up to 128 letters, digits and _.,@/:#-")
		text := p.Text(value, where)
		p.form(value, where, text, valueForm, "an attribute's value has up to 800 letters, digits and _.,@/:#=[]-")
		t.Attributes[name.Value] = text
	})
	switch n := len(t.Attributes); {
	case n > maxAttributes:
		p.Fault(fields["attributes"], where+".attributes", fmt.Sprintf("there are %d, AWS takes %d", n, maxAttributes), "leave some out")
	case n > maxAttributesUntyped && t.Type == "":
		p.Fault(fields["attributes"], where+".attributes", fmt.Sprintf("there are %d, AWS takes %d without a thing type", n, maxAttributesUntyped), "give the thing a type, or leave some out")
	}
	for _, e := range p.Set(fields["groups"], where+".groups") {
		t.Groups = append(t.Groups, e.Text)
		p.later(func() { p.known(e, p.registry.groups[e.Text] != nil, "group") })
	}
	policies := p.policyNames(fields["policies"], where+".policies")
	listed := p.Set(fields["certificates"], where+".certificates")
	if len(policies) > 0 && len(listed) == 0 {
		p.Fault(fields["policies"], where+".policies", "a thing's policies are those of its certificates, and it has none", "list its certificates, or put the policies into a group")
	}
	for _, e := range listed {
		id := p.id(e)
		c := p.registry.certificates[id]
		if c == nil {
			c = &certificate{status: active}
			p.registry.certificates[id] = c
		}
		c.policies = distinct(c.policies, policies)
		p.attachments(e.Node, e.Where, c)
		c.things = distinct(c.things, []string{t.Name})
		t.certificates = distinct(t.certificates, []string{id})
	}
	p.registry.things[t.Name] = t
}

func (p *registryParser) group(key, value *yaml.Node, where string) {
	p.form(key, where, key.Value, nameForm, "a group's name has up to 128 letters, digits and :_-")
	fields := p.Record(value, where, "parent", "policies")
	g := &group{parent: p.Text(fields["parent"], where+".parent"), policies: p.policyNames(fields["policies"], where+".policies")}
	p.registry.groups[key.Value] = g
	if len(g.policies) > maxGroupPolicies {
		p.Fault(fields["policies"], where+".policies", fmt.Sprintf("there are %d policies, AWS attaches %d to a thing group", len(g.policies), maxGroupPolicies), "put their statements into one policy, or use a parent group")
	}
	if n := fields["parent"]; n != nil {
		p.later(func() {
			e := strictyaml.Entry{Text: g.parent, Node: n, Where: where + ".parent"}
			if p.known(e, p.registry.groups[g.parent] != nil, "group"); p.circular(key.Value) {
				p.Fault(n, e.Where, "the group is its own ancestor", "break the circle of parents")
				g.parent = ""
			}
		})
	}
}

func (p *registryParser) circular(start string) bool {
	name := p.registry.groups[start].parent
	for range len(p.registry.groups) {
		if name == start {
			return true
		}
		g := p.registry.groups[name]
		if g == nil {
			return false
		}
		name = g.parent
	}
	return false
}

func (p *registryParser) certificate(key, value *yaml.Node, where string) {
	fields := p.Record(value, where, "status", "policies", "exclusive")
	c := &certificate{status: active, policies: p.policyNames(fields["policies"], where+".policies"), exclusive: p.Flag(fields["exclusive"], where+".exclusive", false)}
	if n := fields["status"]; n != nil {
		c.status = p.Text(n, where+".status")
		if !slices.Contains(statuses, c.status) {
			p.Fault(n, where+".status", fmt.Sprintf("%q is no status", shorten(c.status)), "possible are "+strings.Join(statuses, ", "))
		}
	}
	p.attachments(fields["policies"], where+".policies", c)
	id := p.id(strictyaml.Entry{Text: key.Value, Node: key, Where: where})
	if p.registry.certificates[id] != nil {
		p.Fault(key, where, "the certificate is here twice, by its id or another file", "keep one of the two")
	}
	p.registry.certificates[id] = c
	p.later(func() {
		if c.exclusive && len(c.things) != 1 {
			p.Fault(key, where, fmt.Sprintf("an exclusive certificate belongs to one thing, this one to %d", len(c.things)), "list it at exactly one thing, or take \"exclusive\" out")
		}
	})
}

// attachments compares the policies of a certificate with AWS's limit: it
// refuses the one over it, so that what would be in force there is not known.
func (p *registryParser) attachments(n *yaml.Node, where string, c *certificate) {
	if len(c.policies) > maxPolicies && !c.crowded {
		c.crowded = true // once is enough
		p.Fault(n, where, fmt.Sprintf("the certificate has %d policies, AWS attaches %d to one", len(c.policies), maxPolicies), "put their statements together, or use groups")
	}
}

// id is a certificate's id: as written, or computed from the file named.
func (p *registryParser) id(e strictyaml.Entry) string {
	if idForm.MatchString(e.Text) {
		return e.Text
	}
	if strings.ContainsAny(e.Text, "./") {
		id, err := p.pem(e.Text)
		if err != nil {
			p.Fault(e.Node, e.Where, shorten(err.Error()), "name a PEM file with the certificate, relative to this file")
		}
		return id
	}
	p.Fault(e.Node, e.Where, fmt.Sprintf("%q is neither a certificate id nor a file", shorten(e.Text)), "write the 64 lower-case hex digits that AWS calls certificateId, or the path of a .pem file")
	return ""
}

func (p *registryParser) user(key, value *yaml.Node, where string) {
	p.form(key, where, key.Value, userForm, "a user's name has up to 256 characters, no control characters")
	fields := p.Record(value, where, "policies", "thing")
	if n := fields["policies"]; n != nil && len(n.Content) > maxPolicies {
		p.Fault(n, where+".policies", fmt.Sprintf("there are %d policies, AWS attaches %d to a principal", len(n.Content), maxPolicies), "put their statements together")
	}
	u := &user{policies: p.policyNames(fields["policies"], where+".policies"), thing: p.Text(fields["thing"], where+".thing")}
	if n := fields["thing"]; n != nil {
		p.later(func() {
			p.known(strictyaml.Entry{Text: u.thing, Node: n, Where: where + ".thing"}, p.registry.things[u.thing] != nil, "thing")
		})
	}
	p.registry.users[key.Value] = u
}

// policyNames reads names of documents; all must exist, for a policy that is
// missing could be a Deny that is missing.
func (p *registryParser) policyNames(n *yaml.Node, where string) []string {
	var out []string
	for _, e := range p.Set(n, where) {
		out = append(out, e.Text)
		if p.policies[e.Text] == nil {
			p.Fault(e.Node, e.Where, fmt.Sprintf("there is no policy %q", shorten(e.Text)), "put "+shorten(e.Text)+".json into the policies folder, or correct the name")
		}
	}
	return out
}

func (p *registryParser) known(e strictyaml.Entry, exists bool, kind string) {
	if !exists {
		p.Fault(e.Node, e.Where, fmt.Sprintf("there is no %s %q", kind, shorten(e.Text)), "add it under "+kind+"s, or correct the name")
	}
}
