package lint

import (
	"strings"
)

// inspector lets the rules look at one set and takes down what they find.
type inspector struct {
	set     *set
	gateway Gateway // whose ARNs; empty fields are not compared
	usual   Gateway // what nearly all ARNs of the run say; a guess
	rule    *Rule
	found   map[place]*Finding
}

// place makes a finding once, in however many sets the document is.
type place struct {
	document *document
	rule     string
	offset   int
}

// detail is what a rule has to say beyond its own text.
type detail struct {
	severity Severity // of this finding; 0 is the rule's
	message  string
	examples []Example
	fix      string // empty is the rule's
}

// at reports a finding at an element of a statement.
func (i *inspector) at(st *statement, n *node, d detail) {
	i.add(st.document, st, n, d)
}

func (i *inspector) add(doc *document, st *statement, n *node, d detail) {
	f := newFinding(doc, n.offset, n.end)
	f.Rule, f.Title, f.Severity = i.rule.ID, i.rule.Title, i.rule.Severity
	f.Message, f.Examples, f.Fix = d.message, d.examples, i.rule.Fix
	if d.severity != 0 {
		f.Severity = d.severity
	}
	if d.fix != "" {
		f.Fix = d.fix
	}
	if st != nil {
		index := st.index
		f.Statement, f.Sid = &index, st.sid
	}
	if i.set.known {
		f.Attached = i.set.owner
	}
	key := place{doc, i.rule.ID, n.offset}
	if old := i.found[key]; old == nil || old.Severity < f.Severity {
		i.found[key] = &f
	}
}

// newFinding is a finding at a place of a document.
func newFinding(d *document, from, to int) Finding {
	f := Finding{File: d.source.File, Policy: d.source.Name, offset: from}
	f.Line, f.Column = position(d.text, from)
	f.EndLine, f.EndColumn = position(d.text, to)
	if d.places != nil {
		f.FileLine, f.FileColumn = position(d.source.Text, d.places[min(from, len(d.places)-1)])
	}
	return f
}

// alone is the severity of a finding that another document of the same
// principal could make untrue.
func (i *inspector) alone() Severity {
	if i.set.known {
		return 0
	}
	return Low
}

// allowed is an example of a request that is let through; ok is false when it
// is not, or only under conditions.
func (i *inspector) allowed(action, kind, name string, d *document) (Example, bool) {
	st := i.set.lets(action, kind, name)
	if st == nil || len(st.conditions) > 0 {
		return Example{}, false
	}
	return Example{Action: action, Resource: kind + "/" + name, Allowed: true, By: st.from(d)}, true
}

// refused is an example of a request that is refused for certain.
func (i *inspector) refused(action, kind, name string) (Example, bool) {
	return Example{Action: action, Resource: kind + "/" + name}, i.set.refuses(action, kind, name)
}

// collect keeps the examples that hold.
func collect(examples *[]Example) func(Example, bool) {
	return func(e Example, ok bool) {
		if ok {
			*examples = append(*examples, e)
		}
	}
}

// quote writes a text of the document in a message.
func quote(text string) string { return `"` + text + `"` }

// list writes names in a sentence: a, b and c.
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
