package configs

import (
	"strconv"
	"strings"
)

// place is where a key stands.
type place struct {
	source string
	line   int
}

// places knows where each key path of the merged tree was said last.
type places map[string]place

// at finds where a key stands, or else the nearest thing around it: a key that
// is missing stands where it should have been.
func (ps places) at(path string) place {
	for {
		if p, ok := ps[path]; ok {
			return p
		}
		if path == "" {
			return place{source: sourceDefaults}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// replace puts a key, and forgets all below it.
func (ps places) replace(path string, p place) {
	for k := range ps {
		if below(k, path) {
			delete(ps, k)
		}
	}
	ps[path] = p
}

// below reports whether key path k is under path.
func below(k, path string) bool {
	rest, ok := strings.CutPrefix(k, path)
	return ok && rest != "" && (path == "" || rest[0] == '.' || rest[0] == '[')
}

// join is the path of key under path; key may itself be a path.
func join(path, key string) string {
	if path == "" || key == "" || key[0] == '[' {
		return path + key
	}
	return path + "." + key
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
