package policytest

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/policy/strictyaml"
)

// The keys of a YAML file, as schema.json describes them.
var (
	suiteKeys       = []string{"policies", "things", "attach", "gateway", "switches", "tests"}
	gatewayKeys     = []string{"partition", "region", "account"}
	thingKeys       = []string{"type", "attributes", "attached", "exclusive", "policies", "group_policies", "certificate"}
	certificateForm = []string{"id", "serial", "subject", "issuer"}
	testKeys        = []string{
		"name", "why", "client", "thing", "certificate", "user", "listener", "policies", "group_policies", "with",
		"from", "at", "protocol", "domain", "vpc", "vpce", "vpc_source_ip",
		"may", "may not", "may_not", "ask", "expect", "switches", "skip",
	}
	withKeys = []string{"persistent", "will", "will_retain"}
)

// ReadYAML reads a file that names policies and things once and then lists
// who may do what. Paths in it are relative to its folder. Beside the cases
// come all the faults; the tests that have none of them are there.
func ReadYAML(file string, text []byte) ([]*Case, policy.Faults) {
	return readYAML(machine{}, file, text)
}

func readYAML(d disk, file string, text []byte) ([]*Case, policy.Faults) {
	s := &suite{file: file, disk: d, things: map[string]*thing{}}
	s.Report = func(line, column int, where, text, remedy string) {
		s.faults = append(s.faults, policy.Fault{File: file, Line: line, Column: column, Where: where, Text: text, Remedy: remedy})
	}
	top := s.Record(s.Document(text), "", suiteKeys...)
	s.switches = s.Values(top["switches"], "switches")
	g := s.Record(top["gateway"], "gateway", gatewayKeys...)
	s.gateway = Gateway{
		Partition: s.Text(g["partition"], "gateway.partition"),
		Region:    s.Text(g["region"], "gateway.region"),
		Account:   s.Text(g["account"], "gateway.account"),
	}
	s.open(top["policies"], top["things"])
	s.attach = s.policyNames(top["attach"], "attach")
	tests := top["tests"]
	switch {
	case len(s.faults) > 0: // what the tests stand on is wrong
	case strictyaml.IsNull(tests):
		s.faults = append(s.faults, policy.Fault{File: file, Line: 1, Column: 1, Text: "there are no tests", Remedy: "add tests:, a list such as - {client: sensor1, may: publish a/b}"})
	case tests.Kind != yaml.SequenceNode:
		s.Fault(tests, "tests", "a list is needed here", "write - client: … for each test")
	default:
		for i, n := range tests.Content {
			s.test(n, fmt.Sprintf("tests[%d]", i))
		}
	}
	number(s.cases)
	return s.cases, s.faults
}

// suite is a YAML file while it is read.
type suite struct {
	strictyaml.Reader
	file     string
	faults   policy.Faults
	disk     disk
	site     *Site
	things   map[string]*thing
	attach   []string // names of the policies of clients that have none of their own
	gateway  Gateway
	switches map[string]string
	cases    []*Case
}

// thing is one that the file itself describes.
type thing struct {
	context          policy.Context
	policies, groups []string
}

func (s *suite) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.file), name)
}

// open reads the documents and the registry or the things.
func (s *suite) open(policies, things *yaml.Node) {
	s.site = &Site{}
	var paths []string
	if policies != nil && policies.Kind == yaml.MappingNode {
		s.inline(policies)
	} else {
		for _, e := range s.Texts(policies, "policies") {
			paths = append(paths, s.path(e.Text))
		}
	}
	registry := ""
	switch {
	case strictyaml.IsNull(things):
	case things.Kind == yaml.ScalarNode:
		registry = s.path(things.Value)
		if policies == nil {
			paths = []string{filepath.Join(filepath.Dir(registry), "policies")}
		}
	}
	if len(paths) > 0 || registry != "" {
		site, err := openSite(s.disk, paths, registry)
		if err != nil {
			s.wrong(err, firstOf(policies, things), pathRemedy)
			return
		}
		s.site = site
	}
	if things != nil && things.Kind != yaml.ScalarNode {
		s.Mapping(things, "things", s.thing)
	}
}

const pathRemedy = "correct the path, which is relative to this file"

func firstOf(nodes ...*yaml.Node) *yaml.Node {
	i := slices.IndexFunc(nodes, func(n *yaml.Node) bool { return n != nil })
	return nodes[i]
}

// wrong reports an error about what a node names. Its remedy is behind its last
// semicolon, or else the one that is given.
func (s *suite) wrong(err error, n *yaml.Node, remedy string) {
	if faults, ok := errors.AsType[policy.Faults](err); ok {
		s.faults = append(s.faults, faults...)
		return
	}
	text := err.Error()
	if i := strings.LastIndex(text, "; "); i >= 0 {
		text, remedy = text[:i], text[i+2:]
	}
	s.Fault(n, "", text, remedy)
}

// inline reads documents from the file itself: as text, as YAML, or by path.
func (s *suite) inline(n *yaml.Node) {
	s.Mapping(n, "policies", func(key, value *yaml.Node, where string) {
		d := Source{Document: policy.Document{Name: key.Value}, File: s.file}
		switch {
		case value.Kind != yaml.ScalarNode:
			var text bytes.Buffer
			s.json(value, where, &text)
			d.Text = text.Bytes()
			d.File = fmt.Sprintf("%s:%d", s.file, value.Line)
		case strings.HasPrefix(strings.TrimSpace(value.Value), "{"):
			d.Text, d.Line = []byte(value.Value), value.Line
			if value.Style == yaml.LiteralStyle {
				d.Line++ // the text begins below its |
			}
		default:
			read, err := readDocument(s.disk, s.path(s.Text(value, where)))
			if err != nil {
				s.wrong(err, value, pathRemedy)
				return
			}
			d.Text, d.File, d.Line = read.Text, read.File, 1
		}
		_ = s.site.add(d) // names in a mapping are distinct
	})
}

func (s *suite) thing(key, value *yaml.Node, where string) {
	f := s.Record(value, where, thingKeys...)
	t := &thing{
		context: policy.Context{
			ThingName: key.Value, ThingType: s.Text(f["type"], where+".type"),
			ThingAttributes: s.Values(f["attributes"], where+".attributes"),
			ThingAttached:   s.Flag(f["attached"], where+".attached", true),
			ThingExclusive:  s.Flag(f["exclusive"], where+".exclusive", false),
			Certificate:     s.certificate(f["certificate"], where+".certificate"),
		},
		policies: s.policyNames(f["policies"], where+".policies"),
		groups:   s.policyNames(f["group_policies"], where+".group_policies"),
	}
	s.things[key.Value] = t
}

// certificate reads what is known about one: a mapping, an id or a file.
func (s *suite) certificate(n *yaml.Node, where string) *policy.CertificateContext {
	if strictyaml.IsNull(n) {
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		f := s.Record(n, where, certificateForm...)
		return &policy.CertificateContext{
			ID: s.Text(f["id"], where+".id"), Serial: s.Text(f["serial"], where+".serial"),
			Subject: s.Lists(f["subject"], where+".subject"), Issuer: s.Lists(f["issuer"], where+".issuer"),
		}
	}
	text := n.Value
	if !certificateID.MatchString(text) {
		text = s.path(text)
	}
	id, cert, err := certificateOf(s.disk, text)
	switch {
	case err != nil:
		s.wrong(err, n, pathRemedy)
		return nil
	case cert != nil:
		return policy.CertificateFacts(cert)
	default:
		return &policy.CertificateContext{ID: id}
	}
}

// policyNames reads names of documents, all of which must be there; nil when
// the key is.
func (s *suite) policyNames(n *yaml.Node, where string) []string {
	if n == nil {
		return nil
	}
	out := []string{}
	for _, e := range s.Texts(n, where) {
		if s.site.find(e.Text) == nil {
			s.Fault(e.Node, e.Where, fmt.Sprintf("there is no policy %q", e.Text), "there are "+s.site.names()+"; correct the name, or add it under policies")
		}
		out = append(out, e.Text)
	}
	return out
}
