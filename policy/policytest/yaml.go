package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/ebbgate/ebbgate/policy"
)

// yamlReader reads YAML strictly and collects what is wrong with it: no
// unknown and no repeated keys, no anchors, no guessing of types.
type yamlReader struct {
	file   string
	faults policy.Faults
}

func (r *yamlReader) fault(n *yaml.Node, where, text, remedy string) {
	r.faults = append(r.faults, policy.Fault{File: r.file, Line: n.Line, Column: n.Column, Where: where, Text: text, Remedy: remedy})
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// document parses the text; nil when it is empty or faulty.
func (r *yamlReader) document(text []byte) *yaml.Node {
	var root, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&root)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && !errors.Is(decoder.Decode(&second), io.EOF) {
		err = errors.New("there is more behind the end of the document")
	}
	if err != nil {
		message := strings.ReplaceAll(err.Error(), "\n", " ")
		place := yamlLine.FindStringSubmatch(message)
		line, _ := strconv.Atoi(place[1])
		r.faults = append(r.faults, policy.Fault{
			File: r.file, Line: max(line, 1), Column: 1,
			Text:   "not YAML: " + strings.TrimPrefix(message, place[0]),
			Remedy: "check indentation and quotes; a text that begins with *, &, !, %, @ or # needs quotes",
		})
		return nil
	}
	if len(root.Content) == 0 {
		return nil
	}
	return root.Content[0]
}

func isNull(n *yaml.Node) bool { return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// mapping calls each for the members of a mapping; null is an empty one.
func (r *yamlReader) mapping(n *yaml.Node, where string, each func(key, value *yaml.Node, where string)) {
	if isNull(n) {
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
func (r *yamlReader) record(n *yaml.Node, where string, known []string) map[string]*yaml.Node {
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

// texts reads one scalar or a list of them.
func (r *yamlReader) texts(n *yaml.Node, where string) []entry {
	if isNull(n) {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		return []entry{{n.Value, n, where}}
	}
	if n.Kind != yaml.SequenceNode {
		r.fault(n, where, "a text or a list of texts is needed here", "write a, or [a, b]")
		return nil
	}
	var out []entry
	for i, item := range n.Content {
		path := fmt.Sprintf("%s[%d]", where, i)
		out = append(out, entry{r.text(item, path), item, path})
	}
	return out
}

// flag reads true or false.
func (r *yamlReader) flag(n *yaml.Node, where string, otherwise bool) bool {
	if n == nil {
		return otherwise
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.fault(n, where, "true or false is needed here", "write one of the two")
	}
	return strings.EqualFold(n.Value, "true")
}

// values reads a mapping of names to texts.
func (r *yamlReader) values(n *yaml.Node, where string) map[string]string {
	out := map[string]string{}
	r.mapping(n, where, func(key, value *yaml.Node, path string) { out[key.Value] = r.text(value, path) })
	return out
}

// lists reads a mapping of names to one text or several.
func (r *yamlReader) lists(n *yaml.Node, where string) map[string][]string {
	out := map[string][]string{}
	r.mapping(n, where, func(key, value *yaml.Node, path string) {
		for _, e := range r.texts(value, path) {
			out[key.Value] = append(out[key.Value], e.text)
		}
	})
	return out
}

// json writes a value that is YAML as JSON. Keys that are there twice stay
// there twice: the parser of policies is to see them.
func (r *yamlReader) json(n *yaml.Node, where string, out *bytes.Buffer) {
	switch n.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				out.WriteByte(',')
			}
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				r.fault(key, where, "this is no name", "write a plain name before the colon")
				return
			}
			writeString(out, key.Value)
			out.WriteByte(':')
			r.json(n.Content[i+1], where+"."+key.Value, out)
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			r.json(item, fmt.Sprintf("%s[%d]", where, i), out)
		}
		out.WriteByte(']')
	case yaml.ScalarNode:
		switch {
		case n.Tag == "!!null":
			out.WriteString("null")
		case n.Tag == "!!bool":
			out.WriteString(strings.ToLower(n.Value))
		case (n.Tag == "!!int" || n.Tag == "!!float") && json.Valid([]byte(n.Value)):
			out.WriteString(n.Value)
		default: // a Version of 2012-10-17 without quotes is a date to YAML
			writeString(out, n.Value)
		}
	default:
		r.fault(n, where, "anchors and aliases are not read", "write the value out")
		out.WriteString("null")
	}
}

func writeString(out *bytes.Buffer, text string) {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes
	out.Truncate(out.Len() - 1)
}
