package configs

import (
	"reflect"
	"strings"
)

// AdminAddress is the address of the admin port of a running gateway, for who only
// asks it: what else is wrong with the configuration where the question comes from,
// such as secrets that are not set or files that are not there, is no matter then.
func AdminAddress(path string, env, sets []string) (string, error) {
	l := newLayers()
	s := source{path: path, env: env, sets: sets}
	l.file(s)
	overrides, ps := settings(sets)
	l.problems = append(l.problems, ps...)
	for _, o := range append(environment(env), overrides...) {
		l.apply(o)
	}
	d := &decoder{refs: references{env: variables(env)}, places: l.places, problems: l.problems}
	cfg := Default()
	d.value(any(l.k.Raw()), reflect.ValueOf(cfg).Elem(), "", "")
	c := &check{decoder: d, config: cfg}
	c.admin()
	var found []Problem
	for _, p := range d.problems {
		if unread([]Problem{p}) || p.Key == "admin" || strings.HasPrefix(p.Key, "admin.") || p.Source == "--set" {
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		return "", &Invalid{sorted(found, sources(s))}
	}
	return cfg.Admin.Address, nil
}
