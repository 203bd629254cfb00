package lint

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxDocument = 2048      // characters, white space not counted (CreatePolicyVersion)
	maxFile     = 256 << 10 // bytes of a document with its white space
)

func itoa(n int) string { return strconv.Itoa(n) }

// fault is a reason why AWS would refuse the document.
type fault struct {
	offset       int
	text, remedy string
	size         bool // that the document is too long, and may be well otherwise
}

// parser reads a document and collects its faults. After the first fault the
// document is as complete as it can be.
type parser struct {
	document *document
	faults   []fault
	where    string
}

// parseDocument reads the document of a source, strictly.
func parseDocument(src Source) (*document, []fault) {
	d := &document{source: src, text: src.Text}
	p := &parser{document: d}
	if len(src.Text) > maxFile {
		p.fault(0, fmt.Sprintf("the file has more than %d bytes", maxFile), "split the policy")
		return d, p.faults
	}
	if e, ok := unwrap(src.Text); ok {
		d.text, d.places = e.text, e.places
		if e.name != "" {
			d.source.Name = e.name
		}
	}
	root, err := readJSON(d.text)
	if err != nil {
		offset := 0
		if syntax, ok := errors.AsType[*syntaxError](err); ok {
			offset = syntax.offset
		}
		p.fault(offset, err.Error(), `a policy is one JSON object in UTF-8; "aws iot get-policy" prints one`)
		return d, p.faults
	}
	d.root = root
	p.root(root)
	if n := characters(d.text); n > maxDocument {
		p.where = ""
		p.fault(0, fmt.Sprintf("the document has %d characters without white space, AWS takes %d", n, maxDocument), "split it in two policies, or use variables and wildcards")
		p.faults[len(p.faults)-1].size = n <= 2*maxDocument
	}
	return d, p.faults
}

// characters counts as CreatePolicyVersion does: white space is free.
func characters(text []byte) int {
	n := utf8.RuneCount(text)
	for _, b := range text {
		if strings.IndexByte(" \t\r\n", b) >= 0 {
			n--
		}
	}
	return n
}

func (p *parser) fault(offset int, text, remedy string) {
	if p.where != "" {
		text = p.where + ": " + text
	}
	p.faults = append(p.faults, fault{offset: offset, text: text, remedy: remedy})
}

func (p *parser) root(n *node) {
	if n.kind != '{' {
		p.fault(n.offset, "a policy is a JSON object, this is "+n.typeName(), `start with { "Version": "2012-10-17", "Statement": [`)
		return
	}
	elements, _ := p.elements(n, "Version", "Id", "Statement")
	d := p.document
	if v := elements["Version"]; v != nil {
		d.version = v
		if v.kind != 's' || v.text != version2008 && v.text != version2012 {
			p.fault(v.offset, `Version is neither "2012-10-17" nor "2008-10-17"`, `write "2012-10-17": it is the language's version, not the policy's`)
		}
	}
	if id := elements["Id"]; id != nil {
		d.id = id
		if id.kind != 's' {
			p.fault(id.offset, "Id is not a string", "write it in quotes or leave it out")
		}
	}
	list := elements["Statement"]
	if list == nil {
		p.fault(n.offset, "there is no Statement", `add "Statement": [ … ]`)
		return
	}
	sids := map[string]int{}
	for i, item := range list.list() {
		p.where = "Statement[" + itoa(i) + "]"
		d.statements = append(d.statements, p.statement(i, item, sids))
	}
	p.where = ""
	if len(d.statements) == 0 {
		p.fault(list.offset, "Statement is empty", "write at least one statement")
	}
}

func (p *parser) statement(index int, n *node, sids map[string]int) *statement {
	s := &statement{document: p.document, index: index, node: n}
	if n.kind != '{' {
		p.fault(n.offset, "a statement is a JSON object, this is "+n.typeName(), `write { "Effect": …, "Action": …, "Resource": … }`)
		return s
	}
	elements, names := p.elements(n, "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if sid := elements["Sid"]; sid != nil {
		s.sid = p.sid(sid, index, sids)
	}
	switch effect := elements["Effect"]; {
	case effect == nil:
		p.fault(n.offset, "there is no Effect", `add "Effect": "Allow" or "Deny"`)
	case effect.kind != 's' || effect.text != "Allow" && effect.text != "Deny":
		p.fault(effect.offset, `Effect is neither "Allow" nor "Deny"`, "write one of the two, in this case of letters")
	default:
		s.deny = effect.text == "Deny"
	}
	list := p.oneOf(n, elements, "Action", "NotAction")
	s.notAction = names["NotAction"]
	for _, a := range p.strings(list) {
		p.action(a)
		s.actions = append(s.actions, a)
	}
	list = p.oneOf(n, elements, "Resource", "NotResource")
	s.notResource = names["NotResource"]
	for _, r := range p.strings(list) {
		if r.text != "*" && !arnForm(r.text) {
			remedy := `write it out, such as "arn:aws:iot:us-east-1:123456789012:topic/` + strings.TrimPrefix(r.text, "topic/") + `"`
			if strings.HasPrefix(r.text, "arn:") {
				remedy = `write all six fields, such as "arn:aws:iot:us-east-1:123456789012:topic/a"`
			}
			p.fault(r.offset, fmt.Sprintf("%q is neither an ARN nor \"*\"", r.text), remedy)
		}
		s.resources = append(s.resources, newResource(r, p.document.language()))
	}
	if c := elements["Condition"]; c != nil {
		p.conditions(s, c)
	}
	s.acts = actsOf(s)
	return s
}

// elements checks the names of an object's members. They are compared exactly:
// "effect" is no Effect.
func (p *parser) elements(n *node, known ...string) (values, names map[string]*node) {
	values, names = map[string]*node{}, map[string]*node{}
	for _, f := range n.fields {
		name := f.name.text
		if values[name] != nil {
			p.fault(f.name.offset, fmt.Sprintf("%q is here twice", name), "keep one of the two")
		}
		if !slices.Contains(known, name) {
			p.fault(f.name.offset, fmt.Sprintf("%q is not an element of a policy here", name), elementRemedy(name, known))
		}
		values[name], names[name] = f.value, f.name
	}
	return values, names
}

// elementRemedy names the element that was probably meant.
func elementRemedy(name string, known []string) string {
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
		p.fault(n.offset, "Sid is not made of letters and digits", `write a name such as "AllowTelemetry", or leave it out`)
		return ""
	}
	if first, twice := sids[n.text]; twice && n.text != "" {
		p.fault(n.offset, fmt.Sprintf("Sid %q is that of Statement[%d] too", n.text, first), "name one of them otherwise")
	}
	sids[n.text] = index
	return n.text
}

// oneOf picks an element or its negation; there must be exactly one.
func (p *parser) oneOf(n *node, elements map[string]*node, name, not string) *node {
	a, b := elements[name], elements[not]
	switch {
	case a != nil && b != nil:
		p.fault(n.offset, "there are both "+name+" and "+not, "keep one of the two")
	case a == nil && b == nil:
		p.fault(n.offset, "there is neither "+name+" nor "+not, "add \""+name+"\"")
	case b != nil:
		return b
	}
	return a
}

// strings lists a string or a list of strings, at least one.
func (p *parser) strings(n *node) []*node {
	if n == nil {
		return nil
	}
	if len(n.list()) == 0 {
		p.fault(n.offset, "the list is empty", "write at least one entry")
	}
	return slices.DeleteFunc(slices.Clone(n.list()), func(item *node) bool {
		if item.kind != 's' {
			p.fault(item.offset, "a string is needed here, this is "+item.typeName(), "write it in quotes")
		}
		return item.kind != 's'
	})
}

var actionForm = regexp.MustCompile(`^(\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+)$`)

func (p *parser) action(n *node) {
	if actionForm.MatchString(n.text) {
		return
	}
	remedy := `write the service before it, such as "iot:Publish", or "*"`
	if strings.Contains(n.text, "${") {
		remedy = "write it out: variables stand in Resource and Condition only"
	}
	p.fault(n.offset, fmt.Sprintf("%q is not an action", n.text), remedy)
}

// arnForm reports whether a text has the six fields of an ARN, or wildcards,
// which may run past a colon.
func arnForm(text string) bool {
	return strings.HasPrefix(text, "arn:") && (strings.Count(text, ":") >= 5 || strings.ContainsAny(text, "*?"))
}
