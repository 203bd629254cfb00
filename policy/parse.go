package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/util"
)

const (
	maxDocument = 2048      // characters, white space not counted (CreatePolicyVersion)
	maxFile     = 256 << 10 // bytes of a document with its white space
	manyTimes   = 16
)

// parser turns one file into a document and collects what is wrong with it.
type parser struct {
	file    string
	raw     []byte
	where   string
	gateway gateway
	faults  Faults
}

// parseDocument parses strictly, as AWS does: what is not in the grammar is a
// fault, and a document with faults is nil.
func parseDocument(name, file string, raw []byte, g gateway) (*document, Faults) {
	p := &parser{file: file, raw: raw, gateway: g}
	if len(raw) > maxFile {
		p.fault(0, fmt.Sprintf("the file has more than %d bytes", maxFile), "split the policy")
		return nil, p.faults
	}
	root, err := readJSON(raw)
	if err != nil {
		offset := 0
		if syntax, ok := errors.AsType[*syntaxError](err); ok {
			offset = syntax.offset
		}
		p.fault(offset, err.Error(), "a policy is one JSON object in UTF-8; \"aws iot get-policy\" prints one")
		return nil, p.faults
	}
	d := &document{name: name, file: file, version: version2008}
	n := characters(raw)
	if n <= manyTimes*maxDocument { // a much longer one is not worth its other faults
		p.document(d, root)
	}
	if n > maxDocument {
		p.where = ""
		p.fault(0, fmt.Sprintf("the document has %d characters without white space, AWS takes %d", n, maxDocument), "split it in two policies, or use variables and wildcards")
	}
	if len(p.faults) == 0 {
		if err := util.NewJSONDecoder(bytes.NewReader(raw)).Decode(&d.raw); err != nil {
			p.fault(0, "not JSON: "+err.Error(), "write one JSON object")
		}
	}
	if len(p.faults) > 0 {
		return nil, p.faults
	}
	return d, nil
}

// characters counts as CreatePolicyVersion does: white space is free.
func characters(raw []byte) int {
	n := utf8.RuneCount(raw)
	for _, b := range raw {
		if strings.IndexByte(" \t\r\n", b) >= 0 {
			n--
		}
	}
	return n
}

// maxFaults is how many faults of one document are told.
const maxFaults = 50

func (p *parser) fault(offset int, text, remedy string) {
	switch n := len(p.faults); {
	case n > maxFaults:
		return
	case n == maxFaults:
		text, remedy = "there are more faults", "correct those above first"
	}
	line, column := position(p.raw, offset)
	p.faults = append(p.faults, Fault{File: p.file, Line: line, Column: column, Where: p.where, Text: text, Remedy: remedy})
}

func (p *parser) document(d *document, root *node) {
	if root.kind != '{' {
		p.fault(root.offset, "a policy is a JSON object, this is "+typeOf(root), "start with { \"Version\": \"2012-10-17\", \"Statement\": [")
		return
	}
	elements := p.elements(root, "Version", "Id", "Statement")
	if n := elements["Version"]; n != nil {
		d.version = n.text
		if p.gateway.refuses(func(s *Switches) string { return s.OldVersion }) && n.text != version2012 {
			p.fault(n.offset, "Version is not \"2012-10-17\"", "write \"2012-10-17\", or set policy.old_version to accept")
		} else if n.kind != 's' || (n.text != version2008 && n.text != version2012) {
			p.fault(n.offset, "Version is neither \"2012-10-17\" nor \"2008-10-17\"", "write \"2012-10-17\": it is the language's version, not the policy's")
		}
	}
	if elements["Version"] == nil && p.gateway.refuses(func(s *Switches) string { return s.OldVersion }) {
		p.fault(root.offset, "there is no Version", "add \"Version\": \"2012-10-17\", or set policy.old_version to accept")
	}
	if n := elements["Id"]; n != nil && n.kind != 's' {
		p.fault(n.offset, "Id is not a string", "write it in quotes or leave it out")
	}
	list := elements["Statement"]
	if list == nil {
		p.fault(root.offset, "there is no Statement", "add \"Statement\": [ … ]")
		return
	}
	sids := map[string]int{}
	for i, n := range asList(list) {
		p.where = fmt.Sprintf("Statement[%d]", i)
		d.statements = append(d.statements, p.statement(d, i, n, sids))
		d.uses = d.uses.and(d.statements[i].uses())
	}
	p.where = ""
	if len(d.statements) == 0 {
		p.fault(list.offset, "Statement is empty", "write at least one statement")
	}
}

func (p *parser) statement(d *document, index int, n *node, sids map[string]int) *statement {
	line, _ := position(p.raw, n.offset)
	s := &statement{document: d, index: index, line: line}
	if n.kind != '{' {
		p.fault(n.offset, "a statement is a JSON object, this is "+typeOf(n), "write { \"Effect\": …, \"Action\": …, \"Resource\": … }")
		return s
	}
	elements := p.elements(n, "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if sid := elements["Sid"]; sid != nil {
		s.sid = p.sid(sid, index, sids)
	}
	switch effect := elements["Effect"]; {
	case effect == nil:
		p.fault(n.offset, "there is no Effect", "add \"Effect\": \"Allow\" or \"Deny\"")
	case effect.kind != 's' || (effect.text != "Allow" && effect.text != "Deny"):
		p.fault(effect.offset, "Effect is neither \"Allow\" nor \"Deny\"", "write one of the two, in this case of letters")
	default:
		s.deny = effect.text == "Deny"
	}
	var list *node
	list, s.notAction = p.oneOf(n, elements, "Action", "NotAction")
	if s.notAction && p.gateway.refuses(func(s *Switches) string { return s.NotAction }) {
		p.fault(n.offset, "there is a NotAction", "list the actions under Action, or set policy.not_action to accept")
	}
	for _, a := range p.strings(list) {
		s.actions = append(s.actions, p.action(a))
	}
	list, s.notResource = p.oneOf(n, elements, "Resource", "NotResource")
	for _, r := range p.strings(list) {
		s.resources = append(s.resources, p.resource(r, d.version))
	}
	if c := elements["Condition"]; c != nil {
		p.conditions(s, c)
	}
	s.settle()
	return s
}

// elements checks the names of an object's members. They are compared exactly:
// "effect" is no Effect.
func (p *parser) elements(n *node, known ...string) map[string]*node {
	out := map[string]*node{}
	for _, f := range n.fields {
		if _, twice := out[f.name]; twice {
			p.fault(f.offset, fmt.Sprintf("%q is here twice", f.name), "keep one of the two")
		}
		if !slices.Contains(known, f.name) {
			p.fault(f.offset, fmt.Sprintf("%q is not an element of a policy here", f.name), suggestion(f.name, known))
		}
		out[f.name] = f.value
	}
	return out
}

// suggestion is the known name that was probably meant.
func suggestion(name string, known []string) string {
	for _, k := range known {
		a, b := strings.ToLower(name), strings.ToLower(k)
		if a == b || strings.TrimSuffix(a, "s") == b {
			return "write \"" + k + "\""
		}
	}
	if name == "Principal" || name == "NotPrincipal" {
		return "take it out: the policy applies to what it is attached to"
	}
	return "take it out; possible are " + strings.Join(known, ", ")
}

func (p *parser) sid(n *node, index int, sids map[string]int) string {
	plain := strings.IndexFunc(n.text, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
	}) < 0
	if n.kind != 's' || !plain {
		p.fault(n.offset, "Sid is not made of letters and digits", "write a name such as \"AllowTelemetry\", or leave it out")
		return ""
	}
	if first, twice := sids[n.text]; twice && n.text != "" {
		p.fault(n.offset, fmt.Sprintf("Sid %q is that of Statement[%d] too", n.text, first), "name one of them otherwise")
	}
	sids[n.text] = index
	return n.text
}

// oneOf picks an element or its negation; there must be exactly one.
func (p *parser) oneOf(n *node, elements map[string]*node, name, not string) (*node, bool) {
	a, b := elements[name], elements[not]
	switch {
	case a != nil && b != nil:
		p.fault(n.offset, "there are both "+name+" and "+not, "keep one of the two")
	case a == nil && b == nil:
		p.fault(n.offset, "there is neither "+name+" nor "+not, "add \""+name+"\"")
	case b != nil:
		return b, true
	}
	return a, false
}

// strings lists a string or a list of strings, at least one.
func (p *parser) strings(n *node) []*node {
	if n == nil {
		return nil
	}
	list := asList(n)
	if len(list) == 0 {
		p.fault(n.offset, "the list is empty", "write at least one entry")
	}
	return slices.DeleteFunc(slices.Clone(list), func(item *node) bool {
		if item.kind != 's' {
			p.fault(item.offset, "a string is needed here, this is "+typeOf(item), "write it in quotes")
		}
		return item.kind != 's'
	})
}

func asList(n *node) []*node {
	if n.kind == '[' {
		return n.items
	}
	return []*node{n}
}

func typeOf(n *node) string {
	return map[byte]string{'{': "an object", '[': "a list", 's': "a string", 'n': "a number", 'b': "true or false", '0': "null"}[n.kind]
}
