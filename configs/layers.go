package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// EnvPrefix begins the names of environment variables that override keys; two
// underscores stand between levels: EBBGATE_UPSTREAMS__AWS__ENDPOINT.
const EnvPrefix = "EBBGATE_"

// layers merges the sources of one configuration.
type layers struct {
	k        *koanf.Koanf
	places   places
	problems []Problem
}

func newLayers() *layers { return &layers{k: koanf.New("."), places: places{}} }

// load merges a tree over what is there.
func (l *layers) load(tree map[string]any) {
	// Neither the provider nor merge fails: the trees are plain data.
	_ = l.k.Load(confmap.Provider(tree, ""), nil, koanf.WithMergeFunc(merge))
}

// merge puts src over dest: mappings key by key, everything else as a whole.
// A mapping with keys like "[2]" goes into the entries of a list.
func merge(src, dest map[string]any) error {
	for k, v := range src {
		dest[k] = merged(v, dest[k])
	}
	return nil
}

func merged(src, dest any) any {
	over, ok := src.(map[string]any)
	if !ok {
		return src
	}
	switch dest := dest.(type) {
	case map[string]any:
		_ = merge(over, dest)
		return dest
	case []any:
		for k, v := range over {
			if i, ok := listIndex(k); ok && i < len(dest) {
				dest[i] = merged(v, dest[i])
			} else if ok {
				dest = append(dest, merged(v, nil))
			}
		}
		return dest
	}
	if _, ok := over["[0]"]; ok && len(over) == 1 {
		return []any{merged(over["[0]"], nil)}
	}
	fresh := map[string]any{}
	_ = merge(over, fresh)
	return fresh
}

func listIndex(k string) (int, bool) {
	inner, ok := strings.CutPrefix(k, "[")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(strings.TrimSuffix(inner, "]"))
	return i, err == nil
}

// override is one key that an environment variable or --set sets.
type override struct {
	source string   // how problems name it
	keys   []string // levels; list entries by number
	text   string
	loose  bool // keys come from a variable's name: case and dashes are lost
}

// environment lists the overrides in env ("NAME=value"), sorted by name. A
// variable without "__" counts only when it names a key of the top level: the
// prefix is used for other things as well.
func environment(env []string) []override {
	var out []override
	for _, kv := range env {
		name, text, _ := strings.Cut(kv, "=")
		path, ok := strings.CutPrefix(name, EnvPrefix)
		if !ok {
			continue
		}
		keys := strings.Split(strings.ToLower(path), "__")
		if _, top := fieldNamed(fieldsOf(reflect.TypeFor[Config]()), keys[0]); len(keys) == 1 && !top {
			continue
		}
		out = append(out, override{name, keys, text, true})
	}
	slices.SortStableFunc(out, func(a, b override) int { return strings.Compare(a.source, b.source) })
	return out
}

// settings lists the overrides of --set flags, in their order.
func settings(sets []string) ([]override, []Problem) {
	var out []override
	var ps []Problem
	for _, s := range sets {
		path, text, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			ps = append(ps, Problem{"--set", 0, path, quote(s) + " sets nothing", "write it as --set upstreams.aws.endpoint=mqtts://…", codeOverride})
			continue
		}
		path = strings.NewReplacer("[", ".", "]", "").Replace(path)
		out = append(out, override{"--set", strings.Split(path, "."), text, false})
	}
	return out, ps
}

// apply merges one override.
func (l *layers) apply(o override) {
	tree, path, target, problem := l.address(o)
	if problem != nil {
		l.problems = append(l.problems, *problem)
		return
	}
	var value any = o.text
	if !isScalar(target) {
		v, ps := parseFlow(o.text, o.source)
		for _, p := range ps {
			p.Key = join(path, p.Key)
			l.problems = append(l.problems, p)
		}
		value = v
	}
	l.load(tree(value))
	l.places.replace(path, place{source: o.source})
}

// address finds the key that an override means: how to wrap its value into a
// tree, its path, and its type.
func (l *layers) address(o override) (wrap func(any) map[string]any, path string, t reflect.Type, p *Problem) {
	t = reflect.TypeFor[Config]()
	var node any = l.k.Raw()
	var steps []string
	for _, key := range o.keys {
		step, below, fault := stepInto(t, node, key, o.loose)
		if fault != nil {
			return nil, "", nil, &Problem{o.source, 0, join(path, key), fault.text, fault.remedy, fault.code}
		}
		steps = append(steps, step)
		if _, ok := listIndex(step); ok {
			path += step
		} else {
			path = join(path, step)
		}
		node, t = child(node, step), below
	}
	wrap = func(v any) map[string]any {
		for _, s := range slices.Backward(steps[1:]) {
			v = map[string]any{s: v}
		}
		return map[string]any{steps[0]: v}
	}
	return wrap, path, t, nil
}

// stepInto goes one level down.
func stepInto(t reflect.Type, node any, key string, loose bool) (step string, below reflect.Type, fault *refFault) {
	switch {
	case isScalar(t):
		return "", nil, &refFault{codeOverride, "goes below a single value", "leave out the last level"}
	case t.Kind() == reflect.Struct:
		fields := fieldsOf(t)
		f, ok := fieldNamed(fields, key)
		if !ok {
			return "", nil, &refFault{codeUnknown, "is not a key", meant(key, names(fields))}
		}
		return key, f.typ, nil
	case t.Kind() == reflect.Map:
		m, _ := node.(map[string]any)
		for k := range m {
			if loose && plain(k) == plain(key) {
				key = k
			}
		}
		return key, t.Elem(), nil
	default:
		list, _ := node.([]any)
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i > len(list) {
			return "", nil, &refFault{codeIndex, quote(key) + " is not an entry of the list", fmt.Sprintf("use a number from 0 to %d", len(list))}
		}
		return "[" + strconv.Itoa(i) + "]", t.Elem(), nil
	}
}

func child(node any, step string) any {
	switch n := node.(type) {
	case map[string]any:
		return n[step]
	case []any:
		if i, ok := listIndex(step); ok && i < len(n) {
			return n[i]
		}
	}
	return nil
}
