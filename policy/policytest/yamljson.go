package policytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// json writes a value that is YAML as JSON. Keys that are there twice stay
// there twice: the parser of policies is to see them.
func (s *suite) json(n *yaml.Node, where string, out *bytes.Buffer) {
	switch n.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				out.WriteByte(',')
			}
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				s.Fault(key, where, "this is no name", "write a plain name before the colon")
				return
			}
			writeString(out, key.Value)
			out.WriteByte(':')
			s.json(n.Content[i+1], where+"."+key.Value, out)
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			s.json(item, fmt.Sprintf("%s[%d]", where, i), out)
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
		s.Fault(n, where, "anchors and aliases are not read", "write the value out")
		out.WriteString("null")
	}
}

func writeString(out *bytes.Buffer, text string) {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes
	out.Truncate(out.Len() - 1)
}
