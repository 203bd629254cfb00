package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// yamlReader reads YAML strictly and collects what is wrong with it: no
// unknown and no repeated keys, no anchors, no guessing of types.
type yamlReader struct {
	file   string
	faults Faults
}

func (r *yamlReader) fault(n *yaml.Node, where, text, remedy string) {
	r.faults = append(r.faults, Fault{File: r.file, Line: n.Line, Column: n.Column, Where: where, Text: text, Remedy: remedy})
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// document parses the text; nil when it is empty or faulty.
func (r *yamlReader) document(raw []byte) *yaml.Node {
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		text := strings.ReplaceAll(err.Error(), "\n", " ")
		place := yamlLine.FindStringSubmatch(text)
		line, _ := strconv.Atoi(place[1])
		f := Fault{File: r.file, Line: line, Text: "not YAML: " + strings.TrimPrefix(text, place[0]), Remedy: "check indentation and quotes"}
		if line > 0 {
			f.Column = 1
		}
		r.faults = append(r.faults, f)
		return nil
	}
	if len(root.Content) == 0 {
		return nil
	}
	return root.Content[0]
}

// mapping calls each for the members of a mapping; null is an empty one.
func (r *yamlReader) mapping(n *yaml.Node, where string, each func(key, value *yaml.Node, where string)) {
	if n == nil || n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fault(n, where, "names with values are needed here", "write name: value, indented below")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Tag == "!!null" {
			r.fault(key, where, "this is no name", "write a plain name before the colon")
			continue
		}
		path := strings.TrimPrefix(where+"."+key.Value, ".")
		if seen[key.Value] {
			r.fault(key, path, "it is here twice", "keep one of the two")
			continue
		}
		seen[key.Value] = true
		each(key, value, path)
	}
}

// record is a mapping whose keys are known.
func (r *yamlReader) record(n *yaml.Node, where string, known ...string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	r.mapping(n, where, func(key, value *yaml.Node, path string) {
		if !slices.Contains(known, key.Value) {
			r.fault(key, path, "the key is not known", "possible are "+strings.Join(known, ", "))
			return
		}
		out[key.Value] = value
	})
	return out
}

// text reads a scalar as it is written: 007 stays 007.
func (r *yamlReader) text(n *yaml.Node, where string) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.fault(n, where, "one value is needed here", "write text, in quotes if in doubt")
		return ""
	}
	return n.Value
}

// entry is a scalar with its place.
type entry struct {
	text  string
	node  *yaml.Node
	where string
}

// texts reads a list of scalars without repetitions.
func (r *yamlReader) texts(n *yaml.Node, where string) []entry {
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fault(n, where, "a list is needed here", "write [a, b]")
		return nil
	}
	var out []entry
	for i, item := range n.Content {
		e := entry{r.text(item, where), item, fmt.Sprintf("%s[%d]", where, i)}
		if slices.ContainsFunc(out, func(o entry) bool { return o.text == e.text }) {
			r.fault(item, e.where, fmt.Sprintf("%q is in the list twice", e.text), "keep one")
			continue
		}
		out = append(out, e)
	}
	return out
}

// flag reads true or false.
func (r *yamlReader) flag(n *yaml.Node, where string) bool {
	if n == nil {
		return false
	}
	if n.Tag != "!!bool" {
		r.fault(n, where, "true or false is needed here", "write one of the two")
	}
	return n.Tag == "!!bool" && strings.EqualFold(n.Value, "true")
}
