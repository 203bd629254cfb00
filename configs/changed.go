package configs

import "reflect"

// Changed lists the keys below a path whose values differ in two sections of one type,
// in their order: not the values, of which some are secrets.
func Changed(path string, was, is any) []string {
	return changedIn(path, reflect.ValueOf(was), reflect.ValueOf(is))
}

func changedIn(path string, was, is reflect.Value) (out []string) {
	if was.Kind() != reflect.Struct || isScalar(was.Type()) {
		if reflect.DeepEqual(was.Interface(), is.Interface()) {
			return nil
		}
		return []string{path}
	}
	for _, f := range fieldsOf(was.Type()) {
		out = append(out, changedIn(path+"."+f.name, was.FieldByIndex(f.index), is.FieldByIndex(f.index))...)
	}
	return out
}
