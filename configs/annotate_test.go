package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// annotated writes ebbgate.yaml: every key with its sentence and its default.
// Entries of lists and maps that are empty by default stand in comments, filled
// with samples; with entries they stand as they are.
type annotated struct {
	strings.Builder
	entries bool
}

// samples are what an entry must have and no default can say.
var samples = map[string]string{
	"routes.up.name": "telemetry", "routes.up.from": "dt/#", "routes.up.upstream": "aws", "routes.up.ttl": "168h",
	"routes.down.name": "commands", "routes.down.from": "cmd/#", "routes.down.upstream": "aws", "routes.down.ttl": "1h",
	"upstreams.aws.endpoint":       "mqtts://xxxxxxxxxxxxxx-ats.iot.eu-central-1.amazonaws.com:8883",
	"upstreams.aws.tls.ca":         "certs/AmazonRootCA1.pem",
	"upstreams.aws.tls.cert":       "certs/gateway.crt",
	"upstreams.aws.tls.key":        "certs/gateway.key",
	"upstreams.aws.billing.region": "eu-central-1",

	"upstreams.aws.as_things.things.name": "pump-7",
	"upstreams.aws.as_things.things.cert": "certs/pump-7.crt",
	"upstreams.aws.as_things.things.key":  "certs/pump-7.key",

	"upstreams.aws.billing.budgets.name":           "monthly",
	"upstreams.aws.billing.budgets.usd":            `"25"`,
	"upstreams.aws.billing.declared_rules.topic":   "dt/#",
	"upstreams.aws.billing.declared_rules.rules":   "1",
	"upstreams.aws.billing.declared_rules.actions": "1",
}

func annotate(entries bool) string {
	a := &annotated{entries: entries}
	a.WriteString(`# All keys of Ebbgate's configuration, with their defaults. A file needs only what
# differs from them. Entries of lists and maps that are empty by default stand in
# comments.
#
# A value may hold ${NAME}, the environment variable NAME; a secret may be
# file:path. Sizes and durations have units: 64MiB, 500ms, 30s, 2h, 7d. Relative
# paths count from this file's folder. Every key can be set by an environment
# variable such as EBBGATE_SPOOL__DIR and by --set spool.dir=…

`)
	a.fields(reflect.ValueOf(Default()).Elem(), "", "")
	return strings.TrimRight(a.String(), "\n") + "\n"
}

func (a *annotated) fields(v reflect.Value, path, indent string) {
	for _, f := range fieldsOf(v.Type()) {
		a.comment(f.tag.Get("doc"), indent)
		a.field(f.name, v.FieldByIndex(f.index), f, join(path, f.name), indent)
		if indent == "" {
			a.WriteString("\n")
		}
	}
}

func (a *annotated) field(name string, v reflect.Value, f field, path, indent string) {
	switch {
	case isScalar(f.typ):
		text := scalarText(v)
		if s, ok := samples[path]; ok {
			text = s
		}
		if v.Kind() == reflect.String && (text == "" || strings.ContainsAny(text, "#$")) {
			text = `"` + text + `"`
		}
		a.WriteString(indent + name + ": " + text + "\n")
	case v.Kind() == reflect.Struct:
		a.WriteString(indent + name + ":\n")
		a.fields(v, path, indent+"  ")
	case isScalar(f.typ.Elem()):
		a.WriteString(indent + name + ": " + flow(v) + "\n")
	case v.Len() > 0: // the default listener
		a.WriteString(indent + name + ":\n")
		a.entry(v.Index(0), path, indent+"  ", "")
	case a.entries:
		a.WriteString(indent + name + ":\n")
		a.sample(f, path, indent+"  ", "")
	default:
		a.WriteString(indent + name + ": " + map[reflect.Kind]string{reflect.Slice: "[]", reflect.Map: "{}"}[v.Kind()] + "\n")
		a.sample(f, path, indent+"  ", "# ")
	}
}

// flow is a list of texts in one line.
func flow(v reflect.Value) string {
	items := make([]string, v.Len())
	for i := range items {
		items[i] = scalarText(v.Index(i))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// sample writes an entry of an empty list or map, each line after prefix.
func (a *annotated) sample(f field, path, indent, prefix string) {
	if f.typ.Kind() == reflect.Slice {
		a.entry(fresh(f.typ.Elem()), path, indent, prefix)
		return
	}
	inner := &annotated{entries: a.entries}
	inner.WriteString("aws:\n")
	inner.fields(fresh(f.typ.Elem()), path+".aws", "  ")
	a.lines(inner.String(), indent+prefix)
}

// entry writes an entry of a list.
func (a *annotated) entry(v reflect.Value, path, indent, prefix string) {
	inner := &annotated{entries: a.entries}
	inner.fields(v, path, "  ")
	var out strings.Builder
	dash := false
	for line := range strings.Lines(inner.String()) {
		if !dash && !strings.HasPrefix(line, "  #") {
			line, dash = "- "+line[2:], true
		}
		out.WriteString(line)
	}
	a.lines(out.String(), indent+prefix)
}

func (a *annotated) lines(text, prefix string) {
	for line := range strings.Lines(text) {
		a.WriteString(prefix + line)
	}
}

// comment wraps a sentence.
func (a *annotated) comment(doc, indent string) {
	line := indent + "#"
	for _, word := range strings.Fields(doc) {
		if len(line)+1+len(word) > 96 && line != indent+"#" {
			a.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	if doc != "" {
		a.WriteString(line + "\n")
	}
}

// ebbgate.yaml has every key, says of each what the code says, and is equal to
// the defaults.
func TestAnnotatedDefaults(t *testing.T) {
	want := annotate(false)
	if *update {
		if err := os.WriteFile("ebbgate.yaml", []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Examples.ReadFile("ebbgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !*update && string(got) != want {
		t.Error("configs/ebbgate.yaml is not what the code says: go test ./configs -update")
	}
	dir := site(t)
	cfg, err := loaded(put(t, dir, "ebbgate.yaml", want), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if same := completed(t, dir); !reflect.DeepEqual(cfg, same) {
		t.Errorf("ebbgate.yaml makes\n%s\nthe defaults are\n%s", Print(cfg), Print(same))
	}
}

// completed is what Load makes of no configuration at all.
func completed(t *testing.T, dir string) *Config {
	t.Helper()
	cfg, err := loaded(put(t, dir, "empty.yaml", ""), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := Default()
	plain.Gateway = cfg.Gateway
	plain.Spool.Dir = filepath.Join(dir, plain.Spool.Dir)
	plain.Streams.Dir = filepath.Join(dir, plain.Streams.Dir)
	plain.FileTransfer.Dir = filepath.Join(plain.Spool.Dir, "files")
	plain.FileTransfer.Export.Folder.Dir = filepath.Join(plain.FileTransfer.Dir, "exports")
	plain.Policy.Things, plain.Policy.Policies = filepath.Join(dir, plain.Policy.Things), filepath.Join(dir, plain.Policy.Policies)
	if !reflect.DeepEqual(cfg, plain) {
		t.Errorf("an empty file makes\n%s\nthe defaults are\n%s", Print(cfg), Print(plain))
	}
	return cfg
}

// What stands in comments works when it is taken out of them.
func TestAnnotatedEntries(t *testing.T) {
	dir := site(t)
	cfg, err := loaded(put(t, dir, "all.yaml", annotate(true)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Routes.Up) != 1 || len(cfg.Routes.Down) != 1 || len(cfg.Upstreams) != 1 {
		t.Errorf("entries are missing:\n%s", Print(cfg))
	}
}
