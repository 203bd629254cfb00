package policytest

import (
	_ "embed" // of the schema
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema of the YAML format, for editors.
func Schema() []byte { return slices.Clone(schema) }
