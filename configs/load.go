package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Load reads a configuration: the defaults, then the YAML file, then the
// variables of env ("NAME=value") that begin with EBBGATE_, then the settings
// ("key=value") in their order. An empty path is no file. The error is an
// *Invalid with everything that is wrong.
//
// Relative paths in it count from the file's folder, without a file from the
// working directory.
func Load(path string, env, sets []string) (*Config, error) {
	return load(source{path: path, env: env, sets: sets, hostname: os.Hostname})
}

// LoadToAsk reads a configuration for who asks a running gateway: without a file the
// defaults need not hold where the question comes from, such as paths of files that
// only the gateway has.
func LoadToAsk(path string, env, sets []string) (*Config, error) {
	return load(source{path: path, env: env, sets: sets, hostname: os.Hostname, asks: path == ""})
}

// source is where a configuration comes from.
type source struct {
	asks     bool // what is wrong with defaults is no matter
	path     string
	data     []byte // the file's content when it has been read already
	env      []string
	sets     []string
	hostname func() (string, error)
}

func load(s source) (*Config, error) {
	l := newLayers()
	l.file(s)
	overrides, ps := settings(s.sets)
	l.problems = append(l.problems, ps...)
	for _, o := range append(environment(s.env), overrides...) {
		l.apply(o)
	}

	dir, err := filepath.Abs(filepath.Dir(s.path)) // of "" it is the working directory
	if err != nil {
		l.problems = append(l.problems, Problem{Source: s.path, Text: err.Error(), Remedy: "start in a folder that exists", Code: codeRead})
	}
	d := &decoder{refs: references{dir: dir, env: variables(s.env)}, places: l.places, problems: l.problems}
	cfg := Default()
	d.value(any(l.k.Raw()), reflect.ValueOf(cfg).Elem(), "", "")
	if !unread(d.problems) {
		c := &check{decoder: d, config: cfg}
		c.identity(s.hostname)
		c.files(dir)
		c.packages()
		c.contradictions()
	}
	if s.asks {
		d.problems = slices.DeleteFunc(d.problems, func(p Problem) bool { return p.Source == sourceDefaults })
	}
	if len(d.problems) > 0 {
		return nil, &Invalid{sorted(d.problems, sources(s))}
	}
	return cfg, nil
}

// file loads the YAML file, if there is one.
func (l *layers) file(s source) {
	if s.path == "" {
		return
	}
	data := s.data
	if data == nil {
		var err error
		if data, err = readFile(s.path); err != nil {
			l.problems = append(l.problems, Problem{s.path, 0, "", "cannot be read: " + cause(err, "it"), "name the configuration file", codeRead})
			return
		}
	}
	y := &yamlLayer{source: s.path, places: l.places}
	tree := y.parse(data)
	l.places[""] = place{s.path, 1}
	l.problems = append(l.problems, y.problems...)
	if tree != nil {
		l.load(tree)
	}
}

// unread reports whether the file could not be read at all, so that all that
// would be found in its absence is noise.
func unread(ps []Problem) bool {
	for _, p := range ps {
		if p.Code == codeRead || p.Code == codeSyntax || p.Key == "" && (p.Code == codeTooLarge || p.Code == codeShape) {
			return true
		}
	}
	return false
}

func variables(env []string) map[string]string {
	out := make(map[string]string, len(env))
	for _, kv := range env {
		if name, text, ok := strings.Cut(kv, "="); ok {
			out[name] = text
		}
	}
	return out
}

// sourceDefaults is the source of what nobody has set.
const sourceDefaults = "defaults"

// sources is the order of problems: the file, the variables, the settings.
func sources(s source) []string {
	out := []string{sourceDefaults, s.path}
	for _, o := range environment(s.env) {
		out = append(out, o.source)
	}
	return append(out, "--set")
}
