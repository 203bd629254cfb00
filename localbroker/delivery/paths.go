package delivery

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// numbered is a file that is to be under a number.
type numbered struct {
	id   int
	path string
}

// number lists the files of the paths, of a folder those directly in it, by name.
// A path after "7=" is file 7; the others follow the one before.
func number(paths []string) (out []numbered, err error) {
	next, taken := 0, map[int]bool{}
	add := func(path string) error {
		switch {
		case next > maxFile:
			return fmt.Errorf("%s would be file %d: the last number is %d", path, next, maxFile)
		case taken[next]:
			return fmt.Errorf("%s would be file %d, which there is already", path, next)
		}
		taken[next] = true
		out = append(out, numbered{next, path})
		next++
		return nil
	}
	for _, p := range paths {
		if id, rest, ok := strings.Cut(p, "="); ok && id != "" && strings.Trim(id, "0123456789") == "" {
			if next, err = strconv.Atoi(id); err != nil {
				return nil, err
			}
			p = rest
		}
		files, err := filesOf(p)
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			if err := add(path); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// filesOf is a file, or those directly in a folder.
func filesOf(path string) (out []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	return out, nil
}
