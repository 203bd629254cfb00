package lint

import (
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/policy/strictyaml"
)

// yamlError is the first thing that is wrong with a YAML file.
type yamlError struct {
	line, column int
	text, remedy string
}

func (e *yamlError) Error() string {
	return fmt.Sprintf("%d:%d: %s; %s", e.line, e.column, e.text, e.remedy)
}

// decodeYAML reads one YAML document into a value; an empty one leaves it alone.
func decodeYAML(text []byte, into any) *yamlError {
	var first *yamlError
	r := strictyaml.Reader{Report: func(line, column int, _, text, remedy string) {
		if first == nil {
			first = &yamlError{line, column, text, remedy}
		}
	}}
	root := r.Document(text)
	if first != nil || root == nil {
		return first
	}
	if err := root.Decode(into); err != nil {
		return &yamlError{root.Line, root.Column, strings.ReplaceAll(err.Error(), "\n", " "), "docs/policy.md has an example of a registry, docs/lint.md of suppressions"}
	}
	return nil
}
