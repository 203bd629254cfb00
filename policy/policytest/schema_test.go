package policytest

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// TestSchema holds the schema to the keys that the reader knows.
func TestSchema(t *testing.T) {
	type node struct {
		Properties map[string]node `json:"properties"`
		AnyOf      []node          `json:"anyOf"`
		Defs       map[string]node `json:"$defs"`
	}
	var root node
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  map[string]node
		want []string
	}{
		"file":        {root.Properties, suiteKeys},
		"gateway":     {root.Properties["gateway"].Properties, gatewayKeys},
		"thing":       {root.Defs["thing"].Properties, thingKeys},
		"certificate": {root.Defs["certificate"].AnyOf[1].Properties, certificateForm},
		"test":        {root.Defs["test"].Properties, testKeys},
		"with":        {root.Defs["test"].Properties["with"].Properties, withKeys},
	} {
		if got := slices.Sorted(maps.Keys(c.got)); !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
			t.Errorf("%s: the schema has %v, the reader %v", name, got, c.want)
		}
	}
}
