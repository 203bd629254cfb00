package account

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// registry is things.yaml being made: what AWS has, and what the site has.
type registry struct {
	found *inventory
	site  *site
	pem   string   // the folder that will be certs; empty when that stays
	local []string // "thing press-9": the site's own entries that were kept
}

// render writes the registry. With check, the site's own paths are written as
// they can be found from anywhere, so that the file can be loaded before it is
// at its place.
func (r *registry) render(check bool) ([]byte, error) {
	r.local = nil
	root := &yaml.Node{Kind: yaml.MappingNode}
	add := func(section, about string, entries *yaml.Node) error {
		if err := r.keep(section, entries, check); err != nil {
			return err
		}
		if len(entries.Content) == 0 {
			entries.Style = yaml.FlowStyle
		}
		key := scalar(section)
		key.HeadComment = about
		root.Content = append(root.Content, key, entries)
		return nil
	}
	account := r.found.Account
	if account == "" {
		account = "(empty)"
	}
	whose := fmt.Sprintf("AWS account %s, region %s, as of %s", account, r.found.Region, r.found.PulledAt.UTC().Format(time.DateOnly))
	if err := add("things", "Pulled from "+whose+".\nThe next pull replaces what is AWS's and keeps what is the site's own.", r.things()); err != nil {
		return nil, err
	}
	if err := add("groups", "", r.groups()); err != nil {
		return nil, err
	}
	if err := add("certificates", "", r.certificates()); err != nil {
		return nil, err
	}
	if users := r.site.section["users"]; users != nil && len(users.Content) > 0 {
		root.Content = append(root.Content, r.site.heading["users"], users)
		for name := range members(users) {
			r.local = append(r.local, "user "+name.Value)
		}
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("%s: %w", thingsFile, err)
	}
	return out.Bytes(), enc.Close()
}

func (r *registry) things() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, t := range r.found.Things {
		var f fields
		f.text("type", t.Type)
		if len(t.Attributes) > 0 {
			attributes := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
			for _, name := range slices.Sorted(maps.Keys(t.Attributes)) {
				attributes.Content = append(attributes.Content, scalar(name), scalar(t.Attributes[name]))
			}
			f.add("attributes", attributes)
		}
		f.list("groups", t.Groups)
		f.list("certificates", t.Certificates)
		out.Content = append(out.Content, scalar(t.Name), f.node(0))
	}
	return out
}

func (r *registry) groups() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	attached := map[string][]string{}
	for _, p := range r.found.Policies {
		for _, target := range p.Targets {
			if a, ok := readARN(target); ok && a.kind == "thinggroup" {
				attached[a.name] = append(attached[a.name], p.Here)
			}
		}
	}
	for _, g := range r.found.Groups {
		var f fields
		f.text("parent", g.Parent)
		f.list("policies", attached[g.Name])
		out.Content = append(out.Content, scalar(g.Name), f.node(yaml.FlowStyle))
	}
	return out
}

func (r *registry) certificates() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, c := range r.found.Certificates {
		var f fields
		if c.Status != "ACTIVE" {
			f.text("status", c.Status)
		}
		f.list("policies", c.Policies)
		if c.Exclusive {
			f.add("exclusive", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
		}
		key := scalar(c.ID)
		if c.NotBefore != nil && c.NotAfter != nil {
			key.HeadComment = fmt.Sprintf("valid %s to %s", c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly))
		}
		out.Content = append(out.Content, key, f.node(yaml.FlowStyle))
	}
	return out
}

// keep adds the site's own entries of a section: those that AWS does not have
// and that did not come from there the last time.
func (r *registry) keep(section string, entries *yaml.Node, check bool) error {
	theirs := map[string]bool{}
	for key := range members(entries) {
		theirs[key.Value] = true
	}
	before := r.site.before.keys(section)
	for key, value := range members(r.site.section[section]) {
		name := key.Value
		if section == "certificates" {
			id, err := r.site.certificateID(name)
			if err != nil {
				return fmt.Errorf("%s:%d:%d: %w; correct it first, for what the site has of its own is kept", r.site.things, key.Line, key.Column, err)
			}
			name = id
		}
		if theirs[name] || slices.Contains(before, name) {
			continue
		}
		key, value = r.relocated(section, key, value, check)
		entries.Content = append(entries.Content, key, value)
		r.local = append(r.local, kinds[section]+" "+key.Value)
	}
	return nil
}

// kinds are what one entry of a section is called.
var kinds = map[string]string{"things": "thing", "groups": "group", "certificates": "certificate", "users": "user"}

// keys lists what a section had from AWS.
func (v *inventory) keys(section string) []string {
	switch section {
	case "things":
		return names(v.Things, func(t thingRecord) string { return t.Name })
	case "groups":
		return names(v.Groups, func(g groupRecord) string { return g.Name })
	case "certificates":
		return names(v.Certificates, func(c certificateRecord) string { return c.ID })
	}
	return nil
}

// relocated is an entry of the site with its paths right for where the new
// file will be, or absolute for the check.
func (r *registry) relocated(section string, key, value *yaml.Node, check bool) (*yaml.Node, *yaml.Node) {
	switch section {
	case "certificates":
		return r.moved(key, check), value
	case "things":
		copied := *value
		copied.Content = slices.Clone(value.Content)
		for i := 0; i+1 < len(copied.Content); i += 2 {
			list := copied.Content[i+1]
			if copied.Content[i].Value != "certificates" || list.Kind != yaml.SequenceNode {
				continue
			}
			moved := *list
			moved.Content = make([]*yaml.Node, len(list.Content))
			for k, item := range list.Content {
				moved.Content[k] = r.moved(item, check)
			}
			copied.Content[i+1] = &moved
		}
		return key, &copied
	}
	return key, value
}

func (r *registry) moved(n *yaml.Node, check bool) *yaml.Node {
	if !isPath(n.Value) || filepath.IsAbs(n.Value) {
		return n
	}
	copied := *n
	path := r.site.path(n.Value)
	relative, err := filepath.Rel(r.site.out, path)
	if err != nil {
		relative = path
	}
	copied.Value = filepath.ToSlash(relative)
	if !check {
		return &copied
	}
	if rest, ok := strings.CutPrefix(copied.Value, pemFolder+"/"); ok && r.pem != "" {
		path = filepath.Join(r.pem, rest)
	}
	if absolute, err := filepath.Abs(path); err == nil {
		copied.Value = absolute
	}
	return &copied
}

// fields are the members of one entry.
type fields struct{ content []*yaml.Node }

func (f *fields) add(name string, value *yaml.Node) {
	f.content = append(f.content, scalar(name), value)
}

func (f *fields) text(name, value string) {
	if value != "" {
		f.add(name, scalar(value))
	}
}

func (f *fields) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range values {
		n.Content = append(n.Content, scalar(v))
	}
	f.add(name, n)
}

func (f *fields) node(style yaml.Style) *yaml.Node {
	if len(f.content) == 0 {
		style = yaml.FlowStyle
	}
	return &yaml.Node{Kind: yaml.MappingNode, Style: style, Content: f.content}
}

// scalar is text that stays text, however much it looks like a number.
func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}
