package strictyaml

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Reader reads YAML strictly and tells Report what is wrong with it: where (line
// and column from 1, and the path of keys), what, and what to do.
type Reader struct {
	Report func(line, column int, where, text, remedy string)
}

// Entry is a scalar with its place.
type Entry struct {
	Text  string
	Node  *yaml.Node
	Where string
}

// Fault reports what is wrong at a node.
func (r *Reader) Fault(n *yaml.Node, where, text, remedy string) {
	r.Report(n.Line, n.Column, where, text, remedy)
}

// IsNull reports whether nothing is there, or null.
func IsNull(n *yaml.Node) bool { return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// Mapping calls each for the members of a mapping; null is an empty one.
func (r *Reader) Mapping(n *yaml.Node, where string, each func(key, value *yaml.Node, where string)) {
	if IsNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.Fault(n, where, "names with values are needed here", "write name: value, indented below")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Tag == "!!null" {
			r.Fault(key, where, "this is no name", "write a plain name before the colon")
			continue
		}
		path := strings.TrimPrefix(where+"."+key.Value, ".")
		if seen[key.Value] {
			r.Fault(key, path, "it is here twice", "keep one of the two")
			continue
		}
		seen[key.Value] = true
		each(key, value, path)
	}
}

// Record is a mapping whose keys are known.
func (r *Reader) Record(n *yaml.Node, where string, known ...string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	r.Mapping(n, where, func(key, value *yaml.Node, path string) {
		if !slices.Contains(known, key.Value) {
			r.Fault(key, path, "the key is not known", "possible are "+strings.Join(known, ", "))
			return
		}
		out[key.Value] = value
	})
	return out
}

// Text reads a scalar as it is written: 007 stays 007.
func (r *Reader) Text(n *yaml.Node, where string) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.Fault(n, where, "one value is needed here", "write text, in quotes if in doubt")
		return ""
	}
	return n.Value
}

// Texts reads one scalar or a list of them.
func (r *Reader) Texts(n *yaml.Node, where string) []Entry {
	if IsNull(n) {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		return []Entry{{n.Value, n, where}}
	}
	if n.Kind != yaml.SequenceNode {
		r.Fault(n, where, "a text or a list of texts is needed here", "write a, or [a, b]")
		return nil
	}
	return r.items(n, where)
}

// Set reads a list of scalars without repetitions.
func (r *Reader) Set(n *yaml.Node, where string) []Entry {
	if IsNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.Fault(n, where, "a list is needed here", "write [a, b]")
		return nil
	}
	var out []Entry
	for _, e := range r.items(n, where) {
		if slices.ContainsFunc(out, func(o Entry) bool { return o.Text == e.Text }) {
			r.Fault(e.Node, e.Where, fmt.Sprintf("%q is in the list twice", e.Text), "keep one")
			continue
		}
		out = append(out, e)
	}
	return out
}

func (r *Reader) items(n *yaml.Node, where string) []Entry {
	out := make([]Entry, len(n.Content))
	for i, item := range n.Content {
		path := fmt.Sprintf("%s[%d]", where, i)
		out[i] = Entry{r.Text(item, path), item, path}
	}
	return out
}

// Flag reads true or false; otherwise is what an absent one means.
func (r *Reader) Flag(n *yaml.Node, where string, otherwise bool) bool {
	if n == nil {
		return otherwise
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.Fault(n, where, "true or false is needed here", "write one of the two")
		return otherwise
	}
	return strings.EqualFold(n.Value, "true")
}

// Values reads a mapping of names to texts.
func (r *Reader) Values(n *yaml.Node, where string) map[string]string {
	out := map[string]string{}
	r.Mapping(n, where, func(key, value *yaml.Node, path string) { out[key.Value] = r.Text(value, path) })
	return out
}

// Lists reads a mapping of names to one text or several.
func (r *Reader) Lists(n *yaml.Node, where string) map[string][]string {
	out := map[string][]string{}
	r.Mapping(n, where, func(key, value *yaml.Node, path string) {
		for _, e := range r.Texts(value, path) {
			out[key.Value] = append(out[key.Value], e.Text)
		}
	})
	return out
}
