package configs

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/rules"
)

// decoder puts a tree onto Options that hold their defaults. What cannot be
// decoded keeps its default and is a problem.
type decoder struct {
	refs     references
	places   places
	problems []Problem
}

func (d *decoder) add(path, code, text, remedy string) {
	p := d.places.at(path)
	d.problems = append(d.problems, Problem{p.source, p.line, path, text, remedy, code})
}

// value decodes one node of a tree: nil is a key that says nothing.
func (d *decoder) value(n any, v reflect.Value, path string, tag reflect.StructTag) {
	switch {
	case n == nil:
	case isScalar(v.Type()):
		if text, ok := n.(string); ok {
			d.scalar(text, v, path, tag)
			return
		}
		d.add(path, codeShape, "is "+shape(n)+" where one value belongs", "write a single value after the colon")
	case v.Kind() == reflect.Struct:
		if m, ok := n.(map[string]any); ok {
			d.mapping(m, v, path)
			return
		}
		d.add(path, codeShape, "is "+shape(n)+" where keys belong", "write its keys below, such as "+names(fieldsOf(v.Type()))[0]+":")
	case v.Kind() == reflect.Map:
		if m, ok := n.(map[string]any); ok {
			d.named(m, v, path, tag)
			return
		}
		d.add(path, codeShape, "is "+shape(n)+" where names with their settings belong", "write a name and a colon, and its keys below")
	default:
		if l, ok := n.([]any); ok {
			d.list(l, v, path, tag)
			return
		}
		d.add(path, codeShape, "is "+shape(n)+" where a list belongs", `write each entry after "- ", or all in [ ]`)
	}
}

// shape names what stands in the file.
func shape(n any) string {
	switch n.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	default:
		return "a single value"
	}
}

func (d *decoder) mapping(m map[string]any, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	for _, k := range slices.Sorted(maps.Keys(m)) {
		f, ok := fieldNamed(fields, k)
		if !ok {
			d.add(join(path, k), codeUnknown, "is not a key", meant(k, names(fields)))
			continue
		}
		d.value(m[k], v.FieldByIndex(f.index), join(path, k), f.tag)
	}
}

// named decodes a map whose keys are names that people choose.
func (d *decoder) named(m map[string]any, v reflect.Value, path string, tag reflect.StructTag) {
	out := reflect.MakeMap(v.Type())
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !rules.ValidName(k) {
			d.add(join(path, k), codeName, quote(k)+" is not a name", "use 1 to 64 of a-z, 0-9, - and _, beginning with a letter or digit")
			continue
		}
		elem := fresh(v.Type().Elem())
		d.value(m[k], elem, join(path, k), tag)
		out.SetMapIndex(reflect.ValueOf(k).Convert(v.Type().Key()), elem)
	}
	v.Set(out)
}

func (d *decoder) list(l []any, v reflect.Value, path string, tag reflect.StructTag) {
	out := reflect.Zero(v.Type())
	if !v.IsNil() { // where the default has entries, or says so, [] is not silence
		out = reflect.MakeSlice(v.Type(), 0, len(l))
	}
	for i, n := range l {
		elem := d.entry(v.Type().Elem(), n)
		d.value(n, elem, indexed(path, i), tag)
		out = reflect.Append(out, elem)
	}
	v.Set(out)
}

// entry is fresh; a listener has the defaults of the profile that it names.
func (d *decoder) entry(t reflect.Type, n any) reflect.Value {
	elem := fresh(t)
	l, ok := elem.Addr().Interface().(*localbroker.ListenerOptions)
	if !ok {
		return elem
	}
	keys, _ := n.(map[string]any)
	text, _ := keys["profile"].(string)
	if name, faults := d.refs.expand(text, false); name != "" && len(faults) == 0 {
		*l = localbroker.DefaultListenerOf(name)
	}
	return elem
}

// scalar decodes one text, references first.
func (d *decoder) scalar(text string, v reflect.Value, path string, tag reflect.StructTag) {
	text, ok := d.resolve(text, v.Type(), path, tag)
	if !ok {
		return
	}
	if allowed := enum(tag); allowed != nil && !slices.Contains(allowed, text) {
		remedy := "choose one of " + strings.Join(allowed, ", ")
		if k := closest(text, allowed); k != "" {
			remedy = "did you mean " + k + "? Possible are " + strings.Join(allowed, ", ")
		}
		d.add(path, codeEnum, quote(text)+" is not possible here", remedy)
		return
	}
	if err := setScalar(v, text); err != nil {
		shown := quote(text)
		if v.Type() == secretType {
			shown = "the secret"
		}
		d.add(path, err.code, shown+" "+err.text, err.remedy)
	}
}

// resolve replaces the references in a text.
func (d *decoder) resolve(text string, t reflect.Type, path string, tag reflect.StructTag) (string, bool) {
	out, faults := d.refs.expand(text, tag.Get("template") != "")
	if t == secretType && len(faults) == 0 {
		var f *refFault
		if out, f = d.refs.secret(out); f != nil {
			faults = append(faults, *f)
		}
	}
	for _, f := range faults {
		d.add(path, f.code, f.text, f.remedy)
	}
	return out, len(faults) == 0
}

// covered reports whether something is wrong already with a key or with what
// it stands in, so that a package's complaint about its value says nothing new.
func (d *decoder) covered(path string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool {
		return p.Key == path || p.Key != "" && below(path, p.Key)
	})
}

// complain adds what a package's Validate found.
func (d *decoder) complain(path, code, text, remedy string) {
	if !d.covered(path) {
		d.add(path, code, text, remedy)
	}
}
