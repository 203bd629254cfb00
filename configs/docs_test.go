package configs

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// The marks between which docs/configuration.md has the table of keys.
const (
	manual    = "../docs/configuration.md"
	tableHead = "<!-- keys: made by go test ./configs -update -->\n"
	tableTail = "<!-- end of keys -->\n"
)

// keyTable writes a table for each top-level key, in the order of the file: of
// every key below it the path, the values, the default and the meaning, as the
// schema has them.
func keyTable() string {
	var b strings.Builder
	root := schemaOf(reflect.TypeFor[Config](), reflect.ValueOf(Default()).Elem(), "")
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		s := root.Properties[f.name]
		_, _ = fmt.Fprintf(&b, "\n### %s\n\n", f.name)
		if s.Type == "object" || s.Type == "array" {
			_, _ = fmt.Fprintf(&b, "%s\n\n", s.Description)
		}
		b.WriteString("| key | values | default | meaning |\n|---|---|---|---|\n")
		keyRows(&b, f.name, f.typ, s)
	}
	b.WriteString("\n")
	return b.String()
}

// keyRows writes the rows of a key and of those below it.
func keyRows(b *strings.Builder, path string, t reflect.Type, s *schema) {
	switch {
	case isScalar(t):
		keyRow(b, path, kindOf(t, s), defaultOf(s.Default), s.Description)
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t) {
			keyRows(b, path+"."+f.name, f.typ, s.Properties[f.name])
		}
	case t.Kind() == reflect.Map:
		keyRows(b, path+".NAME", t.Elem(), s.Additional.(*schema))
	case isScalar(t.Elem()):
		keyRow(b, path, "list of "+kindOf(t.Elem(), s.Items), fmt.Sprintf("`%v`", listOf(s.Default)), s.Description)
	default:
		keyRows(b, path+"[]", t.Elem(), s.Items)
	}
}

func keyRow(b *strings.Builder, cells ...string) {
	cells[0] = "`" + cells[0] + "`"
	for i, c := range cells {
		cells[i] = strings.NewReplacer("|", `\|`, "<", `\<`).Replace(c)
	}
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// kindOf says what values a key takes.
func kindOf(t reflect.Type, s *schema) string {
	var words []string
	for _, v := range s.Enum {
		if text, ok := v.(string); ok { // a number stands there twice, as number and as text
			words = append(words, "`"+text+"`")
		}
	}
	switch {
	case words != nil:
		return strings.Join(words, ", ")
	case t == durationType:
		return "duration"
	case t == sizeType:
		return "size"
	case t == secretType:
		return "secret"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "`true`, `false`"
	case reflect.Float32, reflect.Float64:
		return "number"
	}
	if own := s.AnyOf[0]; own.Minimum != nil && own.Maximum != nil {
		return fmt.Sprintf("%d to %d", *own.Minimum, *own.Maximum)
	}
	return "integer"
}

// listOf is a list's default as one writes it.
func listOf(v any) string {
	items, _ := v.([]string)
	return "[" + strings.Join(items, ", ") + "]"
}

func defaultOf(v any) string {
	if v == nil || v == "" {
		return ""
	}
	return fmt.Sprintf("`%v`", v)
}

// The manual's table of keys is what the code says.
func TestManualHasEveryKey(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableHead)
	got, after, closed := strings.Cut(rest, tableTail)
	if !found || !closed {
		t.Fatalf("%s has lost the marks of its table of keys: %q and %q", manual, tableHead, tableTail)
	}
	want := keyTable()
	if *update {
		if err := os.WriteFile(manual, []byte(before+tableHead+want+tableTail+after), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if got != want {
		t.Errorf("the table of keys in %s is not what the code says: go test ./configs -update", manual)
	}
}
