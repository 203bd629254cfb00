package configs

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// field is one key of an Options struct.
type field struct {
	name  string
	index []int
	typ   reflect.Type
	tag   reflect.StructTag
}

// fieldsOf lists the keys of a struct in its order. A field tagged ",squash"
// gives its own keys.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("koanf"), ",")
		switch {
		case opts == "squash":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
		case name != "" && name != "-" && f.IsExported():
			out = append(out, field{name, []int{i}, f.Type, f.Tag})
		}
	}
	return out
}

func fieldNamed(fields []field, name string) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

// isScalar reports whether values of t are written as one text.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice:
		return reflect.PointerTo(t).Implements(textType)
	default:
		return true
	}
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[bridge.Size]()
	secretType   = reflect.TypeFor[bridge.Secret]()
)

// enum lists the values of a closed list, nil when the key has none.
func enum(tag reflect.StructTag) []string {
	if s := tag.Get("enum"); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}
