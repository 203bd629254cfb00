package configs

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// Schema is the JSON Schema (draft 2020-12) of the configuration file, made of
// the types and tags that Load itself reads. Every value may also be given as a
// reference to an environment variable.
func Schema() []byte {
	root := schemaOf(reflect.TypeFor[Config](), reflect.ValueOf(Default()).Elem(), "")
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.ID = "urn:ebbgate:config"
	root.Title = "Ebbgate configuration"
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("configs: schema: " + err.Error()) // plain strings and maps
	}
	return append(out, '\n')
}

// schema is what we use of JSON Schema.
type schema struct {
	Schema        string             `json:"$schema,omitempty"`
	ID            string             `json:"$id,omitempty"`
	Title         string             `json:"title,omitempty"`
	Description   string             `json:"description,omitempty"`
	Type          string             `json:"type,omitempty"`
	Enum          []any              `json:"enum,omitempty"`
	Pattern       string             `json:"pattern,omitempty"`
	Minimum       *int               `json:"minimum,omitempty"`
	Maximum       *int               `json:"maximum,omitempty"`
	AnyOf         []*schema          `json:"anyOf,omitempty"`
	Items         *schema            `json:"items,omitempty"`
	Properties    map[string]*schema `json:"properties,omitempty"`
	PropertyNames *schema            `json:"propertyNames,omitempty"`
	Additional    any                `json:"additionalProperties,omitempty"` // false, or a *schema
	Default       any                `json:"default,omitempty"`
}

const (
	durationPattern  = `^(0|([0-9]+d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*)$`
	sizePattern      = `^(0|[0-9]+(\.[0-9]+)?\s*(B|KB|MB|GB|KiB|MiB|GiB))$`
	referencePattern = `\$\{[A-Z_][A-Z0-9_]*\}`
	namePattern      = `^[a-z0-9][a-z0-9_-]{0,63}$`
)

// schemaOf describes a type whose default is v, when that is valid.
func schemaOf(t reflect.Type, v reflect.Value, tag reflect.StructTag) *schema {
	s := &schema{Description: tag.Get("doc")}
	switch {
	case isScalar(t):
		s.scalar(t, tag)
		if v.IsValid() && t != secretType {
			s.Default = plainValue(v)
		}
	case t.Kind() == reflect.Struct:
		s.Type, s.Additional, s.Properties = "object", false, map[string]*schema{}
		for _, f := range fieldsOf(t) {
			var d reflect.Value
			if v.IsValid() {
				d = v.FieldByIndex(f.index)
			}
			s.Properties[f.name] = schemaOf(f.typ, d, f.tag)
		}
	case t.Kind() == reflect.Map:
		s.Type, s.PropertyNames = "object", &schema{Pattern: namePattern}
		s.Additional = schemaOf(t.Elem(), fresh(t.Elem()), "")
	default:
		s.Type = "array"
		inner := tag
		if isScalar(t.Elem()) {
			inner = reflect.StructTag(`enum:"` + tag.Get("enum") + `"`)
		}
		s.Items = schemaOf(t.Elem(), fresh(t.Elem()), inner)
		if isScalar(t.Elem()) {
			s.Items.Default = nil
			if v.IsValid() && v.Len() > 0 {
				s.Default = plainList(v)
			}
		} else {
			s.Items.Description = ""
		}
	}
	return s
}

// scalar describes the texts of a type.
func (s *schema) scalar(t reflect.Type, tag reflect.StructTag) {
	if allowed := enum(tag); allowed != nil {
		for _, a := range allowed {
			if n, err := strconv.Atoi(a); err == nil {
				s.Enum = append(s.Enum, n)
			}
			s.Enum = append(s.Enum, a)
		}
		return
	}
	own := &schema{}
	switch {
	case t == durationType:
		own.Type, own.Pattern = "string", durationPattern
	case t == sizeType:
		own.Type, own.Pattern = "string", sizePattern
	default:
		switch t.Kind() {
		case reflect.String:
			s.Type = "string"
			return
		case reflect.Bool:
			own.Type = "boolean"
		case reflect.Float32, reflect.Float64:
			own.Type = "number"
		default:
			own.Type = "integer"
			own.Minimum, own.Maximum = number(tag.Get("min")), number(tag.Get("max"))
		}
	}
	s.AnyOf = []*schema{own, {Type: "string", Pattern: referencePattern}}
	if word := tag.Get("word"); word != "" { // instead of a number
		s.AnyOf = append(s.AnyOf, &schema{Enum: []any{word}})
	}
	if own.Pattern != "" { // a plain 0 needs no unit
		s.AnyOf = append(s.AnyOf, &schema{Enum: []any{0}})
	}
}

func number(s string) *int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil
	}
	return &n
}

// plainList is a list's default as JSON shows it.
func plainList(v reflect.Value) []string {
	out := make([]string, v.Len())
	for i := range out {
		out[i] = scalarText(v.Index(i))
	}
	return out
}

// plainValue is a default as JSON shows it.
func plainValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Bool, reflect.Float32, reflect.Float64:
		return v.Interface()
	}
	if v.CanInt() && v.Type() != durationType && v.Type() != sizeType {
		return v.Int()
	}
	if n, err := strconv.Atoi(scalarText(v)); err == nil {
		return n // qos: 1
	}
	return scalarText(v)
}
