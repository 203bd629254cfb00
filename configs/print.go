package configs

import (
	"bytes"
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Print is the effective configuration as YAML, in the order of the schema,
// with secrets masked.
func Print(c *Config) []byte {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	// A tree of plain nodes, into memory: neither call can fail.
	_ = enc.Encode(printed(reflect.ValueOf(c).Elem(), ""))
	_ = enc.Close()
	return out.Bytes()
}

// printed is a value as YAML.
func printed(v reflect.Value, tag reflect.StructTag) *yaml.Node {
	switch {
	case isScalar(v.Type()):
		return printedScalar(v, tag)
	case v.Kind() == reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range fieldsOf(v.Type()) {
			n.Content = append(n.Content, text(f.name), printed(v.FieldByIndex(f.index), f.tag))
		}
		return n
	case v.Kind() == reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range sortedKeys(v) {
			n.Content = append(n.Content, text(k), printed(v.MapIndex(reflect.ValueOf(k)), tag))
		}
		return n
	default:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, printed(v.Index(i), tag))
		}
		if v.Len() == 0 || isScalar(v.Type().Elem()) {
			n.Style = yaml.FlowStyle
		}
		return n
	}
}

func sortedKeys(v reflect.Value) []string {
	keys := map[string]bool{}
	for _, k := range v.MapKeys() {
		keys[k.String()] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// printedScalar escapes "${", so that what was resolved once is not resolved
// again; topic templates keep theirs.
func printedScalar(v reflect.Value, tag reflect.StructTag) *yaml.Node {
	s := scalarText(v)
	if tag.Get("template") == "" {
		s = strings.ReplaceAll(s, "${", "$${")
	}
	n := text(s)
	if v.Kind() != reflect.String { // numbers, booleans and units need no quotes
		n.Tag, n.Style = "", 0
	}
	return n
}

// scalarText is a value as one writes it in the file; a secret is its mask.
func scalarText(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return formatDuration(d)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return fmt.Sprintf("(%v)", err)
		}
		return string(b)
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	default:
		return fmt.Sprint(v.Interface())
	}
}
